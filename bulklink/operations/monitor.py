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
    Totals,
    Window,
    latencies_between,
    limited_in,
    window_between,
)
from bulklink.engine.quota.gate import Credits
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.models import Status
from bulklink.operations.callbacks import Counter, Gauge, Watch
from bulklink.runs.timeline import Stretch, append_stretch

_SHORTEST_MEMORY = 10.0
_LONGEST_MEMORY = 60.0
_MEMORY = 0.2
"""Seconds after which what was measured has faded to a third: a part of all that was measured."""
_SECONDS = 5.0
_ITEMS = 40
_LONG = 60.0
"""What must have been measured before anything is told: so many items in so many seconds, or any
in a minute."""


class Pace:
    """Items and calls in a time, what was lately counting most.

    An item is an email that is settled or read, or a contact that is read.
    """

    def __init__(self) -> None:
        self._seconds = self._items = self._calls = 0.0
        self._measured = 0.0
        self._counted = 0

    def add(self, seconds: float, items: int, calls: int) -> None:
        """Add what was done in so many seconds."""
        self._measured += seconds
        self._counted += items
        memory = min(max(_MEMORY * self._measured, _SHORTEST_MEMORY), _LONGEST_MEMORY)
        kept = math.exp(-seconds / memory)
        self._seconds = self._seconds * kept + seconds
        self._items = self._items * kept + items
        self._calls = self._calls * kept + calls

    @property
    def rate(self) -> float | None:
        """Items a second; None until that can be told."""
        enough = self._measured >= _SECONDS and self._counted >= _ITEMS
        if not enough and not (self._measured >= _LONG and self._counted):
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


_LOOKS = 11
"""Looks that are kept: what was lately is five seconds."""
_LOOKS_A_DAY_LOOK = 60


class Observer:
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
        measured: Callable[[], Totals],
        pacer: Pacer,
        credits: Credits,  # noqa: A002 - the word of the field; nobody wants the builtin
        rate: float | None,
        *,
        done: Callable[[], int],
        left: Callable[[], int],
    ) -> None:
        self._measured = measured
        self._pacer = pacer
        self._credits = credits
        self._rate = rate
        self._done = done
        self._left = left
        self._looks: deque[Totals] = deque(maxlen=_LOOKS)
        self._count = 0
        self.begin()

    def begin(self) -> None:
        """Measure the pace from now on: what went before was other work."""
        self._pace = Pace()
        self._paced, self._done_before = self._measured(), self._done()

    async def look(self) -> Totals:
        """Take in what is measured so far, and return it."""
        book = self._credits.book
        turned = (book.a_day is None) is not (book.day_from is None)
        if turned or self._count % _LOOKS_A_DAY_LOOK == 0:
            await self._credits.look()
        self._count += 1
        totals, done = self._measured(), self._done()
        self._looks.append(totals)
        window = window_between(self._paced, totals)
        awake = max(0.0, window.seconds - window.waited)
        self._pace.add(awake, done - self._done_before, window.calls)
        self._paced, self._done_before = totals, done
        return totals

    def gauge(self) -> Gauge:
        """Return what the last looks show."""
        book, left, waits = self._credits.book, self._left(), self._credits.waits
        spendable = book.spendable
        lasts_for = None if spendable is None else self._pace.items_for(spendable)
        return Gauge(
            rate=self._pace.rate,
            seconds_left=None if waits else self._pace.seconds_for(left),
            in_flight=self._in_flight(),
            allowed=self._pacer.limit,
            cap=self._pacer.max_in_flight,
            spent=book.sent,
            credits_left=book.told_left,
            spendable=spendable,
            lasts_for=lasts_for if lasts_for is not None and lasts_for < left else None,
            limited_by=self._limited_by(),
        )

    def _in_flight(self) -> float:
        if len(self._looks) < 2:
            return 0.0
        return window_between(self._looks[-2], self._looks[-1]).in_flight

    def _limited_by(self) -> LimitedBy | None:
        if self._credits.waits:
            return LimitedBy.CREDITS
        if self._pacer.paused:
            return LimitedBy.PAUSE
        if len(self._looks) < 2:
            return None
        by = limited_in(window_between(self._looks[0], self._looks[-1]), self._rate)
        return None if by is LimitedBy.NOTHING else by


_SHORTEST = 1.0
_HARDLY_ANY = 0.01
_STRETCHES = 500
"""A stretch lasts a second, or this part of the run so far: days make some thousand lines."""


class Recorder:
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
        self, path: Path, before: float, rate: float | None, warn: Callable[[str], None]
    ) -> None:
        self._path = path
        self._before = before
        self._rate = rate
        self._warn = warn
        self._given_up = False
        self._began: Totals | None = None
        self._last: Totals | None = None
        self._settled: dict[Status, int] = {}
        self._waits = False

    async def look(
        self,
        totals: Totals,
        settled: dict[Status, int],
        credits_left: int | None,
        ts: Callable[[], str],
        *,
        waits: bool,
    ) -> None:
        """Take in what is measured so far; what makes a stretch is written.

        Args:
            totals: what is measured of the calls.
            settled: results of this invocation by status.
            credits_left: what the org has left as the CRM told.
            ts: returns the time as the ledger writes it.
            waits: whether the run waits for credits.
        """
        turns, self._waits = waits is not self._waits, waits
        if self._is_due(totals, turns=turns):
            stretch = self._cut(totals, settled, credits_left, ts())
            if stretch is not None:
                with self._given_up_if_unwritable():
                    await anyio.to_thread.run_sync(append_stretch, self._path, stretch)

    def end(
        self, totals: Totals, settled: dict[Status, int], credits_left: int | None, ts: str
    ) -> None:
        """Write what is left; nothing is waited for, so that a stop at once has it too."""
        stretch = self._cut(totals, settled, credits_left, ts)
        if stretch is not None:
            with self._given_up_if_unwritable():
                append_stretch(self._path, stretch)

    def _is_due(self, totals: Totals, *, turns: bool) -> bool:
        if self._began is None or self._last is None:
            return True
        if self._waits or turns:
            return turns
        elapsed = self._before + totals.at - self._began.at
        return totals.at - self._last.at >= max(_SHORTEST, elapsed / _STRETCHES)

    def _cut(
        self, totals: Totals, settled: dict[Status, int], credits_left: int | None, ts: str
    ) -> Stretch | None:
        """End a stretch and begin another; None where there is nothing to write."""
        last, self._last = self._last, totals
        before, self._settled = self._settled, settled.copy()
        if last is None:
            self._began = totals
            return None
        if self._given_up:
            return None
        window = window_between(last, totals)
        if _is_idle(window) and settled == before:
            return None
        more = {str(status): n - before.get(status, 0) for status, n in settled.items()}
        return Stretch(
            ts=ts,
            seconds=round(window.seconds, 3),
            settled={status: n for status, n in more.items() if n},
            calls={str(kind): n for kind, n in window.landed.items()},
            answered_429=window.answered_429,
            in_flight=round(window.in_flight, 2),
            most_in_flight=round(window.most_in_flight, 2),
            latency=latencies_between(last, totals),
            credits_left=credits_left,
            waited=round(window.waited, 3),
            limited_by=limited_in(window, self._rate),
        )

    @contextmanager
    def _given_up_if_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._given_up = True
            self._warn(
                f"{self._path.name} cannot be written: {error.strerror or error}. The run goes on"
                " without it; the ledger is not touched by that."
            )


def _is_idle(window: Window) -> bool:
    return not window.calls and max(window.in_flight, window.waited, window.held) < _HARDLY_ANY


class Lookout:
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
        observer: Observer,
        recorder: Recorder,
        measured: Callable[[], Totals],
        credits: Credits,  # noqa: A002 - the word of the field; nobody wants the builtin
        counter: Counter,
        trying: Callable[[], bool],
        watch: Watch,
        clock: Clock,
    ) -> None:
        self.sending = False
        self._observer = observer
        self._recorder = recorder
        self._measured = measured
        self._credits = credits
        self._counter = counter
        self._trying = trying
        self._watch = watch
        self._clock = clock

    async def look(self) -> None:
        """Look once: whoever watches is told, and what makes a stretch of time is written."""
        if not self.sending or self._trying():
            self._observer.begin()  # look-ups and a canary tell nothing of the pace of the rest
        totals = await self._observer.look()
        if self.sending:
            self._watch.progress(self._counter.progress(self._observer.gauge()))
        await self._recorder.look(
            totals,
            self._counter.results,
            self._credits.book.told_left,
            self._clock.timestamp,
            waits=self._credits.waits,
        )

    def end(self) -> None:
        """Write what is left of the timeline, without a wait."""
        self._recorder.end(
            self._measured(),
            self._counter.results,
            self._credits.book.told_left,
            self._clock.timestamp(),
        )
