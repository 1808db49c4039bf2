"""A cluster of many machines and orgs on a virtual clock; calls are not made one by one.

The leases are those of drivers (`cluster/lease`), the database's statements those of
`tests/cluster/lease_rules`, which another test compares with PostgreSQL; what is done with a run
that ends or dies is decided by `worker/verdict`, and credits by `engine/quota/daily_usage`. Between
two renewals a driver makes as many calls as its places and the latency allow.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import msgspec

from bulklink.cluster.lease import Lease, Moment
from bulklink.cluster.timing import ClusterTiming
from bulklink.engine.quota.daily_usage import AllowanceRequest, DailyUsageFile, free_at, minute_of
from bulklink.errors import ExitCode, StoppedBy
from bulklink.ledger.records import timestamp
from bulklink.runs.record import RunState
from bulklink.runs.standing import Standing
from bulklink.worker.verdict import Ended, Kind, Verdict, judge_ended
from tests.cluster.lease_rules import OrgRules

DAY = 86_400.0
START = 1_800_000_000.0
_KILLED = Ended(-9)


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster and its work.

    Args:
        orgs: number of orgs, each with one run.
        calls: calls of each run.
        machines: number of machines.
        slots: runs that each machine sends at the same time.
        places: calls in flight that an org accepts.
        latency: seconds of a call.
        limited_share: share of orgs whose credits are limited.
        credits_per_day: credits of these orgs.
        death_hours: mean time between two failures of a machine.
        repair: seconds until a machine that died is back.
        launch: seconds from the start of a driver to its first call.
        timing: times of the cluster.
        seed: seed of what happens by chance.
    """

    orgs: int
    calls: int
    machines: int
    slots: int
    places: int = 10
    latency: float = 0.5
    limited_share: float = 0.2
    credits_per_day: int = 5_000
    death_hours: float = 6.0
    repair: float = 300.0
    launch: float = 3.0
    timing: ClusterTiming = ClusterTiming()
    seed: int = 1


@dataclass(slots=True)
class ScaledOrg:
    """An org with one run.

    Args:
        position: position of its run.
        rules: its lease, as the database has it.
        left: calls that are not made yet.
        usage: its 24-hour usage; None without a limit.
    """

    position: int
    rules: OrgRules
    left: int
    usage: DailyUsageFile | None
    deaths: int = 0
    finished_at: float | None = None
    last_call_at: float = float("-inf")
    last_driver: ScaledDriver | None = None
    spent: list[tuple[float, int]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class ScaledDriver:
    """A driver.

    Args:
        name: its name.
        org: the org.
        machine: its machine.
        started_at: when it was started.
        lease: its lease.
        ready_at: time before which it makes no call.
    """

    name: str
    org: ScaledOrg
    machine: ScaledMachine
    started_at: float
    lease: Lease
    ready_at: float
    called_until: float = 0.0
    is_alive: bool = True
    was_seen_to_end: bool = False


@dataclass(slots=True, eq=False)
class ScaledMachine:
    """A machine.

    Args:
        clock_ahead: seconds that its clocks are ahead.
        is_up: whether it runs.
        frozen_until: time until which it stands still.
        drivers: its drivers.
    """

    clock_ahead: float
    is_up: bool = True
    frozen_until: float = 0.0
    drivers: set[ScaledDriver] = field(default_factory=set)

    def now(self, time: float) -> Moment:
        """Return what its clocks show."""
        return Moment(time + self.clock_ahead, time + self.clock_ahead)


class Outcome(msgspec.Struct, frozen=True):
    """What happened.

    Args:
        finished: runs that finished.
        seconds: until the last run of an org without a limit had finished.
        limited_seconds: until the last run had finished.
        most_at_once: most runs that were driven at the same time.
        mean_at_once: the same on average, while any org without a limit was left.
        calls: calls made, also those that were made again.
        most_calls: most calls of a second, on average over a minute.
        mean_calls: calls of a second on average, while any org without a limit was left.
        machine_deaths: machines that died or stood still.
        takeovers: drivers that died or stood still, so that another one continued their run.
    """

    finished: int
    seconds: float
    limited_seconds: float
    most_at_once: int
    mean_at_once: float
    calls: int
    most_calls: float
    mean_calls: float
    machine_deaths: int
    takeovers: int


class ClusterSimulation:
    """A simulation of a scenario, which checks that no org's limits are exceeded.

    Args:
        scenario: the scenario.
        rules: rules of the database; others for tests.
    """

    def __init__(self, scenario: Scenario, rules: type[OrgRules] = OrgRules) -> None:
        self.scenario = scenario
        self._timing = scenario.timing
        self._random = random.Random(scenario.seed)
        self._time = START
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._due: list[tuple[int, ScaledOrg]] = []
        limited = round(scenario.orgs * scenario.limited_share)
        self._orgs = [
            ScaledOrg(
                number,
                rules(self._timing),
                scenario.calls,
                DailyUsageFile(None, f"org{number}") if number < limited else None,
            )
            for number in range(scenario.orgs)
        ]
        self._machines = [
            ScaledMachine(self._random.uniform(-1e6, 1e6)) for _ in range(scenario.machines)
        ]
        self._driven = self._most = 0
        self._driven_seconds = 0.0
        self._counted_at = START
        self._finished = 0
        self._calls = self._machine_deaths = self._takeovers = 0
        self._calls_by_minute: dict[int, int] = {}
        self._unlimited_left = scenario.orgs - limited

    def run(self) -> Outcome:
        """Let all runs finish, and return what happened."""
        for org in self._orgs:
            heapq.heappush(self._due, (org.position, org))
        for machine in self._machines:
            self._at(self._random.uniform(0.0, self._timing.watch), self._look, machine)
            self._plan_failure(machine)
        while self._finished < len(self._orgs):
            self._time, _, event = heapq.heappop(self._events)
            event()
        return self._outcome()

    def _at(self, seconds: float, function: Callable[..., None], *arguments: object) -> None:
        """Call a function after some seconds."""
        event = (self._time + seconds, next(self._numbers), lambda: function(*arguments))
        heapq.heappush(self._events, event)

    def _plan_failure(self, machine: ScaledMachine) -> None:
        mean = self.scenario.death_hours * 3600.0
        self._at(self._random.expovariate(1.0 / mean), self._fail, machine)

    def _fail(self, machine: ScaledMachine) -> None:
        """Let a machine die, stand still for a while, or lose one driver."""
        self._plan_failure(machine)
        if not machine.is_up or machine.frozen_until > self._time:
            return
        kind = self._random.choice(["dies", "stands still", "loses a driver"])
        if kind == "loses a driver":
            if machine.drivers:
                driver = min(machine.drivers, key=lambda driver: driver.name)
                self._advance(driver)
                self._end(driver, _KILLED, StoppedBy.KILLED)
            return
        self._machine_deaths += 1
        for driver in sorted(machine.drivers, key=lambda driver: driver.name):
            self._advance(driver)
        if kind == "stands still":
            machine.frozen_until = self._time + self._random.uniform(10.0, 300.0)
            for driver in machine.drivers:
                self._notice(driver)
            return
        machine.is_up = False
        for driver in machine.drivers:
            driver.is_alive = False
            self._count(-1)
            self._notice(driver)
        machine.drivers.clear()
        self._at(self.scenario.repair, self._repair, machine)

    def _repair(self, machine: ScaledMachine) -> None:
        machine.is_up = True
        self._look(machine)

    def _notice(self, driver: ScaledDriver) -> None:
        """Let another worker find the run of a driver that is silent, once its lease is over."""
        until = driver.org.rules.until or self._time
        noticed_at = max(until, self._time + self._timing.stalled) + self._timing.watch
        self._at(noticed_at - self._time, self._take_up, driver)

    def _take_up(self, driver: ScaledDriver) -> None:
        org = driver.org
        if driver.is_alive and driver.machine.frozen_until <= self._time:
            return  # it goes on, or stops by itself
        if org.rules.is_held(self._time):
            self._at(self._timing.watch, self._take_up, driver)
        elif org.rules.settle(driver.name):
            self._takeovers += 1
            lived = self._time - driver.started_at
            self._settle(org, _KILLED, StoppedBy.KILLED, None, lived)

    def _look(self, machine: ScaledMachine) -> None:
        """Let the worker of a machine start drivers while it has slots, and look again later."""
        if not machine.is_up:
            return
        self._at(self._timing.watch, self._look, machine)
        if machine.frozen_until > self._time:
            return
        while self._due and len(machine.drivers) < self.scenario.slots:
            _, org = heapq.heappop(self._due)
            self._start(machine, org)

    def _start(self, machine: ScaledMachine, org: ScaledOrg) -> None:
        name = f"driver {next(self._numbers):09}"
        if not org.rules.assign(self._time, name):
            return
        taken = org.rules.take(self._time, name)
        assert taken is not None
        lease = Lease(taken.epoch, machine.now(self._time), self._timing.ttl, self._timing.margin)
        ready_at = self._time + max(self.scenario.launch, taken.ready_in)
        driver = ScaledDriver(name, org, machine, self._time, lease, ready_at, ready_at)
        machine.drivers.add(driver)
        self._count(1)
        if org.last_driver is not None:
            repeated = min(self.scenario.places, self.scenario.calls - org.left)
            org.left += repeated if org.deaths else 0
        self._at(self._timing.renew, self._renew, driver)

    def _renew(self, driver: ScaledDriver) -> None:
        """Renew the lease of a driver, after the calls since the last time."""
        if not driver.is_alive:
            return
        machine = driver.machine
        if machine.frozen_until > self._time:
            self._at(machine.frozen_until - self._time, self._renew, driver)
            return
        if not driver.lease.may_send(machine.now(self._time)):
            self._end(driver, Ended(ExitCode.STOPPED), StoppedBy.LEASE)
            return
        resume_at = self._advance(driver)
        if driver.org.left == 0:
            self._end(driver, Ended(ExitCode.OK), None)
        elif resume_at is not None:
            self._end(driver, Ended(ExitCode.CREDITS), StoppedBy.CREDITS, resume_at)
        else:
            asked_at = machine.now(self._time)
            assert driver.org.rules.renew(self._time, driver.lease.epoch)
            driver.lease = driver.lease.renewed(asked_at)
            self._at(self._timing.renew, self._renew, driver)

    def _advance(self, driver: ScaledDriver) -> float | None:
        """Make the calls since the last time; return when credits are back if they are out."""
        org, scenario = driver.org, self.scenario
        seconds = self._time - driver.called_until
        if seconds <= 0.0:
            return None
        self._check_driver(driver)
        driver.called_until = self._time
        calls = min(org.left, round(seconds * scenario.places / scenario.latency))
        granted, resume_at = self._take_credits(org, calls)
        org.left -= granted
        org.last_call_at, org.last_driver = self._time, driver
        self._calls += granted
        minute = minute_of(self._time)
        self._calls_by_minute[minute] = self._calls_by_minute.get(minute, 0) + granted
        return resume_at

    def _check_driver(self, driver: ScaledDriver) -> None:
        """Check that nobody else's calls may still be worked on."""
        org = driver.org
        assert driver.lease.epoch == org.rules.epoch, "two drivers send"
        assert driver.lease.may_send(driver.machine.now(self._time)), "it sends after its deadline"
        last = org.last_driver
        if last not in (None, driver) and not last.was_seen_to_end:
            first_call_at = driver.called_until
            assert first_call_at >= org.last_call_at + self._timing.answer, (
                "calls of a former driver may be in flight beside those of this one"
            )

    def _take_credits(self, org: ScaledOrg, wanted: int) -> tuple[int, float | None]:
        if org.usage is None or wanted == 0:
            return wanted, None
        minute, limit, granted = minute_of(self._time), self.scenario.credits_per_day, 0
        while granted < wanted:
            request = AllowanceRequest(
                minute=minute, wanted=wanted - granted, minimum=1, limit=limit
            )
            share = org.usage.take(request)
            granted += share
            if share == 0:
                break
        if granted:
            org.spent.append((self._time, granted))
        if granted == wanted:
            return granted, None
        return granted, free_at(org.usage.spent_by_minute(minute), max(1, limit // 10))

    def _end(
        self,
        driver: ScaledDriver,
        ended: Ended,
        stopped_by: StoppedBy | None,
        resume_at: float | None = None,
    ) -> None:
        """End a driver whose worker sees that."""
        org = driver.org
        driver.is_alive = False
        driver.machine.drivers.discard(driver)
        self._count(-1)
        if stopped_by is not StoppedBy.LEASE:
            driver.was_seen_to_end = True
            org.rules.end(self._time, driver.name)
        if stopped_by is StoppedBy.KILLED:
            self._takeovers += 1
        if org.rules.settle(driver.name):
            seconds = self._time - driver.started_at
            self._settle(org, ended, stopped_by, resume_at, seconds)

    def _settle(
        self,
        org: ScaledOrg,
        ended: Ended,
        stopped_by: StoppedBy | None,
        resume_at: float | None,
        seconds: float,
    ) -> None:
        verdict = self._judge(org, ended, stopped_by, resume_at, seconds)
        org.deaths = verdict.deaths
        if verdict.kind is Kind.DONE:
            org.finished_at = self._time
            self._finished += 1
            self._unlimited_left -= org.usage is None
        else:
            assert verdict.kind is Kind.START, verdict
            self._at(verdict.after, self._queue, org)

    def _judge(
        self,
        org: ScaledOrg,
        ended: Ended,
        stopped_by: StoppedBy | None,
        resume_at: float | None,
        seconds: float,
    ) -> Verdict:
        standing = Standing(
            op="link",
            created="",
            digest=None,
            messages=org.left,
            state=RunState.STOPPED if stopped_by else RunState.FINISHED,
            stopped_by=stopped_by,
            resume_at=timestamp(resume_at) if resume_at else None,
            reason=None,
            invocations=1,
            exit_code=None,
            was_sent=True,
            org=None,
            api_url=None,
        )
        restarts = self._timing.restarts
        return judge_ended(ended, seconds, standing, org.deaths, self._time, restarts)

    def _queue(self, org: ScaledOrg) -> None:
        heapq.heappush(self._due, (org.position, org))

    def _count(self, change: int) -> None:
        """Count the runs that are being driven."""
        if self._unlimited_left:
            self._driven_seconds += self._driven * (self._time - self._counted_at)
        self._counted_at = self._time
        self._driven += change
        self._most = max(self._most, self._driven)

    def _outcome(self) -> Outcome:
        for org in self._orgs:
            self._check_credits(org)
        ends = [(org.finished_at or 0.0) - START for org in self._orgs]
        seconds = max(
            (e for e, org in zip(ends, self._orgs, strict=True) if not org.usage), default=0.0
        )
        return Outcome(
            finished=self._finished,
            seconds=seconds,
            limited_seconds=max(ends),
            most_at_once=self._most,
            mean_at_once=self._driven_seconds / seconds if seconds else 0.0,
            calls=self._calls,
            most_calls=max(self._calls_by_minute.values()) / 60.0,
            mean_calls=sum(
                calls
                for minute, calls in self._calls_by_minute.items()
                if minute <= minute_of(START + seconds)
            )
            / (seconds or max(ends)),
            machine_deaths=self._machine_deaths,
            takeovers=self._takeovers,
        )

    def _check_credits(self, org: ScaledOrg) -> None:
        """Check that no 24 hours have more credits than their limit."""
        first = total = 0
        for moment, amount in org.spent:
            total += amount
            while org.spent[first][0] <= moment - DAY:
                total -= org.spent[first][1]
                first += 1
            assert total <= self.scenario.credits_per_day, "too many credits in 24 hours"
        if org.usage is not None:
            org.usage.close()
