"""A database server that is away: for a short time nobody notices, for longer all drivers stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from bulklink import Op
from tests.cluster.agreement import check_org
from tests.cluster.conftest import TIMEOUT, TIMING
from tests.cluster.postgres import PostgresServer
from tests.cluster.worked_cluster import ClusterWorker, cluster_worker, serve_cluster_orgs
from tests.crash.worked_orgs import CONTACTS, Orgs
from tests.guard import off_loop

pytestmark = pytest.mark.timeout(TIMEOUT)


@asynccontextmanager
async def at_work(url: str, folder: Path) -> AsyncIterator[tuple[Orgs, list[ClusterWorker]]]:
    """Let two workers send the run of an org, and hold its calls."""
    async with (
        serve_cluster_orgs(url, [(Op.RELINK,)], folder / "runs") as orgs,
        cluster_worker(url, "--drain", state=folder / "first") as first,
        cluster_worker(url, "--drain", state=folder / "second") as second,
    ):
        orgs.gate.close_after(CONTACTS // 2)
        await orgs.gate.reached.wait()
        yield orgs, [first, second]


async def finish(url: str, orgs: Orgs, workers: list[ClusterWorker], folder: Path) -> list[str]:
    """Wait until all is sent, and check it; return why the drivers of the run stopped."""
    for worker in workers:
        assert (await worker.result())["left"] == []
        assert not [line for line in worker.log if "Traceback" in line or "exception" in line]
    (org,) = orgs.orgs
    (record,) = await check_org(url, org, folder / "pulled")
    return [str(invocation.stopped_by) for invocation in record.invocations]


# A busy machine takes its time to start the server: the lease is longer than any start.
@pytest.mark.parametrize("timing", [msgspec.structs.replace(TIMING, ttl=100.0)], ids=["long"])
async def test_a_run_outlives_a_restart_of_the_database(
    url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with at_work(url, tmp_path) as (orgs, workers):
        await off_loop(postgres.stop)
        orgs.gate.open()
        await off_loop(postgres.start)
        assert await finish(url, orgs, workers, tmp_path) == ["None"]


async def test_drivers_stop_while_the_database_is_away_and_others_go_on(
    url: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    async with at_work(url, tmp_path) as (orgs, workers):
        await off_loop(postgres.stop)
        orgs.gate.open()
        for worker in workers:
            await worker.reports("The database cannot be used: ")
        (busy,) = [worker for worker in workers if worker.drivers()]
        await busy.is_idle()
        (org,) = orgs.orgs
        calls = len(org.crm.senders)
        await off_loop(postgres.start)
        assert await finish(url, orgs, workers, tmp_path) == ["killed", "None"]
        assert calls < len(org.crm.senders)
