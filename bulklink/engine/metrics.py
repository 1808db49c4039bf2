"""Call counters, latencies and the bottleneck of a run."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from bulklink.latency_histogram import LatencyHistogram
from bulklink.zoho.http import CallKind

_LATENCY_DIGITS = 4
_USED_UP = 0.8
"""A limit is the bottleneck if at least this share of it is in use."""
_RATE_USED_UP = 0.9
"""The same for the limit of calls per second."""
_MIN_SECONDS = 3.0
_MIN_CALLS = 50
"""A shorter run has no clear bottleneck: few calls are in flight at its start and end."""
_MIN_IN_FLIGHT = 0.5
"""Mean number of calls in flight below which it is not calls that take the time."""
_MIN_WORK = 0.3
"""Share of one processor below which it is not the work of this machine either."""
_MAX_CREDIT_WAIT = 0.5
"""Share of the time spent waiting for credits above which credits are the bottleneck."""
_MAX_PAUSED = 0.5
"""Share of the time spent in pauses after refusals above which pauses are the bottleneck."""


class CallFigures(msgspec.Struct, frozen=True):
    """Averages over a time without its waits for credits.

    Args:
        calls: calls started.
        seconds: length of the time, without waits for credits.
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
        latencies: finished calls by bin of their latency, as in `LatencyHistogram`.
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

    Attributes:
        latencies: latencies of the finished calls.
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
        self.latencies = LatencyHistogram()
        self._busy_seconds = self._allowed_seconds = 0.0
        self._updated_at = monotonic()

    def call_started(self) -> float:
        """Record the start of a call; return the time, for `call_ended`."""
        self._update()
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
        self._ended[kind] += 1
        self.latencies.record(self._updated_at - started_at)

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
            latencies=dict(self.latencies.bins),
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

    Each key is within 0.5% of the latencies it counts.
    """
    scale = LatencyHistogram()
    return {
        float(f"{scale.latency_of(index):.{_LATENCY_DIGITS}g}"): added
        for index, count in sorted(later.latencies.items())
        if (added := count - earlier.latencies.get(index, 0))
    }


def figures_between(
    earlier: MeterTotals, later: MeterTotals, rate: float | None
) -> CallFigures | None:
    """Return the averages between two totals; None if no call was started.

    Args:
        earlier: totals at the beginning.
        later: totals at the end.
        rate: limit of calls per second; None for no limit.
    """
    window = interval_between(earlier, later)
    if not window.calls:
        return None
    seconds = max(0.001, window.seconds - window.credit_wait)
    busy_seconds = window.in_flight * window.seconds
    return CallFigures(
        calls=window.calls,
        seconds=round(seconds, 3),
        in_flight=round(busy_seconds / seconds, 2),
        most_in_flight=round(window.most_in_flight, 2),
        calls_a_second=round(window.calls / seconds, 2),
        rate=rate,
        latency=round(busy_seconds / window.calls, 4),
        cpu=round(window.cpu_seconds / seconds, 3),
        waited=round(window.credit_wait, 1),
    )


class LimitedBy(StrEnum):
    """Bottleneck of a run.

    `PAUSE` is a pause after a refusal (429), `LOCAL_WORK` the work of this machine between calls,
    `WAITS` is neither work nor a call, and `NOTHING` means that the run was too short to determine
    one.
    """

    CREDITS = "credits"
    PAUSE = "the CRM's pause after a refusal"
    CPU = "this machine's CPU"
    RATE = "the limit of calls a second"
    IN_FLIGHT = "calls in flight"
    LATENCY = "the CRM's latency, call after call"
    LOCAL_WORK = "this machine's work between calls"
    WAITS = "waits between calls, for retries or the disk"
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
    return _concurrency_bottleneck(figures.in_flight, figures.most_in_flight, figures.cpu)


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
    limit = _concurrency_bottleneck(
        interval.in_flight / active_share,
        interval.most_in_flight,
        interval.cpu_seconds / active_seconds,
    )
    has_refusals = interval.answered_429 > 0 and limit is not LimitedBy.IN_FLIGHT
    return LimitedBy.PAUSE if has_refusals else limit


def _concurrency_bottleneck(in_flight: float, most_in_flight: float, cpu: float) -> LimitedBy:
    """Return the bottleneck of a run that is not limited by credits, CPU or rate."""
    if in_flight >= _USED_UP * most_in_flight:
        return LimitedBy.IN_FLIGHT
    if in_flight >= _MIN_IN_FLIGHT:
        return LimitedBy.LATENCY
    return LimitedBy.LOCAL_WORK if cpu >= _MIN_WORK else LimitedBy.WAITS
