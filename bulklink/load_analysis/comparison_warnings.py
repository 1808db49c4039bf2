"""Reasons to distrust a comparison of load tests, as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bulklink.counts import count_of
from bulklink.load_analysis.figures import figure_label
from bulklink.load_analysis.rounds import LoadPair, b_came_first
from bulklink.load_results import LoadResult

_SHARES_ABOVE = {"p90": 0.1, "p95": 0.05, "p99": 0.01, "p999": 0.001, "max": 0.0}
_FEWEST_CALLS_ABOVE = 10
"""Calls above a percentile of a load test; with fewer, single calls decide it."""
_FEW_ERRORS = 0.01
"""Share of failed calls that does not change figures much."""


def comparison_warnings(pairs: Sequence[LoadPair], figure: str) -> list[str]:
    """Return what speaks against a comparison, or limits what it says.

    Args:
        pairs: load tests A and B of each round.
        figure: name of the figure that is compared.
    """
    sides = {"A": [a for a, _ in pairs], "B": [b for _, b in pairs]}
    return [
        *_round_warnings(pairs),
        *_difference_warnings(sides["A"], sides["B"]),
        *_figure_warnings(sides, figure),
        *(warning for name, results in sides.items() for warning in _side_warnings(name, results)),
    ]


def _round_warnings(pairs: Sequence[LoadPair]) -> Iterator[str]:
    orders = set(map(b_came_first, pairs))
    if len(pairs) == 1:
        yield (
            "There is one load test of each: how much figures vary from one load test to the next"
            " is unknown. Rounds of both, in turn, would show it."
        )
    elif len(orders) == 1:
        first, second = ("B", "A") if orders == {True} else ("A", "B")
        yield (
            f"{first} always ran before {second}: what changed on the machine in the meantime"
            " counts as a difference."
        )


def _difference_warnings(a: Sequence[LoadResult], b: Sequence[LoadResult]) -> Iterator[str]:
    """Yield what differs beside the settings, which are compared on purpose."""
    first, second = a[0], b[0]
    if first.machine != second.machine:
        yield f"The machines differ: {_differing(first.machine, second.machine)}."
    if first.versions != second.versions:
        yield f"The versions differ: {_differing(first.versions, second.versions)}."
    if first.target.url != second.target.url:
        yield f"The servers differ: A loaded {first.target.url}, B {second.target.url}."
    elif first.target != second.target:
        yield "The worlds of the emulators differ."
    if first.plan_digest != second.plan_digest:
        yield "The plans differ: A and B sent different emails."
    if _has_schedule(first) != _has_schedule(second):
        yield (
            "One had a schedule and the other had none: only the latencies of the first include"
            " the wait of calls that left late."
        )


def _figure_warnings(sides: Mapping[str, Sequence[LoadResult]], figure: str) -> Iterator[str]:
    results = [result for side in sides.values() for result in side]
    if figure == "throughput" and all(map(_has_schedule, results)):
        yield (
            "Both were asked for a rate, so their throughput says whether they kept it, not which"
            " is faster: compare a latency."
        )
    share = _SHARES_ABOVE.get(figure.removeprefix("service."))
    fewest = min(result.calls for result in results)
    if share is not None and fewest * share < _FEWEST_CALLS_ABOVE:
        above = count_of(max(1, int(fewest * share)), "call")
        yield (
            f"The {figure_label(figure)} of a load test rests on its slowest {above}: measure"
            " longer."
        )


def _side_warnings(name: str, results: Sequence[LoadResult]) -> Iterator[str]:
    if any(result.client.bottleneck for result in results):
        yield f"The client may have been the bottleneck of {name}."
    if any(result.cut_short for result in results):
        yield f"{name} was cut short."
    calls = sum(result.calls for result in results)
    failed = sum(sum(result.errors.values()) for result in results)
    if failed > _FEW_ERRORS * calls:
        yield (
            f"{failed / calls:.1%} of the calls of {name} failed: refusals are often faster than"
            " successes."
        )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Return the entries that differ, as text."""
    names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    return ", ".join(f"{name} {_shown(a, name)} and {_shown(b, name)}" for name in names)


def _shown(values: Mapping[str, Any], name: str) -> object:
    return values.get(name, "unknown")


def _has_schedule(result: LoadResult) -> bool:
    return result.asked_calls_per_second is not None
