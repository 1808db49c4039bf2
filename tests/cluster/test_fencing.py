"""Leases and commits over a network that loses answers and lets machines stop at any point."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial

import psycopg
import pytest

from bulklink.cluster.clocks import now
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.lease import LeaseOverError
from bulklink.cluster.leases import TakenLease
from bulklink.cluster.segments import LEDGER, DriverStore, Segment
from bulklink.runs.record import RunRecord
from bulklink.task_group import task_group
from tests.cluster.postgres import PostgresServer
from tests.cluster.proxy import DatabaseProxy, database_proxy
from tests.cluster.single_runs import EXPIRE, LeasedRun, add_run, open_url
from tests.guard import off_loop

RECORD = RunRecord(version="1", op="link", asked={}, inputs=(), created="2026-01-01T00:00:00Z")
CONTENT, LARGE = b"a line of the ledger\n", os.urandom(1 << 20)
ORG = "the-org"
"""Key of the org: in the values of each statement that a driver depends on, and in no statement."""


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[DatabaseProxy]:
    """Serve a proxy of the database server."""
    async with database_proxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
async def far(
    url: str, postgres: PostgresServer, proxy: DatabaseProxy
) -> AsyncIterator[ClusterDatabase]:
    """Return a connection to the database by way of the proxy."""
    name = url.rpartition("/")[2]
    connection = open_url(postgres.url_of(name, proxy.port))
    yield connection
    await off_loop(connection.close)


async def start(database: ClusterDatabase) -> tuple[LeasedRun, LeasedRun]:
    """Add a run; return it as each of two drivers has it."""
    run = await off_loop(add_run, database, RECORD, ORG)
    return LeasedRun(run, ORG, "driver-1"), LeasedRun(run, ORG, "driver-2")


async def take(run: LeasedRun, database: ClusterDatabase) -> TakenLease:
    """Take the lease of a run."""
    taken = await off_loop(run.take, database)
    assert taken is not None
    return taken


async def take_over(run: LeasedRun, database: ClusterDatabase) -> TakenLease:
    """Let a lease expire, and give its run to another driver, which takes the lease."""
    await off_loop(database.query, EXPIRE)
    await off_loop(database.query, "UPDATE run SET state = 'queued'")
    return await take(run, database)


def store_of(run: LeasedRun, taken: TakenLease, database: ClusterDatabase) -> DriverStore:
    """Return what a driver writes with by way of a connection."""
    return run.store(database, taken, run.holder(taken, database))


async def read_ledger(database: ClusterDatabase) -> list[tuple[int, int]]:
    """Return the segments that are in the database: number and epoch."""
    return await off_loop(database.query, "SELECT seq, epoch FROM segment ORDER BY seq")


async def test_a_commit_whose_answer_is_lost_is_there_once(
    database: ClusterDatabase, far: ClusterDatabase, proxy: DatabaseProxy
) -> None:
    first, _ = await start(database)
    store = store_of(first, await take(first, far), far)
    caught = proxy.catch(ORG.encode(), forwards=True)
    record = b'{"state": "running"}'
    async with task_group() as group:
        commit = partial(store.commit, [Segment(LEDGER, 0, CONTENT)], record)
        group.start_soon(off_loop, commit)
        await caught.caught.wait()
        assert await read_ledger(database) == [(0, 1)], "it was carried out"
        proxy.break_all()
    assert await read_ledger(database) == [(0, 1)]
    await off_loop(store.commit, [Segment(LEDGER, 1, CONTENT)])
    assert await read_ledger(database) == [(0, 1), (1, 1)]


async def test_nothing_is_committed_after_a_takeover(
    database: ClusterDatabase, far: ClusterDatabase
) -> None:
    first, second = await start(database)
    former_lease = await take(first, far)
    former = store_of(first, former_lease, far)
    await off_loop(former.commit, [Segment(LEDGER, 0, CONTENT)])
    taken = await take_over(second, database)
    for number in (0, 1):  # also where its number is taken
        with pytest.raises(LeaseOverError):
            await off_loop(former.commit, [Segment(LEDGER, number, b"of the former driver\n")])
    await off_loop(store_of(second, taken, database).commit, [Segment(LEDGER, 1, CONTENT)])
    assert await read_ledger(database) == [(0, 1), (1, 2)]
    assert await off_loop(first.leases(far).renew, former_lease.lease) is None


async def test_a_deadline_counts_from_before_its_renewal_was_sent(
    database: ClusterDatabase, far: ClusterDatabase, proxy: DatabaseProxy
) -> None:
    first, _ = await start(database)
    taken = await take(first, far)
    caught = proxy.catch(ORG.encode(), forwards=True)
    renewed = []
    async with task_group() as group:

        async def renew() -> None:
            renewed.append(await off_loop(first.leases(far).renew, taken.lease))

        group.start_soon(renew)
        await caught.caught.wait()
        executed_before = now()
        caught.released.set()
    (renewal,) = renewed
    assert renewal is not None
    assert renewal.lease.asked_at.boot <= executed_before.boot


async def test_a_successor_waits_as_long_as_a_request_may_last(database: ClusterDatabase) -> None:
    first, second = await start(database)
    await take(first, database)
    taken = await take_over(second, database)
    assert taken.ready_in > 0.0


async def test_a_driver_whose_first_answer_was_lost_waits_for_nobody(
    database: ClusterDatabase, far: ClusterDatabase, proxy: DatabaseProxy
) -> None:
    first, _ = await start(database)
    caught = proxy.catch(ORG.encode(), forwards=True)
    async with task_group() as group:
        group.start_soon(fails, partial(first.take, far))
        await caught.caught.wait()
        proxy.break_all()
    taken = await take(first, far)
    assert (taken.lease.epoch, taken.ready_in) == (2, 0.0)


def taking(run: LeasedRun, far: ClusterDatabase, _: TakenLease) -> Callable[[], object]:
    """Return what takes a lease again."""
    return run.leases(far).take


def renewing(run: LeasedRun, far: ClusterDatabase, taken: TakenLease) -> Callable[[], object]:
    """Return what renews a lease."""
    return partial(run.leases(far).renew, taken.lease)


def committing(
    content: bytes, run: LeasedRun, far: ClusterDatabase, taken: TakenLease
) -> Callable[[], object]:
    """Return what commits a segment."""
    return partial(store_of(run, taken, far).commit, [Segment(LEDGER, 0, content)])


_Make = Callable[[LeasedRun, ClusterDatabase, TakenLease], Callable[[], object]]
POINTS: dict[str, _Make] = {
    "take": taking,
    "renew": renewing,
    "commit": partial(committing, CONTENT),
    "large commit": partial(committing, LARGE),
}


@pytest.mark.parametrize("forwards", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_driver_that_stops_within_a_statement_holds_no_lock(
    point: str,
    forwards: bool,
    database: ClusterDatabase,
    far: ClusterDatabase,
    proxy: DatabaseProxy,
) -> None:
    first, second = await start(database)
    statement = POINTS[point](first, far, await take(first, database))
    caught = proxy.catch(ORG.encode(), forwards=forwards)
    async with task_group() as group:
        group.start_soon(fails, statement)
        await caught.caught.wait()
        await off_loop(database.query, "SET lock_timeout = '1s'")  # where it would wait, it fails
        await take_over(second, database)
        proxy.break_all()


async def fails(function: Callable[[], object]) -> None:
    """Call a function whose connection breaks: it may fail, or repeat its statement."""
    with suppress(psycopg.OperationalError, LeaseOverError):
        await off_loop(function)
