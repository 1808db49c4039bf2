"""Rates and latencies of a run, from its timeline."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.figures import latency_figures
from bulklink.load_results import LatencyFigures
from bulklink.runs.timeline import read_timeline

_LATENCY_DIGITS = 4
"""Digits of a latency that is known within 0.5%."""
_RATE_DECIMALS = 3
_MIN_SECONDS = 0.001


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Rates and latencies while emails were sent, over all invocations of a run.

    Time before the first email, waits for credits and questions to the user do not count.

    Args:
        messages_per_second: emails settled, per second.
        calls_per_second: calls answered or given up, per second.
        sending_seconds: the time that counts.
        waited_seconds: seconds spent waiting for credits, which do not count.
        latency: latencies of these calls; None without one.
    """

    messages_per_second: float
    calls_per_second: float
    sending_seconds: float
    waited_seconds: float
    latency: LatencyFigures | None


def read_figures(timeline: Path) -> RunFigures | None:
    """Return the figures of a run; None if nothing was measured.

    Args:
        timeline: the timeline of its run folder, even while it is written.

    Raises:
        RunDirError: if it cannot be read, is not a regular file, or has a line that is too long.
    """
    messages = calls = 0
    sending_seconds = waited = 0.0
    latencies: Counter[float] = Counter()
    for interval in read_timeline(timeline):
        if interval.sending:
            messages += sum(interval.settled.values())
            calls += sum(interval.calls.values())
            sending_seconds += max(0.0, interval.seconds - interval.waited)
            waited += interval.waited
            latencies.update(interval.latency)
    if not calls and not messages:
        return None
    histogram = LatencyHistogram()
    for latency, count in (+latencies).items():  # a forged timeline may count nothing
        histogram.record(latency, count)
    seconds = max(sending_seconds, _MIN_SECONDS)
    return RunFigures(
        messages_per_second=round(messages / seconds, _RATE_DECIMALS),
        calls_per_second=round(calls / seconds, _RATE_DECIMALS),
        sending_seconds=round(sending_seconds, 3),
        waited_seconds=round(waited, 3),
        latency=summarize_latencies(histogram),
    )


def summarize_latencies(latencies: LatencyHistogram) -> LatencyFigures | None:
    """Return mean, percentiles and maximum, rounded; None without a latency."""
    figures = latency_figures(latencies)
    if figures is None:
        return None
    values = msgspec.structs.asdict(figures)
    return LatencyFigures(
        **{name: float(f"{value:.{_LATENCY_DIGITS}g}") for name, value in values.items()}
    )
