"""Monitor of a run: its metrics, rate, remaining time, bottleneck and timeline.

All work is per sample, none per call or email.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path

from bulklink.blocking import ThreadRunner
from bulklink.engine.metrics import (
    CallFigures,
    LimitedBy,
    MeterInterval,
    MeterTotals,
    figures_between,
    find_interval_bottleneck,
    interval_between,
    latencies_between,
)
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.errors import RunDirError
from bulklink.models import Status
from bulklink.operations.callbacks import Metrics, ResultCounter
from bulklink.runs.forecast import CreditRange
from bulklink.runs.timeline import TimelineInterval, append_interval

_MIN_TIME_CONSTANT = 10.0
_MAX_TIME_CONSTANT = 60.0
_TIME_CONSTANT_SHARE = 0.2
"""Time constant of the decay, as a share of all measured seconds."""
_MIN_SECONDS = 5.0
_MIN_ITEMS = 40
_ALWAYS_ENOUGH_SECONDS = 60.0
"""Minimum before a rate is reported: this many items in this many seconds, or any in a minute."""


class RateEstimator:
    """Estimates items and calls per second, weighting recent work most.

    An item is an email that is settled or read, or a contact that is read.
    """

    def __init__(self) -> None:
        self._seconds = self._items = self._calls = 0.0
        self._total_seconds = 0.0
        self._total_items = 0

    def add(self, seconds: float, items: int, calls: int) -> None:
        """Add the items and calls of some seconds."""
        self._total_seconds += seconds
        self._total_items += items
        time_constant = min(
            max(_TIME_CONSTANT_SHARE * self._total_seconds, _MIN_TIME_CONSTANT), _MAX_TIME_CONSTANT
        )
        decay = math.exp(-seconds / time_constant)
        self._seconds = self._seconds * decay + seconds
        self._items = self._items * decay + items
        self._calls = self._calls * decay + calls

    @property
    def rate(self) -> float | None:
        """Items a second; None until enough was measured."""
        enough = self._total_seconds >= _MIN_SECONDS and self._total_items >= _MIN_ITEMS
        if not enough and not (self._total_seconds >= _ALWAYS_ENOUGH_SECONDS and self._total_items):
            return None
        return self._items / self._seconds

    def seconds_for(self, items: int) -> float | None:
        """Return the seconds that some items take; None if unknown."""
        rate = self.rate
        return items / rate if rate else None

    def items_for(self, calls: int) -> int | None:
        """Return the items that a number of calls suffices for; None if unknown."""
        if self.rate is None or not self._calls:
            return None
        return int(calls * self._items / self._calls)


_SAMPLES_KEPT = 11
"""Recent samples, over five seconds."""
_SAMPLES_PER_USAGE_CHECK = 60


@dataclass(slots=True)
class MetricsSampler:
    """Samples the calls and credits of a session.

    Args:
        read_totals: returns the measurements of the calls so far.
        limiter: limits the calls in flight.
        quota: limits the credits.
        rate: maximum calls per second; None is no limit.
        done: returns the number of emails (or contacts) done by this command.
        remaining: returns the number left to do.
        forecast: returns the credits of the whole command; None if unknown.
    """

    read_totals: Callable[[], MeterTotals]
    limiter: ConcurrencyLimiter
    quota: QuotaGate
    rate: float | None
    _: KW_ONLY
    done: Callable[[], int]
    remaining: Callable[[], int]
    forecast: Callable[[], CreditRange | None] = lambda: None
    _samples: deque[MeterTotals] = field(
        init=False, default_factory=lambda: deque(maxlen=_SAMPLES_KEPT)
    )
    _sample_count: int = field(init=False, default=0)
    _rate_estimator: RateEstimator = field(init=False)
    _totals_before: MeterTotals = field(init=False)
    _done_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Restart the rate estimate; earlier work does not count."""
        self._rate_estimator = RateEstimator()
        self._totals_before, self._done_before = self.read_totals(), self.done()

    async def sample(self) -> MeterTotals:
        """Take one sample and return the measurements so far."""
        budget = self.quota.budget
        limit_changed = (budget.daily_limit is None) is not (budget.day_call_limit is None)
        if limit_changed or self._sample_count % _SAMPLES_PER_USAGE_CHECK == 0:
            await self.quota.allowance.refresh_budget()
        self._sample_count += 1
        totals, done = self.read_totals(), self.done()
        self._samples.append(totals)
        window = interval_between(self._totals_before, totals)
        active_seconds = max(0.0, window.seconds - window.credit_wait)
        self._rate_estimator.add(active_seconds, done - self._done_before, window.calls)
        self._totals_before, self._done_before = totals, done
        return totals

    def metrics(self) -> Metrics:
        """Return the current metrics."""
        budget, remaining, waiting = self.quota.budget, self.remaining(), self.quota.is_waiting
        spendable = budget.spendable
        lasts_for = None if spendable is None else self._rate_estimator.items_for(spendable)
        return Metrics(
            rate=self._rate_estimator.rate,
            seconds_left=None if waiting else self._rate_estimator.seconds_for(remaining),
            in_flight=self._in_flight(),
            allowed_in_flight=self.limiter.limit,
            max_in_flight=self.limiter.max_in_flight,
            credits_spent=budget.sent,
            credits_left=budget.reported_left,
            credits_spendable=spendable,
            credits_last_for=lasts_for if lasts_for is not None and lasts_for < remaining else None,
            limited_by=self._limited_by(),
            credits_forecast=self.forecast(),
        )

    def _in_flight(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        return interval_between(self._samples[-2], self._samples[-1]).in_flight

    def _limited_by(self) -> LimitedBy | None:
        if self.quota.is_waiting:
            return LimitedBy.CREDITS
        if self.limiter.paused:
            return LimitedBy.PAUSE
        if len(self._samples) < 2:
            return None
        limited_by = find_interval_bottleneck(
            interval_between(self._samples[0], self._samples[-1]), self.rate
        )
        return None if limited_by is LimitedBy.NOTHING else limited_by


_MIN_STRETCH_SECONDS = 1.0
_NEGLIGIBLE = 0.01
_STRETCHES_PER_RUN = 500
"""A stretch lasts a second, or this share of the run so far: days make about 1,000 lines."""


@dataclass(slots=True)
class TimelineWriter:
    """Aggregates samples into stretches and appends them to `timeline.jsonl`.

    A wait for credits is one stretch. A stretch without work is written only while emails are sent,
    so that these stretches add up to the time of sending. If the timeline cannot be written, the
    run continues without it.

    Args:
        path: path of the timeline.
        earlier_seconds: seconds that earlier invocations of the run took.
        rate: maximum calls per second; None is no limit.
        warn: called if the timeline cannot be written.
        timestamp: returns the time as the ledger writes it.
        run_blocking: writes in a thread.
    """

    path: Path
    _: KW_ONLY
    earlier_seconds: float
    rate: float | None
    warn: Callable[[str], None]
    timestamp: Callable[[], str]
    run_blocking: ThreadRunner
    _disabled: bool = field(init=False, default=False)
    _first: MeterTotals | None = field(init=False, default=None)
    _last: MeterTotals | None = field(init=False, default=None)
    _last_settled: dict[Status, int] = field(init=False, default_factory=dict)
    _waiting: bool = field(init=False, default=False)
    _sending: bool = field(init=False, default=False)

    async def add_sample(
        self,
        totals: MeterTotals,
        settled: dict[Status, int],
        credits_left: int | None,
        *,
        waiting: bool,
        sending: bool,
    ) -> None:
        """Add a sample; write the stretch that it completes.

        Args:
            totals: measurements of the calls so far.
            settled: results of this invocation by status.
            credits_left: the org's credits left, as the CRM reported; None if unknown.
            waiting: whether the run waits for credits.
            sending: whether emails are sent.
        """
        wait_changed, self._waiting = waiting is not self._waiting, waiting
        if self._is_due(totals, wait_changed=wait_changed) or sending is not self._sending:
            stretch = self._end_stretch(totals, settled, credits_left)
            self._sending = sending
            if stretch is not None:
                with self._disabled_on_error():
                    await self.run_blocking(partial(append_interval, self.path, stretch))

    def close(
        self, totals: MeterTotals, settled: dict[Status, int], credits_left: int | None
    ) -> None:
        """Write the last stretch without awaiting, so that an immediate stop records it too."""
        stretch = self._end_stretch(totals, settled, credits_left)
        if stretch is not None:
            with self._disabled_on_error():
                append_interval(self.path, stretch)

    def _is_due(self, totals: MeterTotals, *, wait_changed: bool) -> bool:
        if self._first is None or self._last is None:
            return True
        if self._waiting or wait_changed:
            return wait_changed
        elapsed = self.earlier_seconds + totals.at - self._first.at
        return totals.at - self._last.at >= max(_MIN_STRETCH_SECONDS, elapsed / _STRETCHES_PER_RUN)

    def _end_stretch(
        self, totals: MeterTotals, settled: dict[Status, int], credits_left: int | None
    ) -> TimelineInterval | None:
        """End a stretch and begin another; None if there is nothing to write."""
        last, self._last = self._last, totals
        settled_before, self._last_settled = self._last_settled, settled.copy()
        if last is None:
            self._first = totals
            return None
        if self._disabled:
            return None
        window = interval_between(last, totals)
        counts = self._sending and window.seconds > _NEGLIGIBLE
        if not counts and _is_idle(window) and settled == settled_before:
            return None
        new_results = {
            str(status): n - settled_before.get(status, 0) for status, n in settled.items()
        }
        return TimelineInterval(
            ts=self.timestamp(),
            seconds=round(window.seconds, 3),
            settled={status: n for status, n in new_results.items() if n},
            calls={str(kind): n for kind, n in window.ended.items()},
            answered_429=window.answered_429,
            in_flight=round(window.in_flight, 2),
            most_in_flight=round(window.most_in_flight, 2),
            latency=latencies_between(last, totals),
            credits_left=credits_left,
            waited=round(window.credit_wait, 3),
            limited_by=find_interval_bottleneck(window, self.rate),
            sending=self._sending,
        )

    @contextmanager
    def _disabled_on_error(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RunDirError) as error:
            reason = error.message if isinstance(error, RunDirError) else f"{error.strerror}."
            self._disabled = True
            self.warn(
                f"{self.path.name} cannot be written: {reason} The run continues without it; the"
                " ledger is not affected."
            )


def _is_idle(window: MeterInterval) -> bool:
    return (
        not window.calls
        and max(window.in_flight, window.credit_wait, window.paused_seconds) < _NEGLIGIBLE
    )


@dataclass(slots=True, kw_only=True)
class RunMonitor:
    """Samples a run for its callbacks and timeline.

    Args:
        sampler: samples the calls and credits.
        timeline: timeline of the run.
        counter: results of the run.
        on_metrics: called with the current metrics while messages are being sent.
        is_canary_running: returns whether a canary is running.
    """

    sampler: MetricsSampler
    timeline: TimelineWriter
    counter: ResultCounter
    on_metrics: Callable[[Metrics], None]
    is_canary_running: Callable[[], bool]
    _sending: bool = field(init=False, default=False)
    _opened: MeterTotals = field(init=False)
    _began: MeterTotals = field(init=False)

    def __post_init__(self) -> None:
        self._opened = self._began = self.sampler.read_totals()

    async def start_sending(self) -> None:
        """Measure from now on the sending of emails."""
        self._sending = True
        await self.sample()
        self._began = self.sampler.read_totals()

    @asynccontextmanager
    async def not_sending(self) -> AsyncIterator[None]:
        """Leave the time of a block out of the measurements of sending, as that of a question."""
        self._sending = False
        await self.sample()
        try:
            yield
        finally:
            await self.start_sending()

    def figures(self) -> CallFigures | None:
        """Return the averages since sending began, or since the last question; None without calls.

        If no call was made since then, they are those of the whole command.
        """
        totals, rate = self.sampler.read_totals(), self.sampler.rate
        return figures_between(self._began, totals, rate) or figures_between(
            self._opened, totals, rate
        )

    async def sample(self) -> None:
        """Take one sample, report progress and write the timeline."""
        if not self._sending or self.is_canary_running():
            self.sampler.restart()  # look-ups and a canary say nothing about the rate of the rest
        totals = await self.sampler.sample()
        if self._sending:
            self.on_metrics(self.sampler.metrics())
        quota = self.sampler.quota
        await self.timeline.add_sample(
            totals,
            self.counter.invocation_counts,
            quota.budget.reported_left,
            waiting=quota.is_waiting,
            sending=self._sending,
        )

    def close(self) -> None:
        """Write the last stretch of the timeline."""
        self.timeline.close(
            self.sampler.read_totals(),
            self.counter.invocation_counts,
            self.sampler.quota.budget.reported_left,
        )
