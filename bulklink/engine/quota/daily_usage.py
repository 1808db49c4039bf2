"""Credits used in any 24 hours, shared by all processes of a machine (SQLite).

A file that processes share: SQLite's locks and journal keep it whole whatever ends one of them.
What is taken is counted before it is spent, so a process that is killed leaves too much counted,
never too little. Credits stand in the minute in which they were taken.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec

from bulklink.engine.quota.budget import Book
from bulklink.errors import RunStoppedError, StoppedBy

WINDOW_MINUTES = 24 * 60
_LOCK_SECONDS = 30.0
_SHARE = 10
_TABLE = (
    "CREATE TABLE IF NOT EXISTS spent (org TEXT, minute INTEGER, credits INTEGER,"
    " PRIMARY KEY (org, minute)) WITHOUT ROWID"
)


class Ask(msgspec.Struct, frozen=True):
    """What is asked of the day's credits.

    `wanted` credits are asked for. Where fewer than ten times as many are left a tenth is taken,
    but at least `least`, so that other runs find some; none where fewer than `least` are left.
    `back` of those taken in the minute `back_of` are given back first. `owed` are spent already
    and counted whatever is left. `most` is what all runs may spend; None is no limit.
    """

    minute: int
    wanted: int
    least: int
    owed: int = 0
    back: int = 0
    back_of: int = 0
    most: int | None = None


class Day(Protocol):
    """The day's credits of an org, as the engine sees them."""

    async def take(self, ask: Ask) -> int:
        """Take credits and return how many."""
        ...

    def close(self) -> None:
        """Count no more."""
        ...

    async def spent(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the 24 hours before a minute, oldest first."""
        ...


class DayFile:
    """The file, or a table in memory where `path` is None.

    Args:
        path: of the file; made for its owner alone if it is missing.
        org: whose credits.

    Raises:
        OSError: if the file cannot be opened, or is no such file.
    """

    def __init__(self, path: Path | None, org: str) -> None:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._org = org
        self._table = sqlite3.connect(
            path or ":memory:",
            timeout=_LOCK_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time
        )
        try:
            self._table.execute(_TABLE)
        except sqlite3.Error as error:
            self._table.close()
            raise OSError(f"{path}: {error}") from None

    def take(self, ask: Ask) -> int:
        """Take credits and return how many."""
        with self._alone():
            self._forget(ask.minute)
            self._give_back(ask.back_of, ask.back)
            self._add(ask.minute, ask.owed)
            taken = _part(ask, None if ask.most is None else ask.most - self._sum())
            self._add(ask.minute, taken)
        return taken

    def spent(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the 24 hours before a minute, oldest first."""
        with self._alone():
            self._forget(minute)
            found = self._table.execute(
                "SELECT minute, credits FROM spent WHERE org = ? ORDER BY minute", (self._org,)
            )
            return [(int(at), int(credits_)) for at, credits_ in found]

    def close(self) -> None:
        """Close the file."""
        self._table.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._table.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._table.execute("ROLLBACK")
            raise
        self._table.execute("COMMIT")

    def _forget(self, minute: int) -> None:
        """Drop what is a day old, and what a clock that was far ahead has left."""
        self._table.execute(
            "DELETE FROM spent WHERE minute < ? OR minute > ? OR credits <= 0",
            (minute - WINDOW_MINUTES, minute + WINDOW_MINUTES),
        )

    def _add(self, minute: int, amount: int) -> None:
        if amount:
            self._table.execute(
                "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (org, minute)"
                " DO UPDATE SET credits = credits + excluded.credits",
                (self._org, minute, amount),
            )

    def _give_back(self, minute: int, amount: int) -> None:
        self._table.execute(
            "UPDATE spent SET credits = MAX(0, credits - ?) WHERE org = ? AND minute = ?",
            (amount, self._org, minute),
        )

    def _sum(self) -> int:
        found = self._table.execute(
            "SELECT COALESCE(SUM(credits), 0) FROM spent WHERE org = ?", (self._org,)
        )
        return int(found.fetchone()[0])


def _part(ask: Ask, left: int | None) -> int:
    """Return what is taken of the credits that are left."""
    if left is None:
        return ask.wanted
    if left < ask.least:
        return 0
    return min(left, ask.wanted, max(ask.least, left // _SHARE))


class ThreadedDay:
    """A `DayFile` whose disk nobody waits for on the event loop.

    A run that has no limit a day goes on where it cannot be counted.
    """

    def __init__(self, file: DayFile) -> None:
        self._file = file

    async def take(self, ask: Ask) -> int:
        """Take credits and return how many.

        Raises:
            RunStoppedError: if they cannot be counted and there is a limit.
        """
        try:
            return await anyio.to_thread.run_sync(self._file.take, ask)
        except sqlite3.Error as error:
            if ask.most is None:
                return ask.wanted
            raise uncounted(error) from None

    async def spent(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the 24 hours before a minute, oldest first."""
        try:
            return await anyio.to_thread.run_sync(self._file.spent, minute)
        except sqlite3.Error:
            return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def uncounted(error: Exception) -> RunStoppedError:
    """Return why a run stops that cannot count the day's credits."""
    return RunStoppedError(
        StoppedBy.FATAL,
        f"The credits of 24 hours cannot be counted: {error}.",
        where="--credits-per-day, --reserve-credits",
        advice="Make the folder for the state of programs writable, or leave out"
        " --credits-per-day and --reserve-credits.",
    )


def minute_of(seconds: float) -> int:
    """Return the minute of a moment in seconds since 1970."""
    return int(seconds // 60)


def free_at(spent: Iterable[tuple[int, int]], wanted: int) -> float | None:
    """Return when so many of the credits spent are 24 hours old, in seconds since 1970.

    None where fewer were spent.

    Args:
        spent: (minute, credits), oldest first.
        wanted: credits that must come free.
    """
    for minute, amount in spent:
        wanted -= amount
        if wanted <= 0:
            return (minute + WINDOW_MINUTES + 1) * 60.0
    return None


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
