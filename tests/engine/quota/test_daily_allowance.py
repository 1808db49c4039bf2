"""What the day's limit leaves is looked up with what other runs on the org spent."""

from __future__ import annotations

import anyio.lowlevel
import pytest

from bulklink.engine.quota.budget import Budget, CreditLimits
from bulklink.engine.quota.daily_usage import (
    AllowanceRequest,
    DailyAllowance,
    DailyUsageFile,
    minute_of,
)

NOW = 1_800_000_000.0


class InMemoryDailyUsage:
    """The day's credits, without a thread and a disk."""

    def __init__(self) -> None:
        self.file = DailyUsageFile(None, "org")

    async def take(self, request: AllowanceRequest) -> int:
        return self.file.take(request)

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        return self.file.spent_by_minute(minute)

    def close(self) -> None:
        self.file.close()


async def spend(budget: Budget, allowance: DailyAllowance, calls: int) -> None:
    for _ in range(calls):
        await allowance.ensure_granted(1)
        budget.take(None, 0)
        budget.start_call()


@pytest.mark.parametrize("others", [0, 300])
async def test_the_day_leaves_what_neither_this_run_nor_others_spent(others: int) -> None:
    day, book = InMemoryDailyUsage(), Budget(CreditLimits(per_day=1000))
    purse = DailyAllowance(book, lambda: NOW)
    await purse.open(day)
    day.file.take(AllowanceRequest(minute_of(NOW), others, 1))
    await spend(book, purse, 120)
    await purse.refresh_budget()
    assert book.spendable == 1000 - 120 - others
    await spend(book, purse, 70)
    assert book.spendable == 1000 - 190 - others
    await purse.close()


async def test_the_day_is_asked_one_thing_at_a_time() -> None:
    """Its file has one connection, and what is asked of it is asked in threads."""

    class Alone(InMemoryDailyUsage):
        busy = False

        async def take(self, ask: AllowanceRequest) -> int:
            await self._be_alone()
            return await super().take(ask)

        async def spent(self, minute: int) -> list[tuple[int, int]]:
            await self._be_alone()
            return await super().spent_by_minute(minute)

        async def _be_alone(self) -> None:
            assert not self.busy
            self.busy = True
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            self.busy = False

    purse = DailyAllowance(Budget(CreditLimits(per_day=1000)), lambda: NOW)
    async with anyio.create_task_group() as group:
        group.start_soon(purse.open, Alone())
        await anyio.lowlevel.checkpoint()
        group.start_soon(purse.refresh_budget)
        group.start_soon(purse.free_at, 5)
        group.start_soon(purse.ensure_granted, 500)
        group.start_soon(purse.close)


async def test_without_a_limit_a_day_nothing_is_told() -> None:
    book = Budget(CreditLimits())
    purse = DailyAllowance(book, lambda: NOW)
    await purse.refresh_budget()
    await purse.open(InMemoryDailyUsage())
    await purse.refresh_budget()
    assert book.spendable is None
    await purse.close()
