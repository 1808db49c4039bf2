"""One result of several clients that loaded the same server at the same time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import combinations
from typing import Any

import msgspec

from bulklink.errors import ExitCode, UsageError
from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.figures import bins_of_histogram, histogram_of_bins, latency_figures
from bulklink.load_analysis.series import add_asked, add_intervals, mean_latency
from bulklink.load_analysis.thresholds import parse_threshold
from bulklink.load_results import (
    WARM_UP,
    BothHistograms,
    BothLatencies,
    ClientLoad,
    HistogramBins,
    LoadInterval,
    LoadPhase,
    LoadResult,
)

CLIENTS = "clients"
"""Key under which a merged result has the settings, and machines that differ, of each client."""
OWN_EMULATOR = "emulator"
"""Address of a server that the load test started itself."""
"""Name of the phase before the measured time."""
_LEAST_OVERLAP = 0.8
"""Share of the longest measured time for which all clients have to run."""
_WHERE = "merge"


def merge_results(results: Sequence[LoadResult]) -> LoadResult:
    """Return the result of several clients as that of one.

    Counts, histograms and rates are added: a rate is what the server bore while all clients ran.
    Percentiles of the whole are those of the added histograms. Phases and intervals have no
    histograms: their percentiles are means of those of the clients, by calls, which lie between
    the lowest and the highest client as the exact ones do. Intervals are put on one clock; phases
    are added if all clients have the same ones, and listed otherwise. The client's figures are
    those of the busiest machine. Thresholds are evaluated again.

    Args:
        results: result of each client.

    Raises:
        UsageError: if there is only one, one is given twice, they loaded different servers or did
            not run at the same time, or their histograms have different errors.
    """
    _check_clients(results)
    service = _add_histograms([result.histogram.service for result in results])
    intended = _add_histograms([result.histogram.intended for result in results])
    begins = [measured_start(result) for result in results]
    ends = [begin + result.seconds for begin, result in zip(begins, results, strict=True)]
    cut_short = [result for result in results if result.cut_short]
    merged = msgspec.structs.replace(
        results[0],
        versions=_merge_versions([result.versions for result in results]),
        settings={CLIENTS: [client for result in results for client in _clients(result.settings)]},
        seed=_only({result.seed for result in results}),
        plan_digest=_distinct(result.plan_digest for result in results),
        machine=_merge_machines([result.machine for result in results]),
        started=min((result.started for result in results), key=datetime.fromisoformat),
        phases=_merge_phases(results),
        series=_merge_series(results),
        seconds=max(ends) - min(begins),
        messages=sum(result.messages for result in results),
        calls=sum(result.calls for result in results),
        retried=sum(result.retried for result in results),
        asked_calls_per_second=add_asked(result.asked_calls_per_second for result in results),
        calls_per_second=sum(result.calls_per_second for result in results),
        messages_per_second=sum(result.messages_per_second for result in results),
        late=sum(result.late for result in results),
        dropped=sum(result.dropped for result in results),
        errors=_add_errors(results),
        answered_429=sum(result.answered_429 for result in results),
        latency=BothLatencies(service=latency_figures(service), intended=latency_figures(intended)),
        client=_merge_client_loads([result.client for result in results]),
        limited_by=_distinct(result.limited_by for result in results),
        cut_short=bool(cut_short),
        stopped_by=cut_short[0].stopped_by if cut_short else None,
        histogram=BothHistograms(
            service=bins_of_histogram(service), intended=bins_of_histogram(intended)
        ),
        run_dir="",
    )
    thresholds = [
        parse_threshold(expression).check(merged)
        for expression in dict.fromkeys(
            threshold.expression for result in results for threshold in result.thresholds
        )
    ]
    met = all(threshold.met for threshold in thresholds)
    exit_code = ExitCode.OK if met else ExitCode.ROWS_NOT_DONE
    return msgspec.structs.replace(
        merged,
        thresholds=thresholds,
        exit_code=cut_short[0].exit_code if cut_short else int(exit_code),
    )


def measured_start(result: LoadResult) -> float:
    """Return when the measured time began, after the warm-up, in seconds since 1970."""
    warm_up = sum(phase.seconds for phase in result.phases if phase.name == WARM_UP)
    return datetime.fromisoformat(result.started).timestamp() + warm_up


def _check_clients(results: Sequence[LoadResult]) -> None:
    if len(results) < 2:
        raise UsageError(
            "One load test is nothing to merge.",
            where=_WHERE,
            advice="Name the results of two or more clients.",
        )
    if any(left == right for left, right in combinations(results, 2)):
        raise UsageError(
            "A load test is given twice.", where=_WHERE, advice="Name each result once."
        )
    if len({result.target for result in results}) > 1:
        raise UsageError(
            "The clients loaded different servers:"
            f" {_distinct(result.target.url for result in results)}.",
            where=_WHERE,
            advice="Merge only clients of the same server; compare others.",
        )
    if results[0].target.url == OWN_EMULATOR:
        raise UsageError(
            "Each client loaded an emulator of its own, not the same server.",
            where=_WHERE,
            advice="Start one emulator and let all clients load it.",
        )
    if len({result.histogram.service.relative_error for result in results}) > 1 or any(
        result.histogram.service.relative_error != result.histogram.intended.relative_error
        for result in results
    ):
        raise UsageError(
            "The histograms have different errors, so they cannot be added.",
            where=_WHERE,
            advice="Repeat the load tests with the same version of bulklink.",
        )
    _check_overlap(results)


def _check_overlap(results: Sequence[LoadResult]) -> None:
    begins = [measured_start(result) for result in results]
    end = min(begin + result.seconds for begin, result in zip(begins, results, strict=True))
    overlap = max(0.0, end - max(begins))
    longest = max(result.seconds for result in results)
    if overlap < _LEAST_OVERLAP * longest:
        raise UsageError(
            f"The clients ran together for {overlap:.1f} s of {longest:.1f} s, so the server never"
            " bore the sum of their rates for long.",
            where=_WHERE,
            advice="Start them at the same time, for the same duration, with clocks that agree.",
        )


def _add_histograms(parts: Iterable[HistogramBins]) -> LatencyHistogram:
    first, *others = map(histogram_of_bins, parts)
    for other in others:
        first.add(other)
    return first


def _add_errors(results: Iterable[LoadResult]) -> dict[str, int]:
    errors = Counter[str]()
    for result in results:
        errors.update(result.errors)
    return dict(errors)


def _merge_client_loads(clients: Sequence[ClientLoad]) -> ClientLoad:
    return ClientLoad(
        cpu=max(client.cpu for client in clients),
        loop_lag_p99=max(client.loop_lag_p99 for client in clients),
        flush_seconds=max(client.flush_seconds for client in clients),
        gc_seconds=max(client.gc_seconds for client in clients),
        bottleneck=any(client.bottleneck for client in clients),
    )


def _merge_phases(results: Sequence[LoadResult]) -> list[LoadPhase]:
    plans = {
        tuple((phase.name, phase.at, phase.seconds) for phase in result.phases)
        for result in results
    }
    first = min(map(_start, results))
    if len(plans) > 1:
        moved = [
            msgspec.structs.replace(phase, at=_start(result) - first + phase.at)
            for result in results
            for phase in result.phases
        ]
        return sorted(moved, key=lambda phase: phase.at)
    return [
        LoadPhase(
            name=parts[0].name,
            at=parts[0].at,
            seconds=parts[0].seconds,
            asked_first=add_asked(part.asked_first for part in parts),
            asked_last=add_asked(part.asked_last for part in parts),
            calls=sum(part.calls for part in parts),
            messages=sum(part.messages for part in parts),
            calls_per_second=sum(part.calls_per_second for part in parts),
            errors=sum(part.errors for part in parts),
            late=sum(part.late for part in parts),
            latency=mean_latency([(part.latency, part.calls) for part in parts]),
        )
        for parts in zip(*(result.phases for result in results), strict=True)
    ]


def _start(result: LoadResult) -> float:
    return datetime.fromisoformat(result.started).timestamp()


def _merge_series(results: Sequence[LoadResult]) -> list[LoadInterval]:
    """Return the intervals of all clients on one clock, as long as their longest one."""
    first = min(map(measured_start, results))
    moved = [
        msgspec.structs.replace(each, at=measured_start(result) - first + each.at)
        for result in results
        for each in result.series
    ]
    return add_intervals(moved, max((each.seconds for each in moved), default=1.0))


def _clients(settings: Mapping[str, Any]) -> Sequence[Any]:
    """Return the settings of each client; those of a merged result are settings of several."""
    clients = settings.get(CLIENTS)
    return clients if isinstance(clients, list) else [settings]


def _merge_versions(versions: Sequence[Mapping[str, str]]) -> dict[str, str]:
    names = dict.fromkeys(name for each in versions for name in each)
    return {name: _distinct(each[name] for each in versions if name in each) for name in names}


def _merge_machines(machines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if all(machine == machines[0] for machine in machines):
        return machines[0]
    return {CLIENTS: [client for machine in machines for client in _clients(machine)]}


def _distinct(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts))


def _only(values: set[int | None]) -> int | None:
    return values.pop() if len(values) == 1 else None
