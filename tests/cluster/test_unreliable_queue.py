"""A queue that loses, doubles and reorders: nothing but time depends on it."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from bulklink.cluster.database import ClusterDatabase
from bulklink.engine.signal import Signal
from bulklink.task_group import task_group
from tests.cluster.conftest import TIMEOUT
from tests.cluster.fake_drivers import FakeDrivers, add_runs, check_ledgers, work
from tests.guard import off_loop

ORGS, RUNS = 6, 2

pytestmark = pytest.mark.timeout(TIMEOUT)


@dataclass(slots=True)
class Jobs:
    """The jobs of an unreliable queue, for several workers."""

    rng: random.Random
    orgs: list[str] = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)


@dataclass(slots=True)
class UnreliableQueue:
    """A queue that loses a third of what is added, and gives the rest to several workers."""

    jobs: Jobs
    _scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def add(self, org_key: str, profile: str | None) -> None:
        """Queue an org not at all, or up to three times, at any place."""
        del profile
        for _ in range(self.jobs.rng.choice((0, 1, 3))):
            self.jobs.orgs.insert(self.jobs.rng.randint(0, len(self.jobs.orgs)), org_key)
        self.jobs.changed.notify()

    def use_profiles(self, profiles: Sequence[str]) -> None:
        pass

    async def drop_lost(self, seconds: float) -> None:
        """Do nothing."""

    async def work(
        self, drive: Callable[[str], Awaitable[None]], *, slots: int, profiles: Sequence[str]
    ) -> None:
        """Call a function for what is queued, also for an org that another worker has."""
        del profiles
        places = anyio.Semaphore(slots)
        with self._scope:
            async with task_group() as group:
                while True:
                    while not self.jobs.orgs:
                        await self.jobs.changed.wait()
                    group.start_soon(self._drive, drive, self.jobs.orgs.pop(), places)
                    await anyio.lowlevel.checkpoint()

    async def _drive(
        self, drive: Callable[[str], Awaitable[None]], org_key: str, places: anyio.Semaphore
    ) -> None:
        async with places:
            await drive(org_key)

    def stop(self) -> None:
        """Call it no more."""
        self._scope.cancel()


async def test_an_org_has_one_driver_whatever_the_queue_does(
    url: str, database: ClusterDatabase
) -> None:
    seed = time.time_ns()
    rng = random.Random(seed)
    await add_runs(database, ORGS, RUNS)
    # As after machines that died: a driver that starts now has no lease yet.
    await off_loop(database.query, "UPDATE org SET until = clock_timestamp() - interval '1 hour'")
    drivers = FakeDrivers(url, calls=8, rng=rng, dying=0.2)
    jobs, events = Jobs(rng), list[str]()
    queues = [UnreliableQueue(jobs) for _ in range(3)]
    results = await work(url, drivers.start, queues, slots=3, report=events.append)
    assert drivers.overlaps == [], seed
    assert sum("its process died" in event for event in events) == drivers.died, (seed, events)
    assert sum(result.finished for result in results) == ORGS * RUNS, (seed, results)
    await check_ledgers(database, runs=ORGS * RUNS)
