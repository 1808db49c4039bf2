"""Looking at a session now and then: what is measured of its calls, how fast it goes, what limits.

All that costs anything is done at a look, never for a call or an email.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from bulklink.engine.limiting import LimitedBy, limited_in
from bulklink.engine.metrics import Totals, window_between
from bulklink.engine.quota.gate import Credits
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.operations.callbacks import Gauge
from bulklink.operations.pace import Pace

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
