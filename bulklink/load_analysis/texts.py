"""Figures of load tests as text."""

from __future__ import annotations

from bulklink.errors import UsageError
from bulklink.load_analysis.thresholds import parse_threshold
from bulklink.load_results import ThresholdResult

NOT_MEASURED = "\N{EN DASH}"
_SMALLEST_SHARE = 0.0001
_FIRST_SECOND = 999.5
"""Milliseconds that are rounded to a second."""


def latency_text(seconds: float | None) -> str:
    """Return a latency with three digits and its unit, such as `85.2 ms`."""
    if seconds is None:
        return NOT_MEASURED
    milliseconds = seconds * 1000
    if milliseconds < _FIRST_SECOND:
        return f"{_three_digits(milliseconds)} ms"
    return f"{_three_digits(seconds)} s"


def rate_text(rate: float | None) -> str:
    """Return a rate per second."""
    if rate is None:
        return NOT_MEASURED
    decimals = 2 if rate < 10 else 1 if rate < 1000 else 0
    return f"{rate:,.{decimals}f}"


def share_text(share: float | None) -> str:
    """Return a share in percent; a small one is not rounded to 0."""
    if share is None:
        return NOT_MEASURED
    if 0 < share < _SMALLEST_SHARE:
        return f"< {_SMALLEST_SHARE:.2%}"
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def share_of(part: float, whole: float | None) -> float | None:
    """Return a share; None of nothing."""
    return part / whole if whole else None


def threshold_text(threshold: ThresholdResult) -> str:
    """Return the measured value of a threshold."""
    try:
        is_latency = parse_threshold(threshold.expression).is_latency
    except UsageError:
        return NOT_MEASURED
    return latency_text(threshold.value) if is_latency else share_text(threshold.value)


def _three_digits(value: float) -> str:
    """Return a number with three digits, or all before the decimal point."""
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"
