"""State machine of drivers on several machines that share the lease of an org.

The database follows `lease_rules.OrgRules`, the drivers use `bulklink.cluster.lease`. Clocks are
skewed, jump and stand still; machines sleep; statements and answers are late or lost; requests
linger in the CRM. A subclass may plant a fault.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bulklink.cluster.lease import Lease, Moment
from bulklink.cluster.timing import ClusterTiming
from tests.cluster.lease_rules import OrgRules, Taken

TIMING = ClusterTiming()
DATABASE_AHEAD = 12_345.0
"""How far the clock of the database is ahead of the true time."""
_TOLERANCE = 1e-6
_SECONDS = (0.5, 2.0, TIMING.margin, TIMING.renew, 20.0, 25.5, TIMING.ttl + 0.5, TIMING.answer)


@dataclass
class Machine:
    """A machine with its clocks.

    Args:
        has_true_wall: whether its wall clock is right and its other clock stands still while the
            machine is suspended; otherwise the wall clock jumps, and the other one never stops.
        boot_behind: seconds that its monotonic clock lacks.
        wall_ahead: seconds that its wall clock is ahead.
        asleep_since: true time since which it sleeps; None while it is awake.
    """

    has_true_wall: bool
    boot_behind: float
    wall_ahead: float
    asleep_since: float | None = None

    def now(self, true_time: float) -> Moment:
        """Return what its clocks show, or will show when it wakes up."""
        boot = true_time - self.boot_behind
        if self.has_true_wall and self.asleep_since is not None:
            boot -= true_time - self.asleep_since
        return Moment(boot, true_time + self.wall_ahead)

    def wake(self, true_time: float) -> None:
        """Go on after a sleep."""
        assert self.asleep_since is not None
        if self.has_true_wall:
            self.boot_behind += true_time - self.asleep_since
        self.asleep_since = None


@dataclass
class Statement:
    """A statement on its way to the database, or its answer on the way back.

    Args:
        name: what it does.
        asked_at: moment before it was sent, by the clocks of its driver.
        epoch: epoch of its driver; 0 before it has one.
        result: what the database answered; None before it was executed.
    """

    name: str
    asked_at: Moment
    epoch: int
    result: object = None


@dataclass
class Driver:
    """A driver.

    Args:
        name: its name.
        machine: its machine.
        lease: its lease as it knows it.
        ready_at: moment of its machine's monotonic clock before which it sends nothing.
        pending: the statement whose answer it waits for; it waits for one of each kind.
        lines: call lines that are committed, and whose calls were not made yet.
        is_alive: whether it runs; a sleeping machine's drivers do.
        was_seen_to_end: whether nobody need wait for its requests.
    """

    name: str
    machine: Machine
    lease: Lease | None = None
    ready_at: float = 0.0
    pending: dict[str, Statement] = field(default_factory=dict)
    lines: int = 0
    is_alive: bool = True
    was_seen_to_end: bool = False

    def may_send(self, true_time: float) -> bool:
        """Return whether its own clocks let it send."""
        return self.lease is not None and self.lease.may_send(self.machine.now(true_time))


@dataclass(frozen=True)
class SentRequest:
    """A request that left.

    Args:
        driver: its driver.
        epoch: epoch of the driver.
        sent_at: true time.
    """

    driver: Driver
    epoch: int
    sent_at: float


class LeaseMachine(RuleBasedStateMachine):
    """Drivers of one org, and what must never happen.

    Attributes:
        database: what the database does.
        lease: leases of the drivers.
        counts_from_answer: a fault: leases count from the answer to their statement.
    """

    database: type[OrgRules] = OrgRules
    lease: type[Lease] = Lease
    counts_from_answer = False

    def __init__(self) -> None:
        super().__init__()
        self.org = self.database(TIMING)
        self.time = 1_000.0
        self.machines: list[Machine] = []
        self.drivers: list[Driver] = []
        self.requests: list[SentRequest] = []
        self.late: list[tuple[Driver, Statement]] = []
        self.commits: list[int] = []
        self.last_moments: list[tuple[Driver, float]] = []
        self._numbers = count()

    @initialize(
        skews=st.lists(st.sampled_from([-86_400.0, 0.0, 3_600.0]), min_size=3, max_size=3),
        walls=st.lists(st.booleans(), min_size=3, max_size=3),
    )
    def boot(self, skews: list[float], walls: list[bool]) -> None:
        self.machines = [
            Machine(wall, 500.0 * number, 0.0 if wall else skew)
            for number, (skew, wall) in enumerate(zip(skews, walls, strict=True))
        ]

    @property
    def database_time(self) -> float:
        """Time of the database's clock."""
        return self.time + DATABASE_AHEAD

    def _awake(self) -> list[Driver]:
        return [d for d in self.drivers if d.is_alive and d.machine.asleep_since is None]

    @rule(seconds=st.sampled_from(_SECONDS))
    def wait(self, seconds: float) -> None:
        self.time += seconds

    @rule(number=st.integers(0, 2), seconds=st.sampled_from([-31_536_000.0, -30.0, 30.0, 3_600.0]))
    def clock_jumps(self, number: int, seconds: float) -> None:
        machine = self.machines[number]
        if not machine.has_true_wall:
            machine.wall_ahead += seconds

    @rule(number=st.integers(0, 2))
    def sleeps_or_wakes(self, number: int) -> None:
        machine = self.machines[number]
        if machine.asleep_since is None:
            machine.asleep_since = self.time
        else:
            machine.wake(self.time)

    @rule(number=st.integers(0, 2), takes_at_once=st.booleans())
    def worker_starts_driver(self, number: int, takes_at_once: bool) -> None:
        """Settle what the last driver left if its lease is over, and start the next driver."""
        machine = self.machines[number]
        if machine.asleep_since is not None:
            return
        driver = Driver(f"driver {next(self._numbers)}", machine)
        if self.org.assigned is not None and not self.org.is_held(self.database_time):
            self.org.settle(self.org.assigned)
        self.org.assign(self.database_time, driver.name)  # or the queue has doubled a job
        self.drivers.append(driver)
        if takes_at_once:
            self._ask(driver, "take")
            self._answer(driver, "take")

    @rule(choice=st.integers(0, 9), name=st.sampled_from(["take", "renew", "commit", "commit"]))
    def driver_asks(self, choice: int, name: str) -> None:
        driver = self._choose(self._awake(), choice)
        if driver is not None and (name == "take") == (driver.lease is None):
            self._ask(driver, name)

    @rule(choice=st.integers(0, 9), name=st.sampled_from(["take", "renew", "commit"]))
    def statement_arrives(self, choice: int, name: str) -> None:
        driver = self._choose([d for d in self.drivers if name in d.pending], choice)
        if driver is not None and driver.pending[name].result is None:
            self._execute(driver, driver.pending[name])

    @rule(choice=st.integers(0, 9), name=st.sampled_from(["take", "renew", "commit"]))
    def answer_arrives(self, choice: int, name: str) -> None:
        driver = self._choose([d for d in self._awake() if name in d.pending], choice)
        if driver is not None:
            self._answer(driver, name)

    @rule(choice=st.integers(0, 9), name=st.sampled_from(["take", "renew", "commit"]))
    def connection_breaks(self, choice: int, name: str) -> None:
        """Lose the answer; the statement may still arrive."""
        driver = self._choose([d for d in self._awake() if name in d.pending], choice)
        if driver is not None:
            statement = driver.pending.pop(name)
            if statement.result is None:
                self.late.append((driver, statement))

    @precondition(lambda self: self.late)
    @rule(choice=st.integers(0, 9))
    def late_statement_arrives(self, choice: int) -> None:
        self._execute(*self.late.pop(choice % len(self.late)))

    @rule(choice=st.integers(0, 9))
    def driver_works(self, choice: int) -> None:
        """Renew, commit a line and send its request, with answers that come at once."""
        driver = self._choose([d for d in self._awake() if d.lease and not d.pending], choice)
        if driver is None:
            return
        for name in ("renew", "commit"):
            self._ask(driver, name)
            if name in driver.pending:
                self._answer(driver, name)
        self._send(driver)

    @rule(choice=st.integers(0, 9))
    def driver_sends(self, choice: int) -> None:
        driver = self._choose([d for d in self._awake() if d.lines], choice)
        if driver is not None:
            self._send(driver)

    @rule(choice=st.integers(0, 9), is_seen=st.booleans())
    def driver_dies(self, choice: int, is_seen: bool) -> None:
        """Kill a driver; its worker may see that, and end its lease a while later."""
        driver = self._choose(self._awake(), choice)
        if driver is None:
            return
        driver.is_alive = False
        if is_seen:
            self.late.append((driver, Statement("end", driver.machine.now(self.time), 0)))

    @rule(choice=st.integers(0, 9))
    def driver_ends(self, choice: int) -> None:
        """End a driver that waits for its last answers, and its lease."""
        driver = self._choose([d for d in self._awake() if d.lease], choice)
        if driver is not None:
            driver.is_alive = False
            self.late.append((driver, Statement("end", driver.machine.now(self.time), 0)))

    def _choose(self, drivers: list[Driver], choice: int) -> Driver | None:
        """Return one of the drivers, the last ones first."""
        return drivers[-1 - choice % len(drivers)] if drivers else None

    def _ask(self, driver: Driver, name: str) -> None:
        if name in driver.pending or (name != "take" and not driver.may_send(self.time)):
            return
        now = driver.machine.now(self.time)
        if name == "commit" and now.boot < driver.ready_at:
            return
        epoch = driver.lease.epoch if driver.lease else 0
        driver.pending[name] = Statement(name, now, epoch)

    def _execute(self, driver: Driver, statement: Statement) -> None:
        """Let the database execute a statement."""
        now = self.database_time
        match statement.name:
            case "take":
                statement.result = self._take(driver, now)
            case "renew":
                statement.result = self.org.renew(now, statement.epoch)
            case "commit":
                seq = len(self.org.segments)
                statement.result = self.org.commit(now, statement.epoch, seq, b"line")
                if statement.result:
                    assert statement.epoch == self.org.epoch, "a former driver has committed"
                    assert not self.commits or self.commits[-1] <= statement.epoch
                    self.commits.append(statement.epoch)
            case "end":
                driver.was_seen_to_end = True
                self.org.end(now, driver.name)

    def _take(self, driver: Driver, now: float) -> Taken | None:
        former = next((d for d in self.drivers if d.name == self.org.driver), None)
        until = self.org.until
        taken = self.org.take(now, driver.name)
        if taken and former not in (None, driver) and until is not None:
            assert former is not None
            self.last_moments.append((former, until))
        return taken

    def _answer(self, driver: Driver, name: str) -> None:
        """Let the answer to a statement arrive, and the statement before if need be."""
        statement = driver.pending.pop(name)
        if statement.result is None:
            self._execute(driver, statement)
        now = driver.machine.now(self.time)
        counted_from = now if self.counts_from_answer else statement.asked_at
        if isinstance(statement.result, Taken):
            taken = statement.result
            driver.lease = self.lease(taken.epoch, counted_from, TIMING.ttl, TIMING.margin)
            driver.ready_at = now.boot + taken.ready_in
        elif not statement.result:
            driver.is_alive = False  # the lease is over
        elif name == "renew" and driver.lease is not None:
            driver.lease = driver.lease.renewed(counted_from)
        else:
            driver.lines += 1

    def _send(self, driver: Driver) -> None:
        """Send the request of a committed line, if the clocks of the driver let it."""
        if not (driver.is_alive and driver.lines and driver.may_send(self.time)):
            return
        assert driver.lease is not None
        driver.lines -= 1
        request = SentRequest(driver, driver.lease.epoch, self.time)
        self._check_request(request)
        self.requests.append(request)

    def _check_request(self, request: SentRequest) -> None:
        """Check a request against those that left before, and those that may still have."""
        assert request.epoch == self.org.epoch, "the org has another driver"
        for other in self.requests:
            assert other.epoch <= request.epoch, "another driver has sent before"
            if other.driver is not request.driver and not other.driver.was_seen_to_end:
                assert request.sent_at >= other.sent_at + TIMING.answer - _TOLERANCE, (
                    "a request of a former driver may still be worked on"
                )
        for former, last_moment in self.last_moments:
            if not former.was_seen_to_end:
                waited = self.database_time - last_moment
                assert waited >= TIMING.answer - _TOLERANCE, "a former driver may have sent"

    @invariant()
    def at_most_one_driver_may_send(self) -> None:
        able = [d for d in self.drivers if d.is_alive and d.may_send(self.time)]
        assert len(able) <= 1, "two drivers may send"
        for driver in able:
            assert driver.lease is not None
            assert self.org.until is not None, "a driver may send without the lease"
            assert driver.lease.epoch == self.org.epoch, "a driver may send without the lease"
            left = driver.lease.seconds_left(driver.machine.now(self.time))
            assert left <= self.org.until - self.database_time - TIMING.margin + _TOLERANCE, (
                "the deadline is later than the database's end of the lease, less the margin"
            )
