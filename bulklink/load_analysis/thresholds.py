"""Thresholds of load tests, such as `p99 < 400ms` or `errors < 0.1%`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from decimal import Decimal

import msgspec

from bulklink.advice import Advice
from bulklink.errors import UsageError
from bulklink.load_analysis.figures import (
    LATENCY_FIGURES,
    LATENCY_NAMES,
    SERVICE,
    figure_name,
    named_latency,
)
from bulklink.load_results import LoadResult, ThresholdResult
from bulklink.suggestions import close_matches, did_you_mean

_RATE = "rate"
_SHARES: dict[str, Callable[[LoadResult], tuple[float, float | None]]] = {
    "errors": lambda result: (sum(result.errors.values()), result.calls),
    "late": lambda result: (result.late, result.calls),
    "dropped": lambda result: (result.dropped, result.calls + result.dropped),
    "answered_429": lambda result: (result.answered_429, result.calls),
    _RATE: lambda result: (result.calls_per_second, result.asked_calls_per_second),
}
"""Each share: what is counted, and all of what it is a share of."""
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LATENCY_UNITS = {"ms": -3, "s": 0}
_SHARE_UNITS = {"%": -2}
"""Power of ten of each unit: decimals, so that 7 of 1,000 are not more than 0.7%."""
_FORM = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.]*)\s*(?P<sign>[<>=!]+)"
    r"\s*(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>[A-Za-z%µ]*)\s*",
    re.ASCII,
)
_MAX_SHOWN = 60


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a figure of a load test must keep.

    Args:
        expression: the threshold as the user wrote it, without spaces around it.
        figure: name of the figure, such as `p99`, `service.p50` or `errors`.
        sign: `<`, `<=`, `>` or `>=`.
        limit: the limit: seconds, or a share of 1.
    """

    expression: str
    figure: str
    sign: str
    limit: float

    @property
    def is_latency(self) -> bool:
        """Whether the limit is in seconds, not a share."""
        return self.figure in LATENCY_NAMES

    def measure(self, result: LoadResult) -> float | None:
        """Return the figure: seconds, or a share of 1; None if nothing was measured."""
        if self.is_latency:
            return named_latency(result.latency, self.figure)
        count, whole = _SHARES[self.figure](result)
        return count / whole if whole else None

    def check(self, result: LoadResult) -> ThresholdResult:
        """Return whether a load test met the threshold; without a value it is missed."""
        value = self.measure(result)
        met = value is not None and _COMPARISONS[self.sign](value, self.limit)
        return ThresholdResult(expression=self.expression, value=value, met=met)


def parse_threshold(
    text: str, *, open_model: bool = True, setting: str | Advice = "threshold"
) -> Threshold:
    """Return the threshold that a user wrote.

    Args:
        text: name of a figure, comparison, and number with unit: `p99 < 400ms`, `rate > 95%`.
        open_model: whether the schedule asks for a rate, which `rate` is a share of.
        setting: name of the setting that has it, for errors.

    Raises:
        UsageError: if it is not a threshold, or measures the asked rate where there is none.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise _error(
            text,
            "is not a threshold",
            setting,
            "Write a figure, a comparison, and a number with a unit: `p99 < 400ms` or"
            " `errors < 0.1%`.",
        )
    figure = figure_name(match["name"])
    if figure not in LATENCY_NAMES and figure not in _SHARES:
        raise _error(text, f"has no known figure {match['name']!r}", setting, _names_advice(figure))
    if figure == _RATE and not open_model:
        raise _error(
            text,
            "compares the rate with the asked one, and without a schedule none is asked for",
            setting,
            "Set an arrival rate, or omit this threshold.",
        )
    if match["sign"] not in _COMPARISONS:
        raise _error(
            text,
            f"has no valid comparison {match['sign']!r}",
            setting,
            f"Use {_listed(_COMPARISONS, last='or')}.",
        )
    units = _LATENCY_UNITS if figure in LATENCY_NAMES else _SHARE_UNITS
    if match["unit"] not in units:
        raise _unit_error(text, figure, match["unit"], setting)
    limit = float(Decimal(match["number"]).scaleb(units[match["unit"]]))
    return Threshold(expression=text.strip(), figure=figure, sign=match["sign"], limit=limit)


def _unit_error(text: str, figure: str, unit: str, setting: str | Advice) -> UsageError:
    problem = f"has an unknown unit {unit!r}" if unit else "has no unit"
    if figure in LATENCY_NAMES:
        advice = f"{figure} is a time: write it in ms or s, such as `{figure} < 400ms`."
    else:
        advice = f"{figure} is a share: write it in %, such as `{figure} < 1%`."
    return _error(text, problem, setting, advice)


def _names_advice(name: str) -> str:
    matches = close_matches(name, (*LATENCY_NAMES, *_SHARES), key=str.lower)
    return (
        f"{did_you_mean(matches)}Latencies are {_listed(LATENCY_FIGURES)}, also as {SERVICE}p99;"
        f" shares are {_listed(_SHARES)}."
    )


def _listed(names: Iterable[str], last: str = "and") -> str:
    *first, final = names
    return f"{', '.join(first)} {last} {final}"


def _error(text: str, problem: str, setting: str | Advice, advice: str) -> UsageError:
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    return UsageError(f"{shown!r} {problem}.", where=setting, advice=advice)
