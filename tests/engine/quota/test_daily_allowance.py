"""Allowance of an invocation, reduced by what other runs on the org spend."""

from __future__ import annotations

import anyio.lowlevel
import pytest

from bulklink.engine.quota.budget import Budget, CreditLimits
from bulklink.engine.quota.daily_allowance import DailyAllowance
from bulklink.engine.quota.daily_usage import AllowanceRequest, DailyUsageFile, minute_of
from bulklink.engine.quota.gate import QuotaGate, QuotaPolicy
from bulklink.engine.shutdown import StopController
from bulklink.errors import StoppedError

NOW = 1_800_000_000.0


class InMemoryDailyUsage:
    """24-hour usage without threads or a disk."""

    def __init__(self) -> None:
        self.file = DailyUsageFile(None, "org")

    async def take(self, request: AllowanceRequest) -> int:
        return self.file.take(request)

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        return self.file.spent_by_minute(minute)

    async def window_minutes(self) -> int:
        return self.file.window_minutes()

    async def org(self) -> str | None:
        return self.file.org()

    def close(self) -> None:
        self.file.close()


async def spend(budget: Budget, allowance: DailyAllowance, calls: int) -> None:
    for _ in range(calls):
        await allowance.ensure_granted(1)
        budget.take(None, 0)
        budget.start_call()


@pytest.mark.parametrize("others", [0, 300])
async def test_credits_spent_by_other_runs_reduce_the_allowance(others: int) -> None:
    day, budget = InMemoryDailyUsage(), Budget(CreditLimits(per_day=1000))
    allowance = DailyAllowance(budget, lambda: NOW)
    await allowance.open(day)
    day.file.take(AllowanceRequest(minute_of(NOW), others, 1))
    await spend(budget, allowance, 120)
    await allowance.refresh_budget()
    assert budget.spendable == 1000 - 120 - others
    await spend(budget, allowance, 70)
    assert budget.spendable == 1000 - 190 - others
    await allowance.close()


async def test_daily_usage_gets_one_request_at_a_time() -> None:
    """Its file has a single connection, which is used in threads."""

    class ExclusiveUsage(InMemoryDailyUsage):
        busy = False

        async def take(self, request: AllowanceRequest) -> int:
            await self._check_exclusive()
            return await super().take(request)

        async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
            await self._check_exclusive()
            return await super().spent_by_minute(minute)

        async def _check_exclusive(self) -> None:
            assert not self.busy
            self.busy = True
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            self.busy = False

    allowance = DailyAllowance(Budget(CreditLimits(per_day=1000)), lambda: NOW)
    async with anyio.create_task_group() as group:
        group.start_soon(allowance.open, ExclusiveUsage())
        await anyio.lowlevel.checkpoint()
        group.start_soon(allowance.refresh_budget)
        group.start_soon(allowance.free_at, 5)
        group.start_soon(allowance.ensure_granted, 500)
        group.start_soon(allowance.close)


async def test_without_a_daily_limit_the_budget_has_no_limit() -> None:
    budget = Budget(CreditLimits())
    allowance = DailyAllowance(budget, lambda: NOW)
    await allowance.refresh_budget()
    await allowance.open(InMemoryDailyUsage())
    await allowance.refresh_budget()
    assert budget.spendable is None
    await allowance.close()


async def test_a_credit_counts_in_the_minute_in_which_its_call_starts() -> None:
    """A call can wait for its slot long after it has taken its credit."""
    day, time = InMemoryDailyUsage(), [NOW]
    gate = QuotaGate(
        QuotaPolicy(CreditLimits(per_day=5)),
        StopController(),
        wall=lambda: time[0],
        monotonic=lambda: time[0],
    )
    await gate.open(day, CreditLimits(per_day=5))
    credit = await gate.take_credit()
    await gate.wait_to_start(credit)
    time[0] += 300.0
    assert not gate.may_start()
    await gate.wait_to_start(credit)
    assert gate.may_start()
    gate.start(credit)
    gate.end_call(credit)
    await gate.allowance.ensure_granted(0)
    later = minute_of(time[0])
    assert day.file.spent_by_minute(later)[0][0] == later


async def test_all_credits_of_a_call_count_in_the_daily_usage() -> None:
    day = InMemoryDailyUsage()
    gate = QuotaGate(
        QuotaPolicy(CreditLimits(per_day=8)),
        StopController(),
        wall=lambda: NOW,
        monotonic=lambda: NOW,
    )
    await gate.open(day, CreditLimits(per_day=8))
    for _ in range(2):
        credit = await gate.take_credit(cost=3)
        gate.start(credit)
        gate.end_call(credit)
    await gate.allowance.refresh_budget()
    assert gate.budget.spendable == 2
    with pytest.raises(StoppedError):
        await gate.take_credit(cost=3)
    gate.budget.release_all()
    await gate.allowance.ensure_granted(0)
    counted = sum(amount for _, amount in day.file.spent_by_minute(minute_of(NOW)))
    assert counted - gate.budget.granted == 6
    await gate.close()
