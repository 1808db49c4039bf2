"""Drivers within the process of a test: they have real leases and ledgers, and send to nobody."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

import anyio
import msgspec
import psycopg

from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.lease import LeaseOverError
from bulklink.cluster.queue import OrgQueue, ProcrastinateQueue
from bulklink.cluster.runs import RunTable
from bulklink.cluster.segments import LEDGER, Segment
from bulklink.cluster.supervisor import ClusterWorkResult, supervise
from bulklink.engine.shutdown import StopController
from bulklink.engine.signal import Signal
from bulklink.errors import ExitCode, LockedError, StoppedBy
from bulklink.runs.record import RunRecord, RunState
from bulklink.task_group import task_group
from bulklink.worker.children import KillableChild
from bulklink.worker.verdict import Ended
from tests.cluster.conftest import TIMING
from tests.cluster.single_runs import LeasedRun, add_run, open_url
from tests.guard import off_loop

RECORD = RunRecord(version="1", op="link", asked={}, inputs=(), created="2026-01-01T00:00:00Z")
_KILLED = Ended(-9)


def set_event() -> anyio.Event:
    """Return an event that is set."""
    event = anyio.Event()
    event.set()
    return event


@dataclass(slots=True)
class FakeDrivers:
    """Drivers of all workers of a test.

    Args:
        url: address of the database.
        calls: calls that each of them makes.
        rng: chooses those that die.
        dying: share of them that die.
        records: what runs record after their calls, by name; the others finish.
        may_call: set while they may make calls.

    Attributes:
        sending: the driver of each org that sends now.
        overlaps: drivers that sent while another one of their org did.
        most: most drivers that sent at the same time.
        died: drivers that died.
        changed: notified when one begins to send.
    """

    url: str
    calls: int
    rng: random.Random = field(default_factory=random.Random)
    dying: float = 0.0
    records: dict[str, bytes] = field(default_factory=dict)
    may_call: anyio.Event = field(default_factory=set_event)
    sending: dict[str, str] = field(default_factory=dict)
    overlaps: list[tuple[str, str]] = field(default_factory=list)
    most: int = 0
    died: int = 0
    changed: Signal = field(default_factory=Signal)

    async def start(self, command: Sequence[str]) -> FakeDriver:
        """Start a driver by the command of its process."""
        return FakeDriver(self, *named_in(command))

    def send(self, org_key: str, driver: str) -> None:
        """Make a call."""
        other = self.sending.setdefault(org_key, driver)
        if other != driver:
            self.overlaps.append((other, driver))
        self.most = max(self.most, len(self.sending))
        self.changed.notify()

    def end(self, org_key: str, driver: str) -> None:
        """Make no call any more."""
        if self.sending.get(org_key) == driver:
            del self.sending[org_key]


@dataclass(slots=True)
class FakeDriver:
    """A driver that commits a line before each call."""

    drivers: FakeDrivers
    run: UUID
    name: str
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def wait(self) -> Ended:
        """Drive the run, and return how that ended."""
        async with AsyncExitStack() as stack:
            reading, renewing, writing = [open_url(self.drivers.url) for _ in range(3)]
            for database in (reading, renewing, writing):
                stack.push_async_callback(off_loop, database.close)
            with self._scope:
                return await self._drive(reading, renewing, writing)
        return _KILLED

    def stop(self) -> None:
        """End it."""
        self._scope.cancel()

    def kill(self) -> None:
        """End it."""
        self._scope.cancel()

    async def _drive(
        self, reading: ClusterDatabase, renewing: ClusterDatabase, writing: ClusterDatabase
    ) -> Ended:
        run = await off_loop(RunTable(reading).read, self.run)
        leased = LeasedRun(run.run, run.org_key, self.name)
        taken = await off_loop(leased.leases(reading).take)
        if taken is None:
            return Ended(ExitCode.REFUSED, code=LockedError.code)
        await anyio.sleep(taken.ready_in)
        dies = self.drivers.rng.random() < self.drivers.dying
        calls = self.drivers.rng.randrange(self.drivers.calls) if dies else self.drivers.calls
        ((seq,),) = await off_loop(
            reading.query, "SELECT count(*) FROM segment WHERE run = %(run)s", {"run": run.run}
        )
        with leased.holder(taken, renewing) as holder:
            store = leased.store(writing, taken, holder)
            try:
                for number in range(calls):
                    line = Segment(LEDGER, seq + number, f"{self.name}\n".encode())
                    await off_loop(store.commit, [line])
                    if not holder.may_send():
                        return Ended(ExitCode.STOPPED)
                    self.drivers.send(run.org_key, self.name)
                    await self.drivers.may_call.wait()
                if dies:
                    self.drivers.died += 1
                    return _KILLED
                record = self.drivers.records.get(run.name, record_of(None))
                await off_loop(store.commit, [], record)
            except LeaseOverError:
                return Ended(ExitCode.STOPPED)
            finally:
                self.drivers.end(run.org_key, self.name)
        with suppress(psycopg.OperationalError):
            await off_loop(leased.leases(reading).end)
        is_stopped = run.name in self.drivers.records
        return Ended(ExitCode.STOPPED if is_stopped else ExitCode.OK)


def record_of(stopped_by: StoppedBy | None) -> bytes:
    """Return the record of a run that has finished, or was stopped."""
    state = RunState.STOPPED if stopped_by else RunState.FINISHED
    return msgspec.json.encode(RECORD.replace(state=state, stopped_by=stopped_by))


async def work(
    url: str,
    start: Callable[[Sequence[str]], Awaitable[KillableChild]],
    queues: Sequence[OrgQueue],
    *,
    slots: int,
    profiles: Sequence[str] = (),
    report: Callable[[str], None] = lambda event: None,
    database_url: str | None = None,
) -> list[ClusterWorkResult]:
    """Let a worker with each queue drive all runs; return what each did.

    Args:
        url: address of the database.
        start: starts a driver by its command.
        queues: the queues.
        slots: slots of each worker.
        profiles: profiles of each worker.
        report: called with each event of a worker.
        database_url: address of the database for the workers, if they have another one.
    """
    results = []

    async def work_on(queue: OrgQueue) -> None:
        database = open_url(database_url or url)
        try:
            result = await supervise(
                database,
                queue,
                TIMING,
                slots=slots,
                drain=True,
                stop=StopController(),
                report=lambda event: report(str(event)),
                profiles=lambda: profiles,
                start=start,
            )
        finally:
            await off_loop(database.close)
        results.append(result)

    async with task_group() as group:
        for queue in queues:
            group.start_soon(work_on, queue)
    return results


@asynccontextmanager
async def real_queues(url: str, workers: int) -> AsyncIterator[list[ProcrastinateQueue]]:
    """Open the queue of each worker."""
    conninfo = conninfo_from({"BULKLINK_CLUSTER_URL": url})
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(ProcrastinateQueue(conninfo, TIMING))
            for _ in range(workers)
        ]


def named_in(command: Sequence[str]) -> tuple[UUID, str]:
    """Return the run and the name of a driver by the command of its process."""
    at = command.index("drive")
    assert command[at + 2] == "--driver"
    return UUID(command[at + 1]), command[at + 3]


async def add_runs(database: ClusterDatabase, orgs: int, runs: int, *, first: int = 0) -> None:
    """Add runs of some orgs, whose names follow from their numbers."""
    for number in range(runs):
        for org in range(first, first + orgs):
            await off_loop(add_run, database, RECORD, f"org{org}", f"run{org}-{number}")


async def check_ledgers(database: ClusterDatabase, *, runs: int) -> None:
    """Check that all runs have finished, and that their ledgers have no gap and no old epoch."""
    states = await off_loop(database.query, "SELECT state, count(*) FROM run GROUP BY state")
    assert states == [("finished", runs)]
    broken = await off_loop(
        database.query,
        "SELECT * FROM (SELECT run, seq, epoch,"
        " row_number() OVER (PARTITION BY run ORDER BY seq) - 1 AS expected,"
        " lag(epoch, 1, 0) OVER (PARTITION BY run ORDER BY seq) AS earlier FROM segment) AS line"
        " WHERE seq <> expected OR epoch < earlier",
    )
    assert broken == []
