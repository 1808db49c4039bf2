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

from bulklink.engine.quota.budget import Budget
from bulklink.errors import RunStoppedError, StoppedBy

WINDOW_MINUTES = 24 * 60
_LOCK_SECONDS = 30.0
_SHARE_DIVISOR = 10
_TABLE = (
    "CREATE TABLE IF NOT EXISTS spent (org TEXT, minute INTEGER, credits INTEGER,"
    " PRIMARY KEY (org, minute)) WITHOUT ROWID"
)


class AllowanceRequest(msgspec.Struct, frozen=True):
    """What is asked of the day's credits.

    `wanted` credits are asked for. Where fewer than ten times as many are left a tenth is
    taken, but at least `minimum`, so that other runs find some; none where fewer than `minimum` are
    left. `returned` of those taken in the minute `returned_minute` are given back first.
    `already_spent` are spent already and counted whatever is left. `limit` is what all runs may
    spend; None is no limit.
    """

    minute: int
    wanted: int
    minimum: int
    already_spent: int = 0
    returned: int = 0
    returned_minute: int = 0
    limit: int | None = None


class DailyUsage(Protocol):
    """The day's credits of an org, as the engine sees them."""

    async def take(self, request: AllowanceRequest) -> int:
        """Take credits and return how many."""
        ...

    def close(self) -> None:
        """Count no more."""
        ...

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the 24 hours before a minute, oldest first."""
        ...


class DailyUsageFile:
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
        self._database = sqlite3.connect(
            path or ":memory:",
            timeout=_LOCK_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time
        )
        try:
            self._database.execute(_TABLE)
        except sqlite3.Error as error:
            self._database.close()
            raise OSError(f"{path}: {error}") from None

    def take(self, request: AllowanceRequest) -> int:
        """Take credits and return how many."""
        with self._transaction():
            self._drop_expired(request.minute)
            self._give_back(request.returned_minute, request.returned)
            self._add(request.minute, request.already_spent)
            taken = _granted_amount(
                request, None if request.limit is None else request.limit - self._total_spent()
            )
            self._add(request.minute, taken)
        return taken

    def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the 24 hours before a minute, oldest first."""
        with self._transaction():
            self._drop_expired(minute)
            rows = self._database.execute(
                "SELECT minute, credits FROM spent WHERE org = ? ORDER BY minute", (self._org,)
            )
            return [(int(spent_minute), int(credits_)) for spent_minute, credits_ in rows]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _drop_expired(self, minute: int) -> None:
        """Drop what is a day old, and what a clock that was far ahead has left."""
        self._database.execute(
            "DELETE FROM spent WHERE minute < ? OR minute > ? OR credits <= 0",
            (minute - WINDOW_MINUTES, minute + WINDOW_MINUTES),
        )

    def _add(self, minute: int, amount: int) -> None:
        if amount:
            self._database.execute(
                "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (org, minute)"
                " DO UPDATE SET credits = credits + excluded.credits",
                (self._org, minute, amount),
            )

    def _give_back(self, minute: int, amount: int) -> None:
        self._database.execute(
            "UPDATE spent SET credits = MAX(0, credits - ?) WHERE org = ? AND minute = ?",
            (amount, self._org, minute),
        )

    def _total_spent(self) -> int:
        row = self._database.execute(
            "SELECT COALESCE(SUM(credits), 0) FROM spent WHERE org = ?", (self._org,)
        )
        return int(row.fetchone()[0])


def _granted_amount(request: AllowanceRequest, available: int | None) -> int:
    """Return what is taken of the credits that are left."""
    if available is None:
        return request.wanted
    if available < request.minimum:
        return 0
    return min(available, request.wanted, max(request.minimum, available // _SHARE_DIVISOR))


class ThreadedDailyUsage:
    """A `DailyUsageFile` whose disk nobody waits for on the event loop.

    A run that has no limit a day goes on where it cannot be counted.
    """

    def __init__(self, file: DailyUsageFile) -> None:
        self._file = file

    async def take(self, request: AllowanceRequest) -> int:
        """Take credits and return how many.

        Raises:
            RunStoppedError: if they cannot be counted and there is a limit.
        """
        try:
            return await anyio.to_thread.run_sync(self._file.take, request)
        except sqlite3.Error as error:
            if request.limit is None:
                return request.wanted
            raise uncountable_error(error) from None

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the 24 hours before a minute, oldest first."""
        try:
            return await anyio.to_thread.run_sync(self._file.spent_by_minute, minute)
        except sqlite3.Error:
            return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def uncountable_error(error: Exception) -> RunStoppedError:
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


BLOCK_SIZE = 50
"""Credits that are taken at once; a process that is killed leaves them counted."""
_UNLIMITED_BLOCK_SIZE = 500


class DailyAllowance:
    """Takes credits of the day for a book, a block at a time.

    Args:
        book: whose `granted` it fills.
        wall: seconds since 1970.
    """

    def __init__(self, budget: Budget, wall: Callable[[], float]) -> None:
        self._budget = budget
        self._wall = wall
        self._usage: DailyUsage | None = None
        self._lock = anyio.Lock()  # one at a time: the day's file has one connection
        self._minute = 0
        self._refused_request: tuple[int, int] | None = None

    @property
    def has_limit(self) -> bool:
        """Whether the credits of the day are counted and have a limit."""
        return self._usage is not None and self._budget.daily_limit is not None

    async def open(self, usage: DailyUsage) -> None:
        """Begin to count; what was spent before is counted now."""
        async with self._lock:
            self._usage = usage
            await self._sync_usage(wanted=self._block_size, minimum=0)

    async def ensure_granted(self, required: int) -> None:
        """See to it that so many credits are granted, if they are left.

        What was granted in an earlier minute and not spent is given back and taken anew, so that
        a credit stands in the minute in which it is spent.
        """
        if self._needs_no_request(required):
            return
        async with self._lock:
            if not self._needs_no_request(required):
                await self._sync_usage(wanted=max(self._block_size, required), minimum=required)
                if self._budget.granted < required:
                    self._refused_request = self._minute, required

    async def free_at(self, wanted: int) -> float | None:
        """Return when so many credits spent from this machine are 24 hours old; None if never."""
        async with self._lock:
            if self._usage is None:
                return None
            spent = await self._usage.spent_by_minute(minute_of(self._wall()))
        return free_at(spent, wanted)

    async def refresh_budget(self) -> None:
        """Note in the book what the day's limit leaves, other runs reckoned with."""
        budget = self._budget
        async with self._lock:  # so that what is granted is what is counted
            if self._usage is None or (limit := budget.daily_limit) is None:
                budget.day_call_limit = None
                return
            counted = sum(amount for _, amount in await self._usage.spent_by_minute(self._minute))
            own = budget.granted + budget.unsent + budget.reserved
            budget.day_call_limit = budget.sent + limit - counted + own

    async def close(self) -> None:
        """Give back what was not spent, and count what is not counted yet."""
        usage = self._usage
        if usage is None:
            return
        try:
            async with self._lock:
                await self._sync_usage(wanted=0, minimum=0)
        finally:
            self._usage = None
            usage.close()

    @property
    def _block_size(self) -> int:
        return _UNLIMITED_BLOCK_SIZE if self._budget.daily_limit is None else BLOCK_SIZE

    def _needs_no_request(self, required: int) -> bool:
        """Tell whether there is nothing to ask for: enough is there, or it was asked in vain."""
        minute = minute_of(self._wall())
        if self._usage is None or self._refused_request == (minute, required):
            return True
        return self._budget.granted >= required and self._minute == minute

    async def _sync_usage(self, *, wanted: int, minimum: int) -> None:
        """Settle with the day, and take so much anew.

        All that was granted before goes back, and comes again with what is taken: the book must
        not be given credits of two minutes.
        """
        usage, budget = self._usage, self._budget
        if usage is None:
            return
        minute, returned_minute = minute_of(self._wall()), self._minute
        returned, already_spent = max(0, budget.granted), max(0, -budget.granted)
        if returned_minute and minute != returned_minute:
            returned += budget.unsent + budget.reserved
            already_spent += budget.unsent + budget.reserved
        budget.granted, self._minute = 0, minute
        request = AllowanceRequest(
            minute, wanted, minimum, already_spent, returned, returned_minute, budget.daily_limit
        )
        budget.granted += await usage.take(request)
