"""A worker over days on a virtual clock: orgs that run out of credits wait, and others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import anyio
import msgspec
import pytest

from bulklink import Job, Op, plan
from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.clock import real_clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, ExitCode
from bulklink.ledger.records import timestamp
from bulklink.operations.credit_limits import usage_key
from bulklink.operations.environment import Environment
from bulklink.operations.org_lock import OrgLocks
from bulklink.operations.queue_access import open_queue
from bulklink.operations.resume import apply, resume
from bulklink.runs.queue import Approval
from bulklink.runs.record import OrgRecord
from bulklink.runs.standing import read_standing
from bulklink.worker.verdict import Ended, Timing
from bulklink.worker.worker import WorkResult, work
from tests.e2e.command import rows
from tests.e2e.world import World
from tests.guard import off_loop
from tests.simulation.environment import InMemoryDailyUsage, simulated_environment
from tests.simulation.simulator import CONNECTION
from tests.virtual import now, run_virtual

DAY = 86_400.0
SLOTS = 2
CREDITS, CREDITS_PER_DAY = 90, 50
EMAILS = 60
"""Emails of each run, each of a contact of its own, so that each takes a call."""


class CountingCrm(Crm):
    """A CRM that remembers its calls, without those for tokens.

    Attributes:
        admitted: times of the calls that cost credits.
        refused: times of those that were answered with 429.
    """

    def __init__(self, world: World, org_id: str, settings: Settings) -> None:
        content = parse_world(world.as_file() | {"org": {"id": org_id}})
        super().__init__(content, settings, clock=now)
        self.admitted: list[float] = []
        self.refused: list[float] = []

    async def handle(self, request: Request) -> Answer:
        arrived_at = now()
        answer = await super().handle(request)
        if "/oauth/" not in request.path:
            (self.refused if answer.status == 429 else self.admitted).append(arrived_at)
        return answer


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the worker started.

    Args:
        run: name of the run.
        org: name of its org.
        started: when it started.
        ended: when it ended, in seconds since 1970.
        exit_code: its exit code.
    """

    run: str
    org: str
    started: float
    ended: float
    exit_code: int


@dataclass(slots=True)
class SimulatedOrg:
    """An org and its approved runs.

    Args:
        number: its number, from which its name and its id follow.
        settings: behaviour of its CRM.
        runs: number of its runs.
        credits_per_day: limit with which its plans are sealed; None for none.
    """

    number: int
    settings: Settings
    runs: int
    credits_per_day: int | None = None
    crm: CountingCrm = field(init=False)
    environment: Environment = field(init=False)
    _world: World = field(default_factory=World, init=False)
    _usages: dict[str, InMemoryDailyUsage] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for _ in range(self.runs * EMAILS):
            self._world.add(free=1)
        self.crm = CountingCrm(self._world, self.id, self.settings)

    @property
    def name(self) -> str:
        """Its name, which is that of its profile too."""
        return f"org{self.number}"

    @property
    def id(self) -> str:
        """Its id."""
        return f"584310400000002000{self.number}"

    def usage_of(self, key: str) -> InMemoryDailyUsage:
        """Return the 24-hour usage of a key, which all commands share."""
        return self._usages.setdefault(key, InMemoryDailyUsage())

    def seal(self, runs_dir: Path, number: int) -> str:
        """Seal the plan of one of its runs; return the name of the run."""
        contacts = self._world.contacts[number * EMAILS : (number + 1) * EMAILS]
        run = runs_dir / f"{self.name}-{number}"
        job = Job(
            mappings=[line for contact in contacts for line in rows(contact.free, contact.a)],
            op=Op.LINK,
            run_dir=run,
            canary=0,
            credits_per_day=self.credits_per_day,
        )
        # Planning has a thread and a loop of its own.
        plan(job, environment=msgspec.structs.replace(self.environment, clock=real_clock()))
        return run.name

    def approve(self, runs_dir: Path, run: str) -> None:
        """Approve one of its runs."""
        standing = read_standing(runs_dir / run)
        assert standing.digest is not None
        open_queue(runs_dir, self.environment).add(
            Approval(
                run=run,
                created=standing.created,
                digest=standing.digest,
                op=standing.op,
                messages=standing.messages,
                invocations=0,
                approved=timestamp(now()),
                org_key=usage_key(CONNECTION.api_url, self.id),
                org=OrgRecord(self.id),
                profile=self.name,
            )
        )

    def count_linked(self) -> int:
        """Return its emails that are on a deal."""
        views = [self.crm.state.view(contact.id) for contact in self._world.contacts]
        return sum(
            view.deal_of(email) is not None for view in views for email in view.mailbox.emails
        )

    def max_in_a_day(self) -> int:
        """Return the most credits that it spent in any 24 hours."""
        times = self.crm.admitted
        return max(sum(end - DAY < moment <= end for moment in times) for end in times)


@dataclass(slots=True)
class SimulatedChild:
    """A child process that runs in this one, on the virtual clock."""

    org: SimulatedOrg
    command: Sequence[str]
    commands: list[Command]

    async def wait(self) -> Ended:
        verb, path, digest = self.command[4], Path(self.command[5]), self.command[7]
        send, started, code, message = (apply if verb == "apply" else resume), now(), None, ""
        try:
            result = await send(
                path, CONNECTION, expect=digest, yes=True, environment=self.org.environment
            )
            exit_code = result.exit_code
        except BulklinkError as error:
            exit_code, code, message = error.exit_code, error.code, error.message
        assert exit_code is not None
        self.commands.append(Command(path.name, self.org.name, started, now(), exit_code))
        return Ended(exit_code, code, message)

    def stop(self) -> None:
        raise AssertionError("nothing stops it here")


@asynccontextmanager
async def open_environments(orgs: Sequence[SimulatedOrg], state: Path) -> AsyncIterator[None]:
    """Give each org its environment; the credits of all its commands are counted together."""
    async with AsyncExitStack() as stack:
        for org in orgs:
            environment = await stack.enter_async_context(simulated_environment(org.crm))
            org.environment = msgspec.structs.replace(
                environment,
                daily_usage=org.usage_of,
                org_locks=OrgLocks(state / "orgs"),
                approval_key=lambda: "key",
            )
        yield


async def work_on(
    orgs: Sequence[SimulatedOrg],
    folder: Path,
    stop: StopController | None = None,
    *,
    approves: bool = True,
) -> tuple[WorkResult, list[Command]]:
    """Let a worker send all runs; return its result and the commands in the order of their end."""
    by_name = {org.name: org for org in orgs}
    commands: list[Command] = []
    runs_dir = folder / "runs"

    async def start(command: Sequence[str]) -> SimulatedChild:
        org = by_name[command[command.index("--profile") + 1]]
        return SimulatedChild(org, command, commands)

    runs = [(org, number) for number in range(9) for org in orgs if number < org.runs]
    async with open_environments(orgs, folder / "state"):
        for org, number in runs if approves else ():
            org.approve(runs_dir, await off_loop(org.seal, runs_dir, number))
        result = await work(
            runs_dir,
            slots=SLOTS,
            drain=True,
            stop=stop or StopController(),
            report=lambda event: None,
            environment=orgs[0].environment,
            start=start,
            timing=Timing(poll=600.0),
        )
    return result, commands


def make_orgs() -> list[SimulatedOrg]:
    """Return an org with few credits, one whose plans have a limit, and two with many credits."""
    endless = Settings(credits=0, latency=0.5)
    return [
        SimulatedOrg(0, Settings(credits=CREDITS, latency=0.5), runs=2),
        SimulatedOrg(1, endless, runs=2, credits_per_day=CREDITS_PER_DAY),
        SimulatedOrg(2, endless, runs=2),
        SimulatedOrg(3, endless, runs=2),
    ]


@dataclass(frozen=True, slots=True)
class Days:
    """What a worker did in some days.

    Args:
        orgs: the orgs.
        result: its result.
        commands: the commands that it started, in the order of their end.
    """

    orgs: list[SimulatedOrg]
    result: WorkResult
    commands: list[Command]


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    """Let a worker send all runs of all orgs."""

    async def send() -> Days:
        orgs = make_orgs()
        return Days(orgs, *await work_on(orgs, tmp_path_factory.mktemp("days")))

    return run_virtual(send())


def test_no_day_has_more_credits_spent_than_it_allows(days: Days) -> None:
    orgs, result, commands = days.orgs, days.result, days.commands
    assert (result.finished, result.with_failures, result.left, result.waiting) == (8, 0, (), ())
    assert [org.count_linked() for org in orgs] == [2 * EMAILS] * 4
    assert [org.max_in_a_day() for org in orgs[:2]] == [CREDITS, CREDITS_PER_DAY]
    assert [org.crm.refused for org in orgs] == [[]] * 4
    last_day = round(commands[-1].started - commands[0].started) // int(DAY)
    assert last_day == -(-2 * EMAILS // CREDITS_PER_DAY) - 1, "no day is left unused"


def test_the_runs_of_an_org_wait_for_the_first_of_them(days: Days) -> None:
    for org in days.orgs:
        own = [command for command in days.commands if command.org == org.name]
        assert [command.run for command in own] == sorted(command.run for command in own)
        for first, second in pairwise(own):
            assert second.started >= first.ended
            if first.exit_code == ExitCode.CREDITS:
                assert second.run == first.run
                waited = second.started - first.started
                assert DAY <= waited <= DAY + 180, "it goes on once the credits are back"
            else:
                assert second.run != first.run


def test_other_orgs_use_the_slots_while_runs_wait_for_credits(days: Days) -> None:
    commands = days.commands
    waits_from = min(c.ended for c in commands if c.exit_code == ExitCode.CREDITS)
    waits_until = min(c.started for c in commands if c.started > waits_from + DAY / 2)
    others = [command for command in commands if command.org in ("org2", "org3")]
    assert min(command.started for command in others) >= waits_from, "both slots were taken before"
    assert max(command.ended for command in others) < waits_until
    in_progress = [
        sum(other.started <= command.started < other.ended for other in commands)
        for command in commands
    ]
    assert max(in_progress) == SLOTS


async def test_a_worker_that_is_started_during_the_wait_sends_nothing_before_its_end(
    tmp_path: Path,
) -> None:
    orgs, stop = make_orgs(), StopController()
    async with anyio.create_task_group() as group:
        group.start_soon(interrupt_after, stop, DAY / 2)
        first, before = await work_on(orgs, tmp_path, stop)
    assert (first.finished, first.waiting) == (5, ("org0-1", "org1-0", "org1-1"))
    second, after = await work_on(orgs, tmp_path, approves=False)
    assert (second.finished, second.waiting) == (3, ())
    assert min(c.started for c in after) >= min(c.started for c in before) + DAY
    assert [org.max_in_a_day() for org in orgs[:2]] == [CREDITS, CREDITS_PER_DAY]
    assert [org.crm.refused for org in orgs] == [[]] * 4


async def interrupt_after(stop: StopController, seconds: float) -> None:
    """Stop a worker after a while."""
    await anyio.sleep(seconds)
    stop.interrupt()
