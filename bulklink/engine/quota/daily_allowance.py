"""Allowance of one invocation from the daily quota."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from bulklink.engine.quota.budget import Budget
from bulklink.engine.quota.daily_usage import (
    WINDOW_MINUTES,
    AllowanceRequest,
    DailyUsage,
    free_at,
    minute_of,
)

BLOCK_SIZE = 50
"""Credits taken at once; they stay counted if the process is killed."""
_UNLIMITED_BLOCK_SIZE = 500


class DailyAllowance:
    """This invocation's allowance of the daily quota, taken in blocks.

    Args:
        budget: budget whose `granted` it fills.
        wall: returns seconds since 1970.
    """

    def __init__(self, budget: Budget, wall: Callable[[], float]) -> None:
        self._budget = budget
        self._wall = wall
        self._usage: DailyUsage | None = None
        self._lock = anyio.Lock()  # one at a time: the file has one connection
        self._minute = 0
        self._refused_request: tuple[int, int] | None = None
        self._org: str | None = None
        self._window_minutes: int | None = None

    @property
    def window_seconds(self) -> float:
        """Length of the org's window in seconds, as far as known without the file."""
        return (self._window_minutes or WINDOW_MINUTES) * 60.0

    def set_window(self, seconds: float) -> None:
        """Set the length of the org's window, as reported by an emulator."""
        self._window_minutes = min(max(1, math.ceil(seconds / 60.0)), WINDOW_MINUTES)

    @property
    def has_limit(self) -> bool:
        """Whether the 24-hour usage is counted and has a limit."""
        return self._usage is not None and self._budget.daily_limit is not None

    @property
    def is_current(self) -> bool:
        """Whether the credits taken count in the current minute."""
        return self._usage is None or self._minute == self._wall() // 60

    async def open(self, usage: DailyUsage) -> None:
        """Start counting, including calls made before."""
        async with self._lock:
            self._usage = usage
            await self._sync_usage(wanted=self._block_size, minimum=0)

    async def org(self) -> str | None:
        """Return the key of the org that the connection is known to have; None if unknown."""
        async with self._lock:
            return None if self._usage is None else await self._usage.org()

    async def use_org(self, org: str) -> None:
        """Count for an org from now on, and move the credits counted so far to it.

        Args:
            org: key of the org.
        """
        async with self._lock:
            self._org, self._refused_request = org, None
            await self._sync_usage(wanted=self._block_size, minimum=0)

    async def ensure_granted(self, required: int) -> None:
        """Request credits until at least `required` are granted, if enough are left.

        Unspent credits granted in an earlier minute are returned and taken again, so that each
        credit counts in the minute in which it is spent.
        """
        if self._needs_no_request(required):
            return
        async with self._lock:
            if not self._needs_no_request(required):
                await self._sync_usage(wanted=max(self._block_size, required), minimum=required)
                if self._budget.granted < required:
                    self._refused_request = self._minute, required

    async def free_at(self, wanted: int) -> float | None:
        """Return when `wanted` credits of this machine leave the window; None if never."""
        async with self._lock:
            if self._usage is None:
                return None
            spent = await self._usage.spent_by_minute(minute_of(self._wall()))
            return free_at(spent, wanted, await self._usage.window_minutes())

    async def refresh_budget(self) -> None:
        """Update the budget's limit of calls from the 24-hour usage of all runs."""
        budget = self._budget
        async with self._lock:  # granted and counted credits must agree
            if self._usage is None or (limit := budget.daily_limit) is None:
                budget.day_call_limit = None
                return
            counted = sum(amount for _, amount in await self._usage.spent_by_minute(self._minute))
            own = budget.granted + budget.unsent + budget.reserved
            budget.day_call_limit = budget.sent + limit - counted + own

    async def close(self) -> None:
        """Return unspent credits, and count those not counted yet."""
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
        """Return whether enough is granted, or the same request was refused in this minute."""
        if self._usage is None or (self._budget.granted >= required and self.is_current):
            return True
        return self._refused_request == (minute_of(self._wall()), required)

    async def _sync_usage(self, *, wanted: int, minimum: int) -> None:
        """Return the granted credits, and take `wanted` credits, at least `minimum`.

        All earlier grants are returned, as the budget must not hold credits of two minutes.
        """
        usage, budget = self._usage, self._budget
        if usage is None:
            return
        minute, returned_minute = minute_of(self._wall()), self._minute
        returned, already_spent = max(0, budget.granted), max(0, -budget.granted)
        if returned_minute and minute != returned_minute:
            returned += budget.unsent + budget.reserved
            already_spent += budget.unsent + budget.reserved
        counted = budget.sent + budget.unsent + budget.reserved - already_spent
        budget.granted, self._minute = 0, minute
        request = AllowanceRequest(
            minute,
            wanted,
            minimum,
            already_spent,
            returned,
            returned_minute,
            budget.daily_limit,
            self._org,
            counted,
            self._window_minutes,
        )
        budget.granted += await usage.take(request)
