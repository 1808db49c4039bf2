"""Call counters, latency histogram and the bottleneck of a run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import msgspec

from bulklink.zoho.http import CallKind

LATENCY_ERROR = 0.02
"""Relative error of a latency in the histogram, whose buckets grow geometrically as in DDSketch."""
_BUCKET_FACTOR = (1 + LATENCY_ERROR) / (1 - LATENCY_ERROR)
_LOG_FACTOR = math.log(_BUCKET_FACTOR)
_SHORTEST_LATENCY = 0.0001
_DIGITS = 4
_USED_UP = 0.8
"""A limit is the bottleneck if at least this share of it is in use."""
_RATE_USED_UP = 0.9
"""The same for the limit of calls per second."""
_MIN_SECONDS = 3.0
_MIN_CALLS = 50
"""A shorter run has no clear bottleneck: few calls are in flight at its start and end."""
_MIN_IN_FLIGHT = 0.5
"""Mean number of calls in flight below which the work of this machine is the bottleneck."""
_MAX_CREDIT_WAIT = 0.5
"""Share of the time spent waiting for credits above which credits are the bottleneck."""
_MAX_PAUSED = 0.5
"""Share of the time spent in pauses after refusals above which pauses are the bottleneck."""


class CallFigures(msgspec.Struct, frozen=True):
    """Averages from the first call started to the last response.

    Args:
        calls: calls started.
        seconds: from first to last, without waits for credits.
        in_flight: mean number of calls in flight.
        most_in_flight: mean of the limit of calls in flight.
        calls_a_second: mean rate.
        rate: limit of calls per second; None for no limit.
        latency: mean seconds of a call.
        cpu: share of one processor.
        waited: seconds spent waiting for credits.
    """

    calls: int
    seconds: float
    in_flight: float
    most_in_flight: float
    calls_a_second: float
    rate: float | None
    latency: float
    cpu: float
    waited: float


class MeterTotals(msgspec.Struct, frozen=True):
    """Cumulative totals at one moment.

    Args:
        at: monotonic seconds.
        started: calls started.
        ended: finished calls by kind.
        answered_429: calls refused with 429.
        busy_seconds: seconds in flight, summed over all calls.
        allowed_seconds: seconds available, summed over all slots.
        cpu_seconds: seconds of processor time.
        credit_wait: seconds spent waiting for credits.
        paused_seconds: seconds in which no call could start because one was refused.
        latencies: finished calls by bucket of their latency.
    """

    at: float
    started: int
    ended: dict[CallKind, int]
    answered_429: int
    busy_seconds: float
    allowed_seconds: float
    cpu_seconds: float
    credit_wait: float
    paused_seconds: float
    latencies: dict[int, int]


class MeterInterval(msgspec.Struct, frozen=True):
    """Difference of two `MeterTotals`.

    Args:
        seconds: seconds between the two.
        calls: calls started.
        ended: finished calls by kind.
        answered_429: calls refused with 429.
        in_flight: mean number of calls in flight.
        most_in_flight: mean of the limit of calls in flight.
        cpu_seconds: seconds of processor time.
        credit_wait: seconds spent waiting for credits.
        paused_seconds: seconds in which no call could start because one was refused.
    """

    seconds: float
    calls: int
    ended: dict[CallKind, int]
    answered_429: int
    in_flight: float
    most_in_flight: float
    cpu_seconds: float
    credit_wait: float
    paused_seconds: float


class CallMeter:
    """Measures calls as they start and end.

    Args:
        limit: returns how many calls may be in flight now.
        monotonic: returns monotonic seconds.
        cpu: returns seconds of processor time of this process.
    """

    def __init__(
        self, limit: Callable[[], int], monotonic: Callable[[], float], cpu: Callable[[], float]
    ) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._cpu = cpu
        self._started = 0
        self._in_flight = 0
        self._ended = dict.fromkeys(CallKind, 0)
        self._latencies: Counter[int] = Counter()
        self._busy_seconds = self._allowed_seconds = self._allowed_before_first = 0.0
        self._first_at = self._updated_at = monotonic()
        self._cpu_at_first = self._cpu_at_last = cpu()

    def call_started(self) -> float:
        """Record the start of a call; return the time, for `call_ended`."""
        self._update()
        if not self._started:
            self._first_at, self._allowed_before_first = self._updated_at, self._allowed_seconds
            self._cpu_at_first = self._cpu()
        self._started += 1
        self._in_flight += 1
        return self._updated_at

    def call_ended(self, kind: CallKind, started_at: float) -> None:
        """Record the end of a call.

        Args:
            kind: kind of the call.
            started_at: time returned by `call_started`.
        """
        self._update()
        self._in_flight -= 1
        if not self._in_flight:
            self._cpu_at_last = self._cpu()
        self._ended[kind] += 1
        latency = max(self._updated_at - started_at, _SHORTEST_LATENCY)
        self._latencies[math.ceil(math.log(latency) / _LOG_FACTOR)] += 1

    def figures(self, rate: float | None, credit_wait: float) -> CallFigures | None:
        """Return the averages; None if no call was started.

        Args:
            rate: limit of calls per second; None for no limit.
            credit_wait: seconds spent waiting for credits.
        """
        if not self._started:
            return None
        seconds = max(0.001, self._updated_at - self._first_at - credit_wait)
        return CallFigures(
            calls=self._started,
            seconds=round(seconds, 3),
            in_flight=round(self._busy_seconds / seconds, 2),
            most_in_flight=round(
                (self._allowed_seconds - self._allowed_before_first) / (seconds + credit_wait), 2
            ),
            calls_a_second=round(self._started / seconds, 2),
            rate=rate,
            latency=round(self._busy_seconds / self._started, 4),
            cpu=round((self._cpu_at_last - self._cpu_at_first) / seconds, 3),
            waited=round(credit_wait, 1),
        )

    def totals(
        self, *, answered_429: int, credit_wait: float, paused_seconds: float
    ) -> MeterTotals:
        """Return the totals so far, calls in flight included.

        Args:
            answered_429: calls refused with 429.
            credit_wait: seconds spent waiting for credits.
            paused_seconds: seconds in which no call could start because one was refused.
        """
        now = self._monotonic()
        elapsed = now - self._updated_at
        return MeterTotals(
            at=now,
            started=self._started,
            ended=self._ended.copy(),
            answered_429=answered_429,
            busy_seconds=self._busy_seconds + elapsed * self._in_flight,
            allowed_seconds=self._allowed_seconds + elapsed * self._limit(),
            cpu_seconds=self._cpu(),
            credit_wait=credit_wait,
            paused_seconds=paused_seconds,
            latencies=dict(self._latencies),
        )

    def _update(self) -> None:
        now = self._monotonic()
        elapsed = now - self._updated_at
        self._busy_seconds += elapsed * self._in_flight
        self._allowed_seconds += elapsed * self._limit()
        self._updated_at = now


def interval_between(earlier: MeterTotals, later: MeterTotals) -> MeterInterval:
    """Return the difference of two totals."""
    seconds = max(later.at - earlier.at, 0.001)
    return MeterInterval(
        seconds=seconds,
        calls=later.started - earlier.started,
        ended={kind: later.ended[kind] - earlier.ended[kind] for kind in CallKind},
        answered_429=later.answered_429 - earlier.answered_429,
        in_flight=(later.busy_seconds - earlier.busy_seconds) / seconds,
        most_in_flight=(later.allowed_seconds - earlier.allowed_seconds) / seconds,
        cpu_seconds=later.cpu_seconds - earlier.cpu_seconds,
        credit_wait=later.credit_wait - earlier.credit_wait,
        paused_seconds=later.paused_seconds - earlier.paused_seconds,
    )


def latencies_between(earlier: MeterTotals, later: MeterTotals) -> dict[float, int]:
    """Return the calls that ended between two totals, counted by latency in seconds.

    Each key is within 2% of the latencies it counts.
    """
    return {
        _bucket_latency(bucket): added
        for bucket, count in sorted(later.latencies.items())
        if (added := count - earlier.latencies.get(bucket, 0))
    }


def _bucket_latency(bucket: int) -> float:
    """Return the latency within 2% of every latency of a bucket, rounded to four digits."""
    return float(f"{_BUCKET_FACTOR**bucket * 2 / (1 + _BUCKET_FACTOR):.{_DIGITS}g}")


class LimitedBy(StrEnum):
    """Bottleneck of a run.

    `PAUSE` is a pause after a refusal (429), `LOCAL_WORK` the work of this machine between calls,
    and `NOTHING` means that the run was too short to determine one.
    """

    CREDITS = "credits"
    PAUSE = "the CRM's pause after a refusal"
    CPU = "this machine's CPU"
    RATE = "the limit of calls a second"
    IN_FLIGHT = "calls in flight"
    LATENCY = "the CRM's latency, call after call"
    LOCAL_WORK = "this machine's work between calls"
    NOTHING = "nothing for long"


def find_bottleneck(figures: CallFigures, *, out_of_credits: bool) -> LimitedBy:
    """Return the bottleneck of a run.

    Args:
        figures: figures of its calls.
        out_of_credits: whether it stopped for lack of credits, or while waiting for them.
    """
    if out_of_credits or figures.waited > _MAX_CREDIT_WAIT * (figures.seconds + figures.waited):
        return LimitedBy.CREDITS
    if figures.seconds < _MIN_SECONDS or figures.calls < _MIN_CALLS:
        return LimitedBy.NOTHING
    if figures.cpu >= _USED_UP:
        return LimitedBy.CPU
    if figures.rate is not None and figures.calls_a_second >= _RATE_USED_UP * figures.rate:
        return LimitedBy.RATE
    return _concurrency_bottleneck(figures.in_flight, figures.most_in_flight)


def find_interval_bottleneck(interval: MeterInterval, rate: float | None) -> LimitedBy:
    """Return the bottleneck in an interval.

    Args:
        interval: measured interval.
        rate: limit of calls per second; None for no limit.
    """
    if interval.credit_wait > _MAX_CREDIT_WAIT * interval.seconds:
        return LimitedBy.CREDITS
    active_seconds = interval.seconds - interval.credit_wait
    if interval.paused_seconds > _MAX_PAUSED * active_seconds:
        return LimitedBy.PAUSE
    if interval.cpu_seconds >= _USED_UP * active_seconds:
        return LimitedBy.CPU
    if not interval.calls and not interval.in_flight:
        return LimitedBy.NOTHING
    if rate is not None and interval.calls >= _RATE_USED_UP * rate * active_seconds:
        return LimitedBy.RATE
    active_share = active_seconds / interval.seconds
    limit = _concurrency_bottleneck(interval.in_flight / active_share, interval.most_in_flight)
    has_refusals = interval.answered_429 > 0 and limit is not LimitedBy.IN_FLIGHT
    return LimitedBy.PAUSE if has_refusals else limit


def _concurrency_bottleneck(in_flight: float, most_in_flight: float) -> LimitedBy:
    """Return the bottleneck of a run that is not limited by credits, CPU or rate."""
    if in_flight >= _USED_UP * most_in_flight:
        return LimitedBy.IN_FLIGHT
    return LimitedBy.LATENCY if in_flight >= _MIN_IN_FLIGHT else LimitedBy.LOCAL_WORK
