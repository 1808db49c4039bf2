"""Workers whose connections break, and a queue that cannot record what it did."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest

from bulklink.cluster.database import ClusterDatabase, UnreachableDatabaseError
from bulklink.cluster.queue import ProcrastinateQueue, QueueUnavailableError
from bulklink.engine.signal import Signal
from bulklink.errors import ExitCode
from bulklink.task_group import task_group
from bulklink.worker.children import KillableChild
from bulklink.worker.verdict import Ended
from tests.cluster.conftest import TIMEOUT
from tests.cluster.fake_drivers import (
    FakeDrivers,
    add_runs,
    check_ledgers,
    real_queues,
    work,
)
from tests.cluster.postgres import PostgresServer
from tests.cluster.proxy import database_proxy
from tests.guard import off_loop

LOST = 0.05
"""Share of the answers of the database to workers that are lost, with their connections."""
DISK_FULL = """
CREATE SEQUENCE attempts;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM nextval('attempts');
    RAISE 'the disk is full' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER disk_full BEFORE DELETE ON procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION refuse();
"""

pytestmark = pytest.mark.timeout(TIMEOUT)


async def test_no_lost_answer_costs_a_run(
    url: str, postgres: PostgresServer, database: ClusterDatabase
) -> None:
    seed = time.time_ns()
    rng = random.Random(seed)
    await add_runs(database, orgs=6, runs=3)
    drivers, events = FakeDrivers(url, calls=2), list[str]()
    async with database_proxy(postgres.port) as proxy, real_queues(url, 2) as queues:
        proxy.is_lost = lambda: rng.random() < LOST
        results = await work(
            url,
            drivers.start,
            queues,
            slots=3,
            report=events.append,
            database_url=postgres.url_of(url.rpartition("/")[2], proxy.port),
        )
    assert drivers.overlaps == []
    assert sum(result.finished for result in results) == 18, (seed, events)
    assert not [event for event in events if "died" in event], (seed, events)
    await check_ledgers(database, runs=18)


@dataclass(slots=True)
class EndingQueue:
    """A queue that ends after its first org, fails after the second one, then works.

    Args:
        has_recovered: set when it gives an org to the worker for the third time.
    """

    has_recovered: anyio.Event
    _orgs: list[str] = field(default_factory=list)
    _starts: int = 0
    _changed: Signal = field(default_factory=Signal)
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def add(self, org_key: str, profile: str | None) -> None:
        """Queue an org, unless it waits already."""
        del profile
        if org_key not in self._orgs:
            self._orgs.append(org_key)
            self._changed.notify()

    def use_profiles(self, profiles: Sequence[str]) -> None:
        pass

    async def drop_lost(self, seconds: float) -> None:
        """Do nothing."""

    async def work(
        self, drive: Callable[[str], Awaitable[None]], *, slots: int, profiles: Sequence[str]
    ) -> None:
        """Call a function for each org, until it ends; then its calls are abandoned."""
        del slots, profiles
        self._starts += 1
        with self._scope:
            async with task_group() as group:
                while True:
                    while not self._orgs:
                        await self._changed.wait()
                    group.start_soon(self._drive, drive, self._orgs.pop(0))
                    await anyio.lowlevel.checkpoint()
                    if self._starts < 3:
                        group.cancel_scope.cancel()
                        break
                    self.has_recovered.set()
        if self._starts == 2:
            raise QueueUnavailableError

    async def _drive(self, drive: Callable[[str], Awaitable[None]], org_key: str) -> None:
        await drive(org_key)

    def stop(self) -> None:
        """Call it no more."""
        self._scope.cancel()


async def test_a_worker_goes_on_after_its_queue_has_ended(
    url: str, database: ClusterDatabase
) -> None:
    await add_runs(database, orgs=4, runs=1)
    drivers = FakeDrivers(url, calls=2, may_call=anyio.Event())
    (result,) = await work(url, drivers.start, [EndingQueue(drivers.may_call)], slots=1)
    assert result.finished == 4
    assert drivers.most == 1, "no more than it has slots"


async def test_an_outage_while_a_driver_starts_leaves_no_run_to_a_person(
    url: str, database: ClusterDatabase
) -> None:
    await add_runs(database, orgs=1, runs=1)
    drivers = FakeDrivers(url, calls=1)
    started = []

    class CutOff:
        async def wait(self) -> Ended:
            return Ended(ExitCode.REFUSED, code=UnreachableDatabaseError.code)

        def stop(self) -> None:
            pass

        def kill(self) -> None:
            pass

    async def start(command: Sequence[str]) -> KillableChild:
        started.append(command)
        return CutOff() if len(started) == 1 else await drivers.start(command)

    async with real_queues(url, 1) as queues:
        (result,) = await work(url, start, queues, slots=1)
    assert (result.finished, result.left, len(started)) == (1, (), 2)


async def test_a_job_that_another_worker_dropped_ends_without_a_trace(
    url: str, database: ClusterDatabase
) -> None:
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with real_queues(url, 1) as queues, driving(queues[0]) as orgs:
        await off_loop(database.query, "DELETE FROM procrastinate_jobs")
        orgs.may_end.set()
        await queues[0].add("org", None)
        await orgs.driven_twice.wait()
    gc.collect()
    assert errors == []


async def test_a_job_whose_end_could_not_be_recorded_keeps_its_org_from_nobody(
    url: str, database: ClusterDatabase
) -> None:
    async with real_queues(url, 1) as queues, driving(queues[0]) as orgs:
        await off_loop(database.run_script, DISK_FULL)
        orgs.may_end.set()
        while not (await off_loop(database.query, "SELECT is_called FROM attempts"))[0][0]:
            pass
        await off_loop(database.run_script, "DROP TRIGGER disk_full ON procrastinate_jobs")
        while not orgs.driven_twice.is_set():
            await queues[0].drop_lost(60.0)
            await queues[0].add("org", None)


@dataclass(slots=True)
class DrivenOrgs:
    """An org that a queue gives to a worker.

    Attributes:
        may_end: set when its drivers may end.
        driven: set when it was given to it.
        driven_twice: set when it was given to it again.
    """

    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    driven: asyncio.Event = field(default_factory=asyncio.Event)
    driven_twice: asyncio.Event = field(default_factory=asyncio.Event)

    async def drive(self, org_key: str) -> None:
        """Drive it."""
        assert org_key == "org"
        (self.driven_twice if self.driven.is_set() else self.driven).set()
        await self.may_end.wait()


@asynccontextmanager
async def driving(queue: ProcrastinateQueue) -> AsyncIterator[DrivenOrgs]:
    """Queue an org, and work until the block ends; yield once it is driven."""
    orgs = DrivenOrgs()
    await queue.add("org", None)
    async with task_group() as group:
        group.start_soon(partial(queue.work, orgs.drive, slots=1, profiles=()))
        await orgs.driven.wait()
        yield orgs
        queue.stop()
