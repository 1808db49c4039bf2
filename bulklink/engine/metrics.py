"""Metrics of the calls of a run: counts, latencies, and the bottleneck."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import msgspec

from bulklink.zoho.http import CallKind

LATENCY_ERROR = 0.02
"""Relative error of a latency in the histogram: its buckets grow by a factor, as DDSketch's do."""
_BUCKET_FACTOR = (1 + LATENCY_ERROR) / (1 - LATENCY_ERROR)
_LOG_FACTOR = math.log(_BUCKET_FACTOR)
_SHORTEST_LATENCY = 0.0001
_DIGITS = 4


class CallFigures(msgspec.Struct, frozen=True):
    """What was measured from the first call that left to the last answer.

    `in_flight` is the mean, `most_in_flight` the mean of what was allowed. `latency` is the mean in
    seconds. `cpu_seconds` is the share of one processor. `credit_wait` is seconds of waiting for
    credits; the other figures are without them.
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
    """All that was measured up to a moment; the difference of two is a `MeterInterval`.

    `at` is seconds of a clock that never jumps. `started` and `ended` count calls that left
    and that are over, `answered_429` those that were refused. `busy_seconds` and `allowed_seconds`
    are seconds in flight and seconds that were allowed in flight, over all calls. `latencies`
    counts the calls that are over by the key of their seconds. `credit_wait` is seconds of waiting
    for credits, `paused_seconds` seconds in which a refusal let nobody leave, `cpu_seconds` seconds
    of processor time.
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
    """What was measured between two looks.

    `seconds` is the time between them. `calls` counts those that left, `ended` those that
    were over, by kind. `in_flight` and `most_in_flight` are means over the seconds, the second of
    what was allowed. `cpu_seconds` is seconds of processor time. Of the seconds, `credit_wait` went
    by in waiting for credits, and in `paused_seconds` a refusal let nobody leave.
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
    """Measures calls as they leave and are answered.

    Args:
        most: returns how many calls may be in flight now.
        monotonic: seconds that never jump.
        cpu: seconds of processor time of this process.
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
        """Note that a call leaves, and return when: `ended` is to be told."""
        self._update()
        if not self._started:
            self._first_at, self._allowed_before_first = self._updated_at, self._allowed_seconds
            self._cpu_at_first = self._cpu()
        self._started += 1
        self._in_flight += 1
        return self._updated_at

    def call_ended(self, kind: CallKind, started_at: float) -> None:
        """Note that a call is over.

        Args:
            kind: of the call.
            started_at: when it left.
        """
        self._update()
        self._in_flight -= 1
        self._cpu_at_last = self._cpu()
        self._ended[kind] += 1
        latency = max(self._updated_at - started_at, _SHORTEST_LATENCY)
        self._latencies[math.ceil(math.log(latency) / _LOG_FACTOR)] += 1

    def figures(self, rate: float | None, credit_wait: float) -> CallFigures | None:
        """Return what was measured; None where no call left.

        Args:
            rate: calls a second that are allowed; None is no limit.
            credit_wait: seconds of waiting for credits.
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
        """Return what was measured so far, the calls in flight included.

        Args:
            answered_429: calls that were answered so.
            credit_wait: seconds of waiting for credits.
            paused_seconds: seconds in which a refusal let nobody leave.
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
    """Return what was measured between two looks."""
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
    """Return how many of the calls that were over between two looks took how many seconds.

    The seconds are those that stand for others, each within 2 % of what was measured.
    """
    return {
        _bucket_latency(bucket): added
        for bucket, count in sorted(later.latencies.items())
        if (added := count - earlier.latencies.get(bucket, 0))
    }


def _bucket_latency(bucket: int) -> float:
    """Return the latency at most 2 % from every latency of a bucket, rounded to four digits."""
    return float(f"{_BUCKET_FACTOR**bucket * 2 / (1 + _BUCKET_FACTOR):.{_DIGITS}g}")


_USED_UP = 0.8
"""Share of a limit that is used where it is the limit that counts."""
_RATE_USED_UP = 0.9
_MIN_SECONDS = 3.0
_MIN_CALLS = 50
"""Below these nothing can be told of a run: it begins with few calls and ends with few."""
_MIN_IN_FLIGHT = 0.5
_MAX_CREDIT_WAIT = 0.5
_MAX_PAUSED = 0.5


class LimitedBy(StrEnum):
    """What a run could not go faster for."""

    CREDITS = "credits"
    PAUSE = "the CRM's pause after a refusal"
    CPU = "this machine's CPU"
    RATE = "calls a second (--rate)"
    IN_FLIGHT = "calls in flight"
    LATENCY = "the CRM's latency, call after call"
    LOCAL_WORK = "what this machine does between calls"
    NOTHING = "nothing for long"


def find_bottleneck(figures: CallFigures, *, out_of_credits: bool) -> LimitedBy:
    """Return what limited a run.

    Args:
        figures: what was measured.
        out_of_credits: whether it stopped for want of credits, or while it waited for them.
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
    """Return what limited a run between two looks.

    Args:
        interval: what was measured.
        rate: calls a second that are allowed; None is no limit.
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
    """Return what limits a run that uses up neither credits nor CPU nor rate."""
    if in_flight >= _USED_UP * most_in_flight:
        return LimitedBy.IN_FLIGHT
    return LimitedBy.LATENCY if in_flight >= _MIN_IN_FLIGHT else LimitedBy.LOCAL_WORK
