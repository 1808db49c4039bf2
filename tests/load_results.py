"""Results of load tests on a simulated server, to read, compare and draw."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import msgspec

from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.figures import bins_of_histogram, latency_figures
from bulklink.load_results import (
    VERSION,
    BothHistograms,
    BothLatencies,
    ClientLoad,
    LoadInterval,
    LoadPhase,
    LoadResult,
    LoadTarget,
    ThresholdResult,
)

MESSAGES_PER_CALL = 20
_LATE_SECONDS = 0.001


@dataclass(frozen=True, kw_only=True)
class SimulatedServer:
    """Server whose service times are lognormal, with a heavy tail and planted stalls.

    Args:
        median: median service time in seconds.
        spread: standard deviation of its logarithm.
        slow_share: share of calls that take ten times as long.
        stalls: (start, seconds) of stalls, in which no call is answered.
        error_share: share of calls that fail.
    """

    median: float = 0.05
    spread: float = 0.25
    slow_share: float = 0.004
    stalls: Sequence[tuple[float, float]] = ()
    error_share: float = 0.0

    def service_seconds(self, began: float, rng: random.Random) -> float:
        seconds = self.median * math.exp(self.spread * rng.gauss(0, 1))
        if rng.random() < self.slow_share:
            seconds *= 10
        for start, length in self.stalls:
            if start <= began + seconds and began < start + length:
                seconds += start + length - max(began, start)
        return seconds


@dataclass(frozen=True)
class SimulatedCall:
    """A call: when it was due, left and was answered, and whether it failed."""

    due: float
    began: float
    ended: float
    failed: bool

    @property
    def late(self) -> bool:
        return self.began - self.due > _LATE_SECONDS


@dataclass
class _Latencies:
    service: LatencyHistogram = field(default_factory=LatencyHistogram)
    intended: LatencyHistogram = field(default_factory=LatencyHistogram)

    def record(self, calls: Sequence[SimulatedCall]) -> _Latencies:
        for call in calls:
            self.service.record(call.ended - call.began)
            self.intended.record(call.ended - call.due)
        return self

    def figures(self) -> BothLatencies:
        return BothLatencies(
            service=latency_figures(self.service), intended=latency_figures(self.intended)
        )


def simulate_calls(
    server: SimulatedServer, rate: float | None, seconds: float, places: int, seed: int
) -> list[SimulatedCall]:
    """Return the calls of a load test, in the order in which they left.

    Args:
        server: the server.
        rate: arrivals a second; None for the closed model.
        seconds: measured time, after which no call leaves.
        places: most calls in flight.
        seed: seed of the service times.
    """
    rng, free = random.Random(seed), [0.0] * places
    calls: list[SimulatedCall] = []
    while True:
        due = free[0] if rate is None else len(calls) / rate
        began = max(due, free[0])
        if began >= seconds:
            return calls
        ended = began + server.service_seconds(began, rng)
        calls.append(SimulatedCall(due, began, ended, rng.random() < server.error_share))
        heapq.heapreplace(free, ended)


def load_result(
    server: SimulatedServer | None = None,
    *,
    rate: float | None = 100.0,
    seconds: float = 20.0,
    places: int = 50,
    seed: int = 1,
    **changes: Any,
) -> LoadResult:
    """Return the result of a load test on a simulated server.

    Args:
        server: the server; None for one of 50 ms.
        rate: arrivals a second; None for the closed model.
        seconds: measured time.
        places: most calls in flight.
        seed: seed of the service times.
        changes: other values of fields of the result.
    """
    server = server or SimulatedServer()
    calls = simulate_calls(server, rate, seconds, places, seed)
    asked = None if rate is None else round(rate * seconds)
    whole = _Latencies().record(calls)
    failed = sum(call.failed for call in calls)
    messages = MESSAGES_PER_CALL * (len(calls) - failed)
    late = sum(call.late for call in calls)
    result = LoadResult(
        version=VERSION,
        versions={"bulklink": "0.9.0", "python": "3.12.1", "aiohttp": "3.11.0"},
        settings={"arrival_rate": rate, "concurrency": places, "duration": seconds},
        seed=1,
        plan_digest="4f1d2c3b" * 8,
        machine={
            "system": "Linux 6.8.0",
            "machine": "x86_64",
            "processors": 8,
            "memory": 16 << 30,
            "python": "3.12.1",
        },
        target=LoadTarget(url="emulator", world_digest="9ab0c1d2" * 8),
        started="2026-11-22T12:00:00.000+00:00",
        phases=[
            LoadPhase(
                name="closed" if rate is None else "constant",
                at=0.0,
                seconds=seconds,
                asked_first=rate,
                asked_last=rate,
                calls=len(calls),
                messages=messages,
                calls_per_second=len(calls) / seconds,
                errors=failed,
                late=late,
                latency=whole.figures(),
            )
        ],
        series=_series(calls, rate, seconds),
        seconds=seconds,
        messages=messages,
        calls=len(calls),
        retried=0,
        asked_calls_per_second=rate,
        calls_per_second=len(calls) / seconds,
        messages_per_second=messages / seconds,
        late=late,
        dropped=0 if asked is None else max(0, asked - len(calls)),
        errors={"INTERNAL_ERROR": failed} if failed else {},
        answered_429=0,
        latency=whole.figures(),
        client=ClientLoad(
            cpu=0.41, loop_lag_p99=0.002, flush_seconds=0.3, gc_seconds=0.05, bottleneck=False
        ),
        limited_by="arrival rate" if rate else "concurrency",
        thresholds=[ThresholdResult(expression="p99 < 400ms", value=0.2, met=True)],
        cut_short=False,
        stopped_by=None,
        histogram=BothHistograms(
            service=bins_of_histogram(whole.service), intended=bins_of_histogram(whole.intended)
        ),
        run_dir="runs/loadtest-1",
        exit_code=0,
    )
    return msgspec.structs.replace(result, **changes)


def _series(
    calls: Sequence[SimulatedCall], rate: float | None, seconds: float
) -> list[LoadInterval]:
    def second_of(moment: float) -> int:
        return min(int(moment), math.ceil(seconds) - 1)

    by_end = sorted(calls, key=lambda call: call.ended)
    answered = {n: list(group) for n, group in groupby(by_end, lambda call: second_of(call.ended))}
    started = {n: list(group) for n, group in groupby(calls, lambda call: second_of(call.began))}
    return [
        _interval(n, started.get(n, []), answered.get(n, []), rate, in_flight)
        for n, in_flight in enumerate(_in_flight(calls, math.ceil(seconds)))
    ]


def _in_flight(calls: Sequence[SimulatedCall], seconds: int) -> list[float]:
    """Return the mean number of calls in flight in each second."""
    means = [0.0] * seconds
    for call in calls:
        for second in range(int(call.began), min(int(call.ended), seconds - 1) + 1):
            means[second] += min(call.ended, second + 1) - max(call.began, second)
    return means


def _interval(
    second: int,
    started: Sequence[SimulatedCall],
    answered: Sequence[SimulatedCall],
    rate: float | None,
    in_flight: float,
) -> LoadInterval:
    failed = sum(call.failed for call in answered)
    return LoadInterval(
        at=float(second),
        seconds=1.0,
        asked=rate,
        calls=len(started),
        answered=len(answered),
        messages=MESSAGES_PER_CALL * (len(answered) - failed),
        errors=failed,
        late=sum(call.late for call in started),
        in_flight=in_flight,
        latency=_Latencies().record(answered).figures(),
    )
