"""Results of load tests: the content of `loadtest.json`.

Times are in seconds and rates per second. A call is a link or unlink request that was started in
the measured time; retries are counted apart. Its service time lasts from the moment it was sent to
its answer. Its intended latency lasts from when the schedule asked for it, so it includes the wait
of a call that left late. In the closed model, both are equal.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

VERSION = 1
WARM_UP = "warm-up"
"""Name of the phase before the measured time."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class LatencyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and percentiles of latencies; `mean` and `max` are exact in load tests.

    Args:
        mean: mean.
        p50: latency within which half of the calls were answered; within 0.5%, as the next four.
        p90: the same for 90% of the calls.
        p95: the same for 95%.
        p99: the same for 99%.
        p999: the same for 99.9%.
        max: longest latency.
    """

    mean: Seconds
    p50: Seconds
    p90: Seconds
    p95: Seconds
    p99: Seconds
    p999: Seconds
    max: Seconds


class BothLatencies(msgspec.Struct, frozen=True, kw_only=True):
    """Service time and latency from the intended start; None without an answered call."""

    service: LatencyFigures | None
    intended: LatencyFigures | None


class HistogramBins(msgspec.Struct, frozen=True, kw_only=True):
    """A `LatencyHistogram`: calls by bin.

    Args:
        relative_error: largest relative error of a quantile.
        bins: calls by number of the bin.
        total: sum of the latencies.
        longest: longest latency.
    """

    relative_error: Annotated[float, msgspec.Meta(gt=0, lt=0.5)]
    bins: dict[int, Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]]
    total: Seconds
    longest: Seconds


class BothHistograms(msgspec.Struct, frozen=True, kw_only=True):
    """The histograms of both latencies."""

    service: HistogramBins
    intended: HistogramBins


class LoadPhase(msgspec.Struct, frozen=True, kw_only=True):
    """A phase of the schedule: the warm-up, a step, a ramp, or all of the measured time.

    Args:
        name: `warm-up`, `constant`, `ramp` or `step`; `closed` without a schedule.
        at: its start in seconds after the first phase began.
        seconds: its duration.
        asked_first: calls a second that the schedule asks for at its start; None in the closed
            model.
        asked_last: the same at its end.
        calls: calls started in it.
        messages: emails of those calls that were answered.
        calls_per_second: calls started, per second.
        errors: calls that failed.
        late: calls that left late.
        latency: latencies of its calls.
    """

    name: str
    at: Seconds
    seconds: Seconds
    asked_first: Rate | None
    asked_last: Rate | None
    calls: Count
    messages: Count
    calls_per_second: Rate
    errors: Count
    late: Count
    latency: BothLatencies


class LoadInterval(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of an interval of the measured time, for plots over time.

    Args:
        at: its start in seconds after the measured time began.
        seconds: its length.
        asked: calls that the schedule asked for; None in the closed model.
        calls: calls started.
        answered: calls answered.
        messages: emails of the calls answered.
        errors: calls that failed.
        late: calls that left late.
        in_flight: mean number of calls in flight.
        latency: latencies of the calls answered in it.
    """

    at: Seconds
    seconds: Seconds
    asked: Rate | None
    calls: Count
    answered: Count
    messages: Count
    errors: Count
    late: Count
    in_flight: Rate
    latency: BothLatencies


class ClientLoad(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this machine was the bottleneck.

    Args:
        cpu: share of one processor that the client used.
        loop_lag_p99: how late the event loop was, 99th percentile, in seconds.
        flush_seconds: seconds in which the ledger was written and flushed.
        gc_seconds: seconds of garbage collection.
        bottleneck: whether the client may have limited the figures.
    """

    cpu: Seconds
    loop_lag_p99: Seconds
    flush_seconds: Seconds
    gc_seconds: Seconds
    bottleneck: bool


class ThresholdResult(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold and whether it was met.

    Args:
        expression: the threshold as the user wrote it, such as `p99 < 400ms`.
        value: the measured value: seconds, or a share of 1; None if nothing was measured.
        met: whether it was met; a threshold without a value is missed.
    """

    expression: str
    value: float | None
    met: bool


class LoadTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Args:
        url: address of the server; `emulator` for one that the load test started.
        world_digest: digest of the world of that emulator; None for another server.
    """

    url: str
    world_digest: str | None


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a load test, as in `loadtest.json` and in JSON output.

    Args:
        version: version of the format.
        versions: versions of bulklink, Python and the libraries that make the calls.
        settings: options of the load test, by name.
        seed: seed of the generated world; None for another server.
        plan_digest: digest of the plan.
        machine: `system`, `machine`, `processors`, `memory` (bytes) and `python`.
        target: what was measured.
        started: when its first phase began, RFC 3339 in UTC; by it, results of several clients are
            put on one clock.
        phases: phases of the schedule, the warm-up first.
        series: figures over the measured time.
        seconds: measured time.
        messages: emails of the calls that were answered.
        calls: calls started.
        retried: second or later attempts of calls.
        asked_calls_per_second: mean rate that the schedule asked for; None in the closed model.
        calls_per_second: calls started, per second.
        messages_per_second: emails of the answered calls, per second.
        late: calls that left late.
        dropped: calls that were due and never started.
        errors: calls that failed, by code.
        answered_429: calls that were answered with HTTP 429.
        latency: latencies of all calls.
        client: whether this machine was the bottleneck.
        limited_by: what limited the rate.
        thresholds: thresholds and whether they were met.
        cut_short: whether it ended early.
        stopped_by: why it ended early; None if it did not.
        histogram: histograms of all calls, to merge and to compare.
        run_dir: the run folder.
        exit_code: 0, or 1 if a threshold was missed; another one if it was cut short.
    """

    version: int
    versions: dict[str, str]
    settings: dict[str, Any]
    seed: int | None
    plan_digest: str
    machine: dict[str, Any]
    target: LoadTarget
    started: str
    phases: list[LoadPhase]
    series: list[LoadInterval]
    seconds: Seconds
    messages: Count
    calls: Count
    retried: Count
    asked_calls_per_second: Rate | None
    calls_per_second: Rate
    messages_per_second: Rate
    late: Count
    dropped: Count
    errors: dict[str, Count]
    answered_429: Count
    latency: BothLatencies
    client: ClientLoad
    limited_by: str
    thresholds: list[ThresholdResult]
    cut_short: bool
    stopped_by: str | None
    histogram: BothHistograms
    run_dir: str
    exit_code: int
