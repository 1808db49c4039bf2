"""Monitor of a run: its metrics, rate, remaining time, bottleneck and timeline.

All that costs anything is done at a look, never for a call or an email.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio.to_thread

from bulklink.engine.clock import Clock
from bulklink.engine.metrics import (
    LimitedBy,
    MeterInterval,
    MeterTotals,
    find_interval_bottleneck,
    interval_between,
    latencies_between,
)
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.models import Status
from bulklink.operations.callbacks import Metrics, ResultCounter, RunCallbacks
from bulklink.runs.timeline import TimelineInterval, append_interval

_MIN_TIME_CONSTANT = 10.0
_MAX_TIME_CONSTANT = 60.0
_TIME_CONSTANT_SHARE = 0.2
"""Seconds after which what was measured has faded to a third: a part of all that was measured."""
_MIN_SECONDS = 5.0
_MIN_ITEMS = 40
_ALWAYS_ENOUGH_SECONDS = 60.0
"""What must have been measured before anything is told: so many items in so many seconds, or any
in a minute."""


class RateEstimator:
    """Items and calls in a time, what was lately counting most.

    An item is an email that is settled or read, or a contact that is read.
    """

    def __init__(self) -> None:
        self._seconds = self._items = self._calls = 0.0
        self._total_seconds = 0.0
        self._total_items = 0

    def add(self, seconds: float, items: int, calls: int) -> None:
        """Add what was done in so many seconds."""
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
        """Items a second; None until that can be told."""
        enough = self._total_seconds >= _MIN_SECONDS and self._total_items >= _MIN_ITEMS
        if not enough and not (self._total_seconds >= _ALWAYS_ENOUGH_SECONDS and self._total_items):
            return None
        return self._items / self._seconds

    def seconds_for(self, items: int) -> float | None:
        """Return how long so many items take; None where that cannot be told."""
        rate = self.rate
        return items / rate if rate else None

    def items_for(self, calls: int) -> int | None:
        """Return how many items so many calls are enough for; None where that cannot be told."""
        if self.rate is None or not self._calls:
            return None
        return int(calls * self._items / self._calls)


_SAMPLES_KEPT = 11
"""Looks that are kept: what was lately is five seconds."""
_SAMPLES_PER_USAGE_CHECK = 60


class MetricsSampler:
    """Looks at the calls and the credits of a session.

    Args:
        measured: returns what was measured of the calls so far.
        pacer: says how many may be in flight.
        credits: says what may be spent.
        rate: calls a second that are allowed; None is no limit.
        done: returns how many emails (or contacts) are done by this command.
        left: returns how many are to be done.
    """

    def __init__(
        self,
        read_totals: Callable[[], MeterTotals],
        limiter: ConcurrencyLimiter,
        quota: QuotaGate,
        rate: float | None,
        *,
        done: Callable[[], int],
        remaining: Callable[[], int],
    ) -> None:
        self._read_totals = read_totals
        self._limiter = limiter
        self._quota = quota
        self._rate = rate
        self._done = done
        self._remaining = remaining
        self._samples: deque[MeterTotals] = deque(maxlen=_SAMPLES_KEPT)
        self._sample_count = 0
        self.restart()

    def restart(self) -> None:
        """Measure the pace from now on: what went before was other work."""
        self._rate_estimator = RateEstimator()
        self._totals_before, self._done_before = self._read_totals(), self._done()

    async def sample(self) -> MeterTotals:
        """Take in what is measured so far, and return it."""
        budget = self._quota.budget
        limit_changed = (budget.daily_limit is None) is not (budget.day_call_limit is None)
        if limit_changed or self._sample_count % _SAMPLES_PER_USAGE_CHECK == 0:
            await self._quota.allowance.refresh_budget()
        self._sample_count += 1
        totals, done = self._read_totals(), self._done()
        self._samples.append(totals)
        window = interval_between(self._totals_before, totals)
        active_seconds = max(0.0, window.seconds - window.credit_wait)
        self._rate_estimator.add(active_seconds, done - self._done_before, window.calls)
        self._totals_before, self._done_before = totals, done
        return totals

    def metrics(self) -> Metrics:
        """Return what the last looks show."""
        budget, remaining, waiting = self._quota.budget, self._remaining(), self._quota.is_waiting
        spendable = budget.spendable
        lasts_for = None if spendable is None else self._rate_estimator.items_for(spendable)
        return Metrics(
            rate=self._rate_estimator.rate,
            seconds_left=None if waiting else self._rate_estimator.seconds_for(remaining),
            in_flight=self._in_flight(),
            allowed_in_flight=self._limiter.limit,
            max_in_flight=self._limiter.max_in_flight,
            credits_spent=budget.sent,
            credits_left=budget.reported_left,
            credits_spendable=spendable,
            credits_last_for=lasts_for if lasts_for is not None and lasts_for < remaining else None,
            limited_by=self._limited_by(),
        )

    def _in_flight(self) -> float:
        if len(self._samples) < 2:
            return 0.0
        return interval_between(self._samples[-2], self._samples[-1]).in_flight

    def _limited_by(self) -> LimitedBy | None:
        if self._quota.is_waiting:
            return LimitedBy.CREDITS
        if self._limiter.paused:
            return LimitedBy.PAUSE
        if len(self._samples) < 2:
            return None
        limited_by = find_interval_bottleneck(
            interval_between(self._samples[0], self._samples[-1]), self._rate
        )
        return None if limited_by is LimitedBy.NOTHING else limited_by


_MIN_STRETCH_SECONDS = 1.0
_NEGLIGIBLE = 0.01
_STRETCHES_PER_RUN = 500
"""A stretch lasts a second, or this part of the run so far: days make some thousand lines."""


class TimelineWriter:
    """Cuts what is measured into stretches and adds them to `timeline.jsonl`.

    A wait for credits is one stretch. A timeline that cannot be written is given up: the run does
    not need it.

    Args:
        path: of the timeline.
        before: seconds that the run took in earlier invocations.
        rate: calls a second that are allowed; None is no limit.
        warn: told if it cannot be written.
    """

    def __init__(
        self, path: Path, earlier_seconds: float, rate: float | None, warn: Callable[[str], None]
    ) -> None:
        self._path = path
        self._earlier_seconds = earlier_seconds
        self._rate = rate
        self._warn = warn
        self._disabled = False
        self._first: MeterTotals | None = None
        self._last: MeterTotals | None = None
        self._last_settled: dict[Status, int] = {}
        self._waiting = False

    async def add_sample(
        self,
        totals: MeterTotals,
        settled: dict[Status, int],
        credits_left: int | None,
        timestamp: Callable[[], str],
        *,
        waiting: bool,
    ) -> None:
        """Take in what is measured so far; what makes a stretch is written.

        Args:
            totals: what is measured of the calls.
            settled: results of this invocation by status.
            credits_left: what the org has left as the CRM told.
            timestamp: returns the time as the ledger writes it.
            waiting: whether the run waits for credits.
        """
        wait_changed, self._waiting = waiting is not self._waiting, waiting
        if self._is_due(totals, wait_changed=wait_changed):
            stretch = self._end_stretch(totals, settled, credits_left, timestamp())
            if stretch is not None:
                with self._disabled_on_error():
                    await anyio.to_thread.run_sync(append_interval, self._path, stretch)

    def close(
        self, totals: MeterTotals, settled: dict[Status, int], credits_left: int | None, ts: str
    ) -> None:
        """Write what is left; nothing is waited for, so that a stop at once has it too."""
        stretch = self._end_stretch(totals, settled, credits_left, ts)
        if stretch is not None:
            with self._disabled_on_error():
                append_interval(self._path, stretch)

    def _is_due(self, totals: MeterTotals, *, wait_changed: bool) -> bool:
        if self._first is None or self._last is None:
            return True
        if self._waiting or wait_changed:
            return wait_changed
        elapsed = self._earlier_seconds + totals.at - self._first.at
        return totals.at - self._last.at >= max(_MIN_STRETCH_SECONDS, elapsed / _STRETCHES_PER_RUN)

    def _end_stretch(
        self, totals: MeterTotals, settled: dict[Status, int], credits_left: int | None, ts: str
    ) -> TimelineInterval | None:
        """End a stretch and begin another; None where there is nothing to write."""
        last, self._last = self._last, totals
        settled_before, self._last_settled = self._last_settled, settled.copy()
        if last is None:
            self._first = totals
            return None
        if self._disabled:
            return None
        window = interval_between(last, totals)
        if _is_idle(window) and settled == settled_before:
            return None
        new_results = {
            str(status): n - settled_before.get(status, 0) for status, n in settled.items()
        }
        return TimelineInterval(
            ts=ts,
            seconds=round(window.seconds, 3),
            settled={status: n for status, n in new_results.items() if n},
            calls={str(kind): n for kind, n in window.ended.items()},
            answered_429=window.answered_429,
            in_flight=round(window.in_flight, 2),
            most_in_flight=round(window.most_in_flight, 2),
            latency=latencies_between(last, totals),
            credits_left=credits_left,
            waited=round(window.credit_wait, 3),
            limited_by=find_interval_bottleneck(window, self._rate),
        )

    @contextmanager
    def _disabled_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._disabled = True
            self._warn(
                f"{self._path.name} cannot be written: {error.strerror or error}. The run goes on"
                " without it; the ledger is not touched by that."
            )


def _is_idle(window: MeterInterval) -> bool:
    return (
        not window.calls
        and max(window.in_flight, window.credit_wait, window.paused_seconds) < _NEGLIGIBLE
    )


class RunMonitor:
    """Looks now and then, and tells what is seen.

    Args:
        observer: looks at the calls and the credits.
        recorder: writes the timeline.
        measured: returns what was measured of the calls so far.
        credits: of the invocation.
        counter: of the run.
        trying: tells whether a canary flies.
        watch: call-backs.
        clock: tells the time.

    Attributes:
        sending: whether messages are sent, and not only looked up what they need.
    """

    def __init__(
        self,
        sampler: MetricsSampler,
        timeline_writer: TimelineWriter,
        read_totals: Callable[[], MeterTotals],
        quota: QuotaGate,
        counter: ResultCounter,
        is_canary_running: Callable[[], bool],
        callbacks: RunCallbacks,
        clock: Clock,
    ) -> None:
        self.sending = False
        self._sampler = sampler
        self._timeline_writer = timeline_writer
        self._read_totals = read_totals
        self._quota = quota
        self._counter = counter
        self._is_canary_running = is_canary_running
        self._callbacks = callbacks
        self._clock = clock

    async def sample(self) -> None:
        """Look once: whoever watches is told, and what makes a stretch of time is written."""
        if not self.sending or self._is_canary_running():
            self._sampler.restart()  # look-ups and a canary tell nothing of the pace of the rest
        totals = await self._sampler.sample()
        if self.sending:
            self._callbacks.on_progress(self._counter.progress(self._sampler.metrics()))
        await self._timeline_writer.add_sample(
            totals,
            self._counter.invocation_counts,
            self._quota.budget.reported_left,
            self._clock.timestamp,
            waiting=self._quota.is_waiting,
        )

    def close(self) -> None:
        """Write what is left of the timeline, without a wait."""
        self._timeline_writer.close(
            self._read_totals(),
            self._counter.invocation_counts,
            self._quota.budget.reported_left,
            self._clock.timestamp(),
        )
