"""An invocation's part of the day's credits: blocks of it are taken, and the rest given back."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from bulklink.engine.quota.budget import Book
from bulklink.engine.quota.daily_usage import Ask, Day, free_at, minute_of

BLOCK = 50
"""Credits that are taken at once; a process that is killed leaves them counted."""
_UNLIMITED_BLOCK = 500


class Purse:
    """Takes credits of the day for a book, a block at a time.

    Args:
        book: whose `granted` it fills.
        wall: seconds since 1970.
    """

    def __init__(self, book: Book, wall: Callable[[], float]) -> None:
        self._book = book
        self._wall = wall
        self._day: Day | None = None
        self._lock = anyio.Lock()  # one at a time: the day's file has one connection
        self._minute = 0
        self._in_vain: tuple[int, int] | None = None

    @property
    def limited(self) -> bool:
        """Whether the credits of the day are counted and have a limit."""
        return self._day is not None and self._book.a_day is not None

    async def open(self, day: Day) -> None:
        """Begin to count; what was spent before is counted now."""
        async with self._lock:
            self._day = day
            await self._ask(wanted=self._block, least=0)

    async def fill(self, need: int) -> None:
        """See to it that so many credits are granted, if they are left.

        What was granted in an earlier minute and not spent is given back and taken anew, so that
        a credit stands in the minute in which it is spent.
        """
        if self._has(need):
            return
        async with self._lock:
            if not self._has(need):
                await self._ask(wanted=max(self._block, need), least=need)
                if self._book.granted < need:
                    self._in_vain = self._minute, need

    async def free_at(self, wanted: int) -> float | None:
        """Return when so many credits spent from this machine are 24 hours old; None if never."""
        async with self._lock:
            if self._day is None:
                return None
            spent = await self._day.spent(minute_of(self._wall()))
        return free_at(spent, wanted)

    async def look(self) -> None:
        """Note in the book what the day's limit leaves, other runs reckoned with."""
        book = self._book
        async with self._lock:  # so that what is granted is what is counted
            if self._day is None or (limit := book.a_day) is None:
                book.day_from = None
                return
            counted = sum(amount for _, amount in await self._day.spent(self._minute))
            mine = book.granted + book.taken + book.aside
            book.day_from = book.sent + limit - counted + mine

    async def close(self) -> None:
        """Give back what was not spent, and count what is not counted yet."""
        day = self._day
        if day is None:
            return
        try:
            async with self._lock:
                await self._ask(wanted=0, least=0)
        finally:
            self._day = None
            day.close()

    @property
    def _block(self) -> int:
        return _UNLIMITED_BLOCK if self._book.a_day is None else BLOCK

    def _has(self, need: int) -> bool:
        """Tell whether there is nothing to ask for: enough is there, or it was asked in vain."""
        minute = minute_of(self._wall())
        if self._day is None or self._in_vain == (minute, need):
            return True
        return self._book.granted >= need and self._minute == minute

    async def _ask(self, *, wanted: int, least: int) -> None:
        """Settle with the day, and take so much anew.

        All that was granted before goes back, and comes again with what is taken: the book must
        not be given credits of two minutes.
        """
        day, book = self._day, self._book
        if day is None:
            return
        minute, back_of = minute_of(self._wall()), self._minute
        back, owed = max(0, book.granted), max(0, -book.granted)
        if back_of and minute != back_of:
            back += book.taken + book.aside
            owed += book.taken + book.aside
        book.granted, self._minute = 0, minute
        ask = Ask(minute, wanted, least, owed, back, back_of, book.a_day)
        book.granted += await day.take(ask)
