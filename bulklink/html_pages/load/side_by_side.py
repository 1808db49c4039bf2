"""Two load tests side by side: their figures, and the interval of a comparison. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec

from bulklink.load_analysis.comparison import THROUGHPUT, LoadComparison
from bulklink.load_analysis.figures import (
    LATENCY_FIGURES,
    SERVICE,
    figure_label,
    named_latency,
)
from bulklink.load_analysis.texts import (
    NOT_MEASURED,
    latency_text,
    rate_text,
    share_of,
    share_text,
)
from bulklink.load_results import LoadResult

_ROOM = 1.15
"""Length of the axis of an interval, as a multiple of what it has to show."""
_LEAST_LOG, _MOST_LOG = 1e-3, 700.0
_WIDTH = 100.0


class FigureRow(msgspec.Struct, frozen=True):
    """A figure of both load tests.

    Args:
        name: name of the figure.
        a: its value in A.
        b: its value in B.
        ratio: B as a multiple of A.
        compared: whether the comparison is about it.
    """

    name: str
    a: str
    b: str
    ratio: str
    compared: bool


class FigureGroup(msgspec.Struct, frozen=True):
    """Figures of one kind.

    Args:
        name: what they have in common.
        rows: the figures.
    """

    name: str
    rows: tuple[FigureRow, ...]


class IntervalPlot(msgspec.Struct, frozen=True, kw_only=True):
    """Drawing of an interval on a logarithmic axis around 1; positions are from 0 to 100.

    Args:
        low: beginning of the interval.
        high: its end.
        ratio: the estimate.
        ratios: the ratio of each of several rounds.
        margin_low: beginning of what does not matter.
        margin_high: its end.
        ends: ratios at the ends of the axis, as text.
    """

    low: float
    high: float
    ratio: float
    ratios: tuple[float, ...]
    margin_low: float
    margin_high: float
    ends: tuple[str, str]


def failed_share(result: LoadResult) -> float | None:
    """Return the share of the calls that failed."""
    return share_of(sum(result.errors.values()), result.calls)


def late_share(result: LoadResult) -> float | None:
    """Return the share of the calls that left late."""
    return share_of(result.late, result.calls)


def dropped_share(result: LoadResult) -> float | None:
    """Return the share of the calls due that were never started."""
    return share_of(result.dropped, result.calls + result.dropped)


def has_schedule(*results: LoadResult) -> bool:
    """Return whether any of the load tests was asked for a rate."""
    return any(result.asked_calls_per_second is not None for result in results)


def figure_groups(a: LoadResult, b: LoadResult, compared: str) -> list[FigureGroup]:
    """Return the figures of two load tests; without a schedule, both latencies are equal.

    Args:
        a: load test A.
        b: load test B.
        compared: name of the figure that the comparison is about.
    """

    def row(
        label: str,
        value: Callable[[LoadResult], float | None],
        text: Callable[[float | None], str],
        name: str = "",
    ) -> FigureRow:
        first, second = value(a), value(b)
        ratio = NOT_MEASURED if not first or second is None else f"{second / first:.3f}"
        return FigureRow(label, text(first), text(second), ratio, compared=name == compared)

    def latency(name: str) -> FigureRow:
        label = figure_label(name.removeprefix(SERVICE))
        return row(label, lambda one: named_latency(one.latency, name), latency_text, name)

    is_open = has_schedule(a, b)
    asked = row("calls a second asked for", lambda one: one.asked_calls_per_second, rate_text)
    intended = "Latency from the intended start" if is_open else "Latency"
    groups: dict[str, Iterable[FigureRow]] = {
        "Rates": [
            row("emails a second", lambda one: one.messages_per_second, rate_text, THROUGHPUT),
            row("calls a second", lambda one: one.calls_per_second, rate_text),
            *([asked] if is_open else []),
        ],
        intended: map(latency, LATENCY_FIGURES),
        "Service time": (latency(SERVICE + name) for name in LATENCY_FIGURES) if is_open else (),
        "Shares of calls": [
            row("failed", failed_share, share_text),
            row("late", late_share, share_text),
            row("never started", dropped_share, share_text),
        ],
    }
    return [FigureGroup(name, rows) for name, figures in groups.items() if (rows := tuple(figures))]


def plot_interval(comparison: LoadComparison) -> IntervalPlot | None:
    """Return the drawing of the interval; None without one."""
    if comparison.interval is None or comparison.ratio is None:
        return None
    low, high = map(math.log, comparison.interval)
    margin = math.log1p(comparison.margin)
    logs = [math.log(ratio) for ratio in comparison.ratios] if comparison.rounds > 1 else []
    farthest = max(map(abs, (low, high, margin, _LEAST_LOG, *logs)))
    end = min(_ROOM * farthest, _MOST_LOG)

    def place(log: float) -> float:
        return round(_WIDTH * (log + end) / (2 * end), 2)

    return IntervalPlot(
        low=place(low),
        high=place(high),
        ratio=place(math.log(comparison.ratio)),
        ratios=tuple(map(place, logs)),
        margin_low=place(-margin),
        margin_high=place(margin),
        ends=(f"{math.exp(-end):.3g}", f"{math.exp(end):.3g}"),
    )
