"""Figures over time: intervals of load tests, added and made longer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bulklink.load_results import BothLatencies, LatencyFigures, LoadInterval, LoadResult

SHORTEST_INTERVAL = 0.001
"""Seconds; a file with shorter intervals is damaged, and must not make numbers overflow."""


def add_intervals(intervals: Iterable[LoadInterval], seconds: float) -> list[LoadInterval]:
    """Return intervals of one length with the figures of all intervals whose middle they contain.

    Percentiles are means by the calls answered, because intervals have no histograms.

    Args:
        intervals: intervals of one or more clients, on one clock.
        seconds: length of the result's intervals; the last one may be shorter.
    """
    seconds = max(seconds, SHORTEST_INTERVAL)
    cells = defaultdict[int, list[LoadInterval]](list)
    for each in intervals:
        cells[int((each.at + each.seconds / 2) / seconds)].append(each)
    return [_add(parts, number * seconds, seconds) for number, parts in sorted(cells.items())]


def measured_intervals(result: LoadResult) -> list[LoadInterval]:
    """Return the intervals of the measured time, without those in which it only waits for answers.

    Calls in flight at the end are answered after the measured time, so rates fall there.
    """
    return [each for each in result.series if each.at + each.seconds / 2 <= result.seconds]


def _add(parts: Sequence[LoadInterval], at: float, seconds: float) -> LoadInterval:
    covered = max(part.at + part.seconds for part in parts) - at
    covered = min(max(covered, SHORTEST_INTERVAL), seconds)
    return LoadInterval(
        at=at,
        seconds=covered,
        asked=add_asked(part.asked for part in parts),
        calls=sum(part.calls for part in parts),
        answered=sum(part.answered for part in parts),
        messages=sum(part.messages for part in parts),
        errors=sum(part.errors for part in parts),
        late=sum(part.late for part in parts),
        in_flight=sum(part.in_flight * part.seconds for part in parts) / covered,
        latency=mean_latency([(part.latency, part.answered) for part in parts]),
    )


def add_asked(rates: Iterable[float | None]) -> float | None:
    """Return the sum of what schedules ask for; None if one of the clients has no schedule."""
    total = 0.0
    for rate in rates:
        if rate is None:
            return None
        total += rate
    return total


def mean_latency(parts: Sequence[tuple[BothLatencies, int]]) -> BothLatencies:
    """Return the means of latencies, each with its calls; of longest latencies the longest."""
    return BothLatencies(
        service=_mean_figures([(part.service, calls) for part, calls in parts]),
        intended=_mean_figures([(part.intended, calls) for part, calls in parts]),
    )


def _mean_figures(parts: Iterable[tuple[LatencyFigures | None, int]]) -> LatencyFigures | None:
    known = [(figures, max(calls, 1)) for figures, calls in parts if figures is not None]
    if not known:
        return None
    total = sum(calls for _, calls in known)
    means = {
        name: sum(getattr(figures, name) * calls for figures, calls in known) / total
        for name in LatencyFigures.__struct_fields__
    }
    return LatencyFigures(**means | {"max": max(figures.max for figures, _ in known)})
