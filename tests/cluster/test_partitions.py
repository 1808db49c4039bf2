"""Workers that lose the database and not the CRM: their drivers stop, and others continue."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulklink import Op
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.segments import UNSHIPPED
from bulklink.errors import StoppedBy
from bulklink.runs.folder import RunFolder
from bulklink.task_group import task_group
from tests.cluster.agreement import check_org
from tests.cluster.conftest import TIMEOUT
from tests.cluster.postgres import PostgresServer
from tests.cluster.proxy import DatabaseProxy, database_proxy
from tests.cluster.single_runs import EXPIRE, LeasedRun
from tests.cluster.worked_cluster import (
    cluster_worker,
    drive_run,
    find_run,
    serve_cluster_orgs,
    submit_run,
)
from tests.crash.agreement import read_lines
from tests.crash.worked_orgs import CONTACTS, SUSPEND
from tests.guard import off_loop

pytestmark = pytest.mark.timeout(TIMEOUT)


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[DatabaseProxy]:
    """Serve a proxy of the database server."""
    async with database_proxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def far_url(url: str, postgres: PostgresServer, proxy: DatabaseProxy) -> str:
    """Return the address of the database by way of the proxy."""
    return postgres.url_of(url.rpartition("/")[2], proxy.port)


async def test_another_worker_continues_the_run_of_one_that_is_cut_off(
    url: str, far_url: str, proxy: DatabaseProxy, tmp_path: Path
) -> None:
    async with (
        serve_cluster_orgs(url, [(Op.RELINK,)], tmp_path / "runs") as orgs,
        cluster_worker(far_url, "--drain", state=tmp_path / "far") as far,
    ):
        orgs.gate.close_after(CONTACTS // 2)
        await orgs.gate.reached.wait()
        (driver,) = far.drivers()
        async with cluster_worker(url, "--drain", state=tmp_path / "near") as near:
            proxy.cut()
            os.kill(driver, SUSPEND)
            orgs.gate.open()
            await near.reports("its process died; it is started again at once.")
            assert (await near.result())["finished"] == 1
        # Although the database is silent.
        await far.reports("its driver kept on after its lease; it is killed.")
        proxy.restore()
        assert (await far.result())["left"] == []
        assert "The database can be used again." in far.log
        assert not [line for line in far.log if "Traceback" in line or "exception" in line]
        (org,) = orgs.orgs
        (record,) = await check_org(url, org, tmp_path / "pulled")
        assert [i.stopped_by for i in record.invocations] == ["killed", None]
        assert len(set(org.crm.senders)) == 2


async def test_what_a_driver_cannot_commit_stays_on_its_machine(
    url: str, far_url: str, proxy: DatabaseProxy, database: ClusterDatabase, tmp_path: Path
) -> None:
    async with serve_cluster_orgs(url, [(Op.LINK,)], tmp_path / "runs") as orgs:
        (org,) = orgs.orgs
        orgs.gate.close_after(CONTACTS // 2)
        results = []
        async with task_group() as group:

            async def drive_far() -> None:
                results.append(await drive_run(far_url, org, "org0-link", tmp_path / "far"))

            group.start_soon(drive_far)
            await orgs.gate.reached.wait()
            proxy.cut()
            orgs.gate.open()
        (stopped,) = results
        assert stopped.stopped_by in (StoppedBy.LEASE, StoppedBy.LEDGER)
        calls = org.crm.state.calls.total()
        (unshipped,) = (tmp_path / "far").rglob(UNSHIPPED)
        assert "result" in {line["event"] for line in read_lines(unshipped)}
        await off_loop(database.query, EXPIRE)
        await off_loop(database.query, "UPDATE run SET state = 'queued'")
        finished = await drive_run(url, org, "org0-link", tmp_path / "near")
        assert finished.state == "finished"
        assert org.crm.state.calls.total() > calls
        await check_org(url, org, tmp_path / "pulled")


async def test_commits_whose_answers_are_lost_are_in_the_ledger_once(
    url: str, far_url: str, proxy: DatabaseProxy, tmp_path: Path
) -> None:
    async with serve_cluster_orgs(url, [(Op.RELINK,)], tmp_path / "runs") as orgs:
        (org,) = orgs.orgs
        results = []

        async def drive_far() -> None:
            results.append(await drive_run(far_url, org, "org0-relink", tmp_path / "far"))

        async with task_group() as group:
            group.start_soon(drive_far)
            for _ in range(3):
                orgs.gate.close_after(CONTACTS // 4)
                await orgs.gate.reached.wait()
                caught = proxy.catch(b"{ledger", forwards=True)
                orgs.gate.open()
                await caught.caught.wait()
                proxy.break_all()
        assert results[0].state == "finished"
        (record,) = await check_org(url, org, tmp_path / "pulled")
        assert len(record.invocations) == 1


async def test_a_submission_holds_no_lock_while_it_copies_the_plan(
    url: str, far_url: str, proxy: DatabaseProxy, database: ClusterDatabase, tmp_path: Path
) -> None:
    async with serve_cluster_orgs(url, [(Op.LINK,)], tmp_path / "runs") as orgs:
        (org,) = orgs.orgs
        run = await find_run(url, "org0-link")
        driver = LeasedRun(run.run, run.org_key, "driver")
        taken = await off_loop(driver.take, database)
        assert taken is not None
        sealed = await org.seal(tmp_path / "runs", Op.UNLINK)
        caught = proxy.catch(RunFolder(sealed[0]).plan.name.encode(), forwards=True)
        async with task_group() as group:
            group.start_soon(submit_run, far_url, (), org, *sealed)
            await caught.caught.wait()
            assert await off_loop(driver.leases(database).renew, taken.lease) is not None
            caught.released.set()
