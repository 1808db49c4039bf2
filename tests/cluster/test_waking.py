"""A submission queues its org for a worker that can send the first run of it."""

from __future__ import annotations

import pytest

from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.running import wake_worker
from bulklink.cluster.runs import RunTable
from tests.cluster.conftest import TIMING
from tests.cluster.single_runs import add_named_run
from tests.guard import off_loop


async def queued_jobs(database: ClusterDatabase) -> list[tuple[str, str]]:
    """Return the orgs that are queued, with the name of their queue."""
    return await off_loop(database.query, "SELECT lock, queue_name FROM procrastinate_jobs")


@pytest.mark.parametrize(
    ("profiles", "queue"), [((None,), "runs"), (("a",), "profile:a"), (("a", "b"), "profile:a")]
)
async def test_an_org_is_queued_once_for_the_profile_of_its_first_run(
    database: ClusterDatabase, profiles: tuple[str | None, ...], queue: str
) -> None:
    table = RunTable(database)
    for profile in profiles:
        await off_loop(database.query, "DELETE FROM procrastinate_jobs")  # a worker had it
        await off_loop(add_named_run, table, "org", profile)
        await wake_worker(database, TIMING, "org")
    await wake_worker(database, TIMING, "org")
    assert await queued_jobs(database) == [("org", queue)]


async def test_an_org_whose_first_run_is_being_sent_or_finished_is_not_queued(
    database: ClusterDatabase,
) -> None:
    table = RunTable(database)
    await off_loop(add_named_run, table, "org")
    (run,) = await off_loop(table.all)
    assert await off_loop(table.assign, run.run, "driver")
    await wake_worker(database, TIMING, "org")
    await off_loop(table.delete, run.run)
    await wake_worker(database, TIMING, "org")
    assert await queued_jobs(database) == []
