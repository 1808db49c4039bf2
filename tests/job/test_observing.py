"""What is measured of a command is told as it is now, and as far as it can be told."""

from __future__ import annotations

import pytest

from bulklink.engine.metrics import LimitedBy, Meter
from bulklink.engine.quota.budget import Limits
from bulklink.engine.quota.gate import Credits, Rules
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.engine.shutdown import Stopping
from bulklink.operations.callbacks import Gauge
from bulklink.operations.monitor import Observer
from bulklink.zoho.http import CallKind


class Command:
    """A command that sends twenty emails a call, ten calls in flight, half a second each."""

    def __init__(self, emails: int, limits: Limits | None = None) -> None:
        self.now = self.cpu = 1000.0
        self.done, self.emails = 0, emails
        stopping = Stopping()
        self.credits = Credits(
            Rules(limits or Limits()), stopping, wall=self.clock, monotonic=self.clock
        )
        self.pacer = Pacer(
            max_in_flight=10, max_per_second=None, stopping=stopping, clock=self.clock
        )
        self.meter = Meter(lambda: 10, self.clock, lambda: self.cpu)
        self.waited = 0.0
        self.observer = Observer(
            lambda: self.meter.totals(answered_429=0, waited=self.waited, held=0.0),
            self.pacer,
            self.credits,
            None,
            done=lambda: self.done,
            left=lambda: self.emails - self.done,
        )

    def clock(self) -> float:
        return self.now

    async def send(self, seconds: float, in_flight: int = 10) -> Gauge:
        """Send so long, and return what is told at the end."""
        for _ in range(int(seconds * 2)):
            left_at = [self._leave() for _ in range(in_flight)]
            self.now += 0.5
            for moment in left_at:
                self.meter.landed(CallKind.LINK, moment)
                self.done += 20
            await self.observer.look()
        return self.observer.gauge()

    async def wait(self, seconds: float) -> Gauge:
        """Wait for credits so long."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            self.waited += 0.5
            await self.observer.look()
        return self.observer.gauge()

    def _leave(self) -> float:
        self.credits.book.take(None, 0)
        self.credits.book.leave()
        return self.meter.left()


async def test_rate_time_left_and_calls_in_flight_are_those_of_now() -> None:
    gauge = await Command(40_000).send(20)
    assert gauge.rate == pytest.approx(400)
    assert gauge.seconds_left == pytest.approx((40_000 - 8_000) / 400)
    assert (gauge.in_flight, gauge.allowed, gauge.cap, gauge.spent) == (10, 10, 10, 400)
    assert gauge.limited_by is LimitedBy.IN_FLIGHT
    assert (gauge.credits_left, gauge.spendable, gauge.lasts_for) == (None, None, None)


async def test_the_first_seconds_tell_no_rate_and_no_time_left() -> None:
    gauge = await Command(40_000).send(4)
    assert (gauge.rate, gauge.seconds_left) == (None, None)
    assert gauge.in_flight == 10


async def test_a_wait_for_credits_slows_no_pace() -> None:
    command = Command(40_000)
    before = await command.send(20)
    after = await command.wait(3600)
    assert (after.rate, after.seconds_left) == (before.rate, before.seconds_left)
    assert after.in_flight == 0
    assert (await command.send(20)).rate == pytest.approx(400)


async def test_what_was_done_before_the_pace_began_is_no_part_of_it() -> None:
    command = Command(40_000)
    await command.send(60, in_flight=1)
    command.observer.begin()
    assert (await command.send(3)).rate is None
    assert (await command.send(10)).rate == pytest.approx(400)


async def test_credits_that_run_out_first_are_told_by_the_emails_that_they_last_for() -> None:
    command = Command(40_000, Limits(most=500))
    gauge = await command.send(20)
    assert (gauge.spendable, gauge.lasts_for) == (100, 2000)


async def test_credits_that_last_for_all_are_no_news() -> None:
    command = Command(40_000, Limits(most=5000))
    gauge = await command.send(20)
    assert (gauge.spendable, gauge.lasts_for) == (4600, None)


async def test_what_limits_follows_what_was_lately() -> None:
    command = Command(40_000)
    await command.send(60)
    assert (await command.send(6, in_flight=2)).limited_by is LimitedBy.LATENCY
    command.cpu += 6.0
    assert (await command.send(2, in_flight=2)).limited_by is LimitedBy.CPU
