"""Metrics of a command are current, or None if unknown."""

from __future__ import annotations

import pytest

from bulklink.engine.metrics import CallMeter, LimitedBy
from bulklink.engine.quota.budget import CreditLimits
from bulklink.engine.quota.gate import QuotaGate, QuotaPolicy
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController
from bulklink.operations.callbacks import Metrics
from bulklink.operations.monitor import MetricsSampler
from bulklink.zoho.http import CallKind


class FakeRun:
    """A command that sends twenty emails a call, ten calls in flight, half a second each."""

    def __init__(self, emails: int, limits: CreditLimits | None = None) -> None:
        self.now = self.cpu = 1000.0
        self.settled, self.emails = 0, emails
        stop = StopController()
        self.quota = QuotaGate(
            QuotaPolicy(limits or CreditLimits()), stop, wall=self.clock, monotonic=self.clock
        )
        self.limiter = ConcurrencyLimiter(
            max_in_flight=10, max_per_second=None, stop=stop, clock=self.clock
        )
        self.meter = CallMeter(lambda: 10, self.clock, lambda: self.cpu)
        self.waited = 0.0
        self.monitor = MetricsSampler(
            lambda: self.meter.totals(answered_429=0, credit_wait=self.waited, paused_seconds=0.0),
            self.limiter,
            self.quota,
            None,
            done=lambda: self.settled,
            remaining=lambda: self.emails - self.settled,
        )

    def clock(self) -> float:
        return self.now

    async def send(self, seconds: float, in_flight: int = 10) -> Metrics:
        """Send for n seconds and return the metrics at the end."""
        for _ in range(int(seconds * 2)):
            left_at = [self._leave() for _ in range(in_flight)]
            self.now += 0.5
            for moment in left_at:
                self.meter.call_ended(CallKind.LINK, moment)
                self.settled += 20
            await self.monitor.sample()
        return self.monitor.metrics()

    async def wait(self, seconds: float) -> Metrics:
        """Wait for credits for n seconds."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.waited += 0.5
            await self.monitor.sample()
        return self.monitor.metrics()

    def _leave(self) -> float:
        self.quota.budget.take(None, 0)
        self.quota.budget.start_call()
        return self.meter.call_started()


async def test_rate_time_left_and_calls_in_flight_are_current() -> None:
    metrics = await FakeRun(40_000).send(20)
    assert metrics.rate == pytest.approx(400)
    assert metrics.seconds_left == pytest.approx((40_000 - 8_000) / 400)
    assert (
        metrics.in_flight,
        metrics.allowed_in_flight,
        metrics.max_in_flight,
        metrics.credits_spent,
    ) == (
        10,
        10,
        10,
        400,
    )
    assert metrics.limited_by is LimitedBy.IN_FLIGHT
    assert (metrics.credits_left, metrics.credits_spendable, metrics.credits_last_for) == (
        None,
        None,
        None,
    )


async def test_rate_and_time_left_are_unknown_in_the_first_seconds() -> None:
    metrics = await FakeRun(40_000).send(4)
    assert (metrics.rate, metrics.seconds_left) == (None, None)
    assert metrics.in_flight == 10


async def test_a_wait_for_credits_does_not_lower_the_rate() -> None:
    command = FakeRun(40_000)
    before = await command.send(20)
    after = await command.wait(3600)
    assert (after.rate, after.seconds_left) == (before.rate, before.seconds_left)
    assert after.in_flight == 0
    assert (await command.send(20)).rate == pytest.approx(400)


async def test_work_before_a_restart_does_not_count_towards_the_rate() -> None:
    command = FakeRun(40_000)
    await command.send(60, in_flight=1)
    command.monitor.restart()
    assert (await command.send(3)).rate is None
    assert (await command.send(10)).rate == pytest.approx(400)


async def test_credits_that_run_out_first_are_reported_as_the_emails_they_last_for() -> None:
    command = FakeRun(40_000, CreditLimits(per_invocation=500))
    metrics = await command.send(20)
    assert (metrics.credits_spendable, metrics.credits_last_for) == (100, 2000)


async def test_sufficient_credits_are_not_reported() -> None:
    command = FakeRun(40_000, CreditLimits(per_invocation=5000))
    metrics = await command.send(20)
    assert (metrics.credits_spendable, metrics.credits_last_for) == (4600, None)


async def test_the_bottleneck_follows_recent_samples() -> None:
    command = FakeRun(40_000)
    await command.send(60)
    assert (await command.send(6, in_flight=2)).limited_by is LimitedBy.LATENCY
    command.cpu += 6.0
    assert (await command.send(2, in_flight=2)).limited_by is LimitedBy.CPU
