"""Which orgs a worker adds to the queue: those whose first run can be started, and no others."""

from __future__ import annotations

import psycopg
import pytest

from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.queue import ProcrastinateQueue
from bulklink.cluster.runs import RunTable
from tests.cluster.conftest import TIMING
from tests.cluster.single_runs import add_named_run
from tests.guard import off_loop


@pytest.fixture
def runs(database: ClusterDatabase) -> RunTable:
    return RunTable(database)


def test_an_org_is_due_once_and_by_the_position_of_its_first_run(runs: RunTable) -> None:
    for org_key in ("b", "a", "b", "c", "a"):
        add_named_run(runs, org_key)
    assert runs.due_orgs([]) == [("b", None), ("a", None), ("c", None)]


@pytest.mark.parametrize(
    "first",
    [
        "state = 'queued', not_before = clock_timestamp() + interval '1 hour'",
        "state = 'left', holds_org = true",
    ],
    ids=["waits", "holds the org"],
)
def test_later_runs_of_an_org_are_not_due_before_its_first(
    runs: RunTable, database: ClusterDatabase, first: str
) -> None:
    run = add_named_run(runs, "a")
    add_named_run(runs, "a")
    database.query(f"UPDATE run SET {first} WHERE run = %(run)s", {"run": run})
    assert runs.due_orgs([]) == []


@pytest.mark.parametrize("state", ["left", "finished", "cancelled"])
def test_the_next_run_is_due_after_one_that_nobody_will_send(
    runs: RunTable, database: ClusterDatabase, state: str
) -> None:
    run = add_named_run(runs, "a", profile="gone")
    add_named_run(runs, "a")
    values = {"state": state, "run": run}
    database.query("UPDATE run SET state = %(state)s WHERE run = %(run)s", values)
    assert runs.due_orgs([]) == [("a", None)]


def test_orgs_of_other_profiles_and_orgs_with_a_driver_are_not_due(
    runs: RunTable, database: ClusterDatabase
) -> None:
    add_named_run(runs, "mine", profile="mine")
    add_named_run(runs, "other", profile="other")
    add_named_run(runs, "driven")
    database.query(
        "UPDATE org SET until = clock_timestamp() + interval '1 hour' WHERE org_key = 'driven'"
    )
    assert runs.due_orgs(["mine"]) == [("mine", "mine")]


async def test_orgs_that_the_queue_has_are_not_due(
    runs: RunTable, database: ClusterDatabase, url: str
) -> None:
    for org_key in ("waits", "done", "free"):
        await off_loop(add_named_run, runs, org_key)
    async with ProcrastinateQueue(database.conninfo, TIMING) as queue:
        await queue.add("waits", None)
        await queue.add("done", None)
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE lock = 'done'")
    assert await off_loop(runs.due_orgs, []) == [("free", None)]
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = 'succeeded' WHERE lock = 'done'")
    assert await off_loop(runs.due_orgs, []) == [("done", None), ("free", None)]
