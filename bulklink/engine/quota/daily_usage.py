"""Credits used in the last 24 hours, shared by processes (SQLite).

SQLite's locks and journal keep the file consistent however a process ends. Credits are counted
before they are spent, so a killed process leaves too many counted, never too few. They count in the
minute in which they were taken.

Credits belong to an org, but the org of a connection is known only after a call. The file remembers
the org of each connection, so the next command's first call counts there. Credits that a connection
spends before its org is known are counted under the connection, and moved later.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import anyio
import anyio.to_thread
import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import RunStoppedError, StoppedBy

WINDOW_MINUTES = 24 * 60
_LOCK_SECONDS = 30.0
_SHARE_DIVISOR = 10
_TABLES = (
    "CREATE TABLE IF NOT EXISTS spent (org TEXT, minute INTEGER, credits INTEGER,"
    " PRIMARY KEY (org, minute)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS org_of (connection TEXT PRIMARY KEY, org TEXT, window INTEGER)"
    " WITHOUT ROWID",
)


class AllowanceRequest(msgspec.Struct, frozen=True):
    """A request for credits of the 24-hour usage.

    Args:
        minute: current time, in minutes since 1970.
        wanted: credits requested; at most a tenth of the credits left is granted, to leave some to
            other runs.
        minimum: minimum credits granted; none if fewer are left.
        already_spent: credits already spent, counted regardless of the limit.
        returned: credits returned first.
        returned_minute: minute in which these were taken.
        limit: credits that all runs may spend; None for no limit.
        org: key of the org whose credits are counted; None if not known yet.
        counted: credits counted for this process so far, apart from `returned`: they move to `org`
            if it differs from the remembered one.
        window_minutes: length of the org's window if an emulator reports one other than 24 hours.
    """

    minute: int
    wanted: int
    minimum: int
    already_spent: int = 0
    returned: int = 0
    returned_minute: int = 0
    limit: int | None = None
    org: str | None = None
    counted: int = 0
    window_minutes: int | None = None


class DailyUsage(Protocol):
    """Credits of an org used in the last 24 hours."""

    async def take(self, request: AllowanceRequest) -> int:
        """Take credits, and return how many were granted."""
        ...

    def close(self) -> None:
        """Close the usage."""
        ...

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the window before a minute, oldest first."""
        ...

    async def window_minutes(self) -> int:
        """Return the length of the window: 24 hours unless an emulator reported another."""
        ...

    async def org(self) -> str | None:
        """Return the key of the connection's org; None if no command has looked it up yet."""
        ...


class DailyUsageFile:
    """The 24-hour usage in a file.

    Args:
        path: path of the file, created with mode 0600 if missing; None keeps it in memory.
        connection: key of the connection that spends the credits.

    Raises:
        OSError: if the file cannot be opened or is not a database.
    """

    def __init__(self, path: Path | None, connection: str) -> None:
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = connection
        self._org: str | None = None
        self._database = sqlite3.connect(
            path or ":memory:",
            timeout=_LOCK_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # one thread at a time
        )
        try:
            for table in _TABLES:
                self._database.execute(table)
        except sqlite3.Error as error:
            self._database.close()
            raise OSError(f"{path}: {error}") from None

    def take(self, request: AllowanceRequest) -> int:
        """Take credits, and return how many were granted."""
        with self._transaction():
            self._drop_expired(request.minute)
            self._give_back(request.returned_minute, request.returned)
            if request.org is not None and request.org != self._org:
                self._move_to_org(request.org, request)
            if request.window_minutes is not None:
                self._save_window(request.window_minutes)
            self._add(request.minute, request.already_spent)
            taken = _granted_amount(
                request,
                None
                if request.limit is None
                else request.limit - self._spent_since(request.minute),
            )
            self._add(request.minute, taken)
        return taken

    def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the window before a minute, oldest first."""
        with self._transaction():
            self._drop_expired(minute)
            rows = self._database.execute(
                "SELECT minute, credits FROM spent WHERE org = ? AND minute >= ? ORDER BY minute",
                (self._account(), minute - self.window_minutes()),
            )
            return [(int(spent_minute), int(credits_)) for spent_minute, credits_ in rows]

    def org(self) -> str | None:
        """Return the key of the connection's org; None if no command has looked it up yet."""
        return self._org or self._remembered_org()

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

    def _account(self) -> str:
        """Return the key under which credits are counted: the org's, or the connection's."""
        return self.org() or self._connection

    def _remembered_org(self) -> str | None:
        row = self._database.execute(
            "SELECT org FROM org_of WHERE connection = ?", (self._connection,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _move_to_org(self, org: str, request: AllowanceRequest) -> None:
        """Remember the org of the connection, and move credits counted elsewhere to it."""
        remembered_org = self._remembered_org()
        if remembered_org is None:
            self._move_all(self._connection, org)
        self._org = org
        if remembered_org not in (None, org):
            self._add(request.minute, request.counted)
        self._database.execute(
            "INSERT INTO org_of (connection, org) VALUES (?, ?) ON CONFLICT (connection)"
            " DO UPDATE SET org = excluded.org",
            (self._connection, org),
        )

    def _move_all(self, account: str, org: str) -> None:
        self._database.execute(
            "INSERT INTO spent SELECT ?, minute, credits FROM spent WHERE org = ?"
            " ON CONFLICT (org, minute) DO UPDATE SET credits = credits + excluded.credits",
            (org, account),
        )
        self._database.execute("DELETE FROM spent WHERE org = ?", (account,))

    def _drop_expired(self, minute: int) -> None:
        """Drop minutes older than 24 hours, and those recorded while the clock was far ahead."""
        self._database.execute(
            "DELETE FROM spent WHERE minute < ? OR minute > ? OR credits <= 0",
            (minute - WINDOW_MINUTES, minute + WINDOW_MINUTES),
        )

    def _add(self, minute: int, amount: int) -> None:
        if amount:
            self._database.execute(
                "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT (org, minute)"
                " DO UPDATE SET credits = credits + excluded.credits",
                (self._account(), minute, amount),
            )

    def _give_back(self, minute: int, amount: int) -> None:
        self._database.execute(
            "UPDATE spent SET credits = MAX(0, credits - ?) WHERE org = ? AND minute = ?",
            (amount, self._account(), minute),
        )

    def _spent_since(self, minute: int) -> int:
        """Return the credits of the window before a minute."""
        row = self._database.execute(
            "SELECT COALESCE(SUM(credits), 0) FROM spent WHERE org = ? AND minute >= ?",
            (self._account(), minute - self.window_minutes()),
        )
        return int(row.fetchone()[0])

    def window_minutes(self) -> int:
        """Return the length of the window."""
        row = self._database.execute(
            "SELECT window FROM org_of WHERE connection = ?", (self._connection,)
        ).fetchone()
        return WINDOW_MINUTES if row is None or row[0] is None else int(row[0])

    def _save_window(self, minutes: int) -> None:
        self._database.execute(
            "UPDATE org_of SET window = ? WHERE connection = ?", (minutes, self._connection)
        )


def _granted_amount(request: AllowanceRequest, available: int | None) -> int:
    """Return how many of the available credits are granted; None for no limit."""
    if available is None:
        return request.wanted
    if available < request.minimum:
        return 0
    return min(available, request.wanted, max(request.minimum, available // _SHARE_DIVISOR))


class ThreadedDailyUsage:
    """A `DailyUsageFile` read and written in threads.

    A run without a 24-hour limit continues if the usage cannot be counted.
    """

    def __init__(self, file: DailyUsageFile) -> None:
        self._file = file

    async def take(self, request: AllowanceRequest) -> int:
        """Take credits, and return how many were granted.

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

    async def window_minutes(self) -> int:
        """Return the length of the window."""
        try:
            return await anyio.to_thread.run_sync(self._file.window_minutes)
        except sqlite3.Error:
            return WINDOW_MINUTES

    async def org(self) -> str | None:
        """Return the key of the connection's org; None if unknown."""
        try:
            return await anyio.to_thread.run_sync(self._file.org)
        except sqlite3.Error:
            return None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def uncountable_error(error: Exception) -> RunStoppedError:
    """Return the stop reason of a run that cannot count the 24-hour usage."""
    return RunStoppedError(
        StoppedBy.FATAL,
        f"Cannot count the credits used in 24 hours: {error}.",
        where=Advice("{}, {}", Keyword("credits_per_day"), Keyword("reserve_credits")),
        advice="Make the state folder writable, or set neither of the two.",
    )


def minute_of(seconds: float) -> int:
    """Return the minute of a time in seconds since 1970."""
    return int(seconds // 60)


def free_at(
    spent: Iterable[tuple[int, int]], wanted: int, window_minutes: int = WINDOW_MINUTES
) -> float | None:
    """Return when `wanted` of the spent credits leave the window, in seconds since 1970.

    Returns None if fewer were spent.

    Args:
        spent: (minute, credits), oldest first.
        wanted: credits to become available.
        window_minutes: length of the window.
    """
    for minute, amount in spent:
        wanted -= amount
        if wanted <= 0:
            return (minute + window_minutes + 1) * 60.0
    return None
