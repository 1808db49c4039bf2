"""A database from an old backup has forgotten calls: its runs are left to a person."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from bulklink import Op
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.lease import Lease, Moment
from bulklink.cluster.runs import RunTable
from bulklink.cluster.seen_epochs import check_epoch
from bulklink.errors import ExitCode, LedgerError
from tests.cluster.worked_cluster import cluster_worker, find_run, serve_cluster_orgs
from tests.guard import off_loop

pytestmark = pytest.mark.timeout(120)
CLUSTER = uuid4()


def lease(epoch: int) -> Lease:
    return Lease(epoch, Moment(0.0, 0.0), 30.0, 5.0)


def test_epochs_of_an_org_only_grow(tmp_path: Path) -> None:
    check_epoch(tmp_path / "new", CLUSTER, "org", "run", lease(1))
    check_epoch(tmp_path / "new", CLUSTER, "org", "run", lease(3))
    check_epoch(tmp_path / "new", CLUSTER, "another org", "run", lease(1))
    check_epoch(tmp_path / "new", uuid4(), "org", "run", lease(1))
    check_epoch(tmp_path / "another machine", CLUSTER, "org", "run", lease(1))
    for epoch in (1, 3):
        with pytest.raises(LedgerError, match=f"it gave the org epoch {epoch}, and this"):
            check_epoch(tmp_path / "new", CLUSTER, "org", "run", lease(epoch))
    check_epoch(tmp_path / "new", CLUSTER, "org", "run", lease(4))


async def test_a_run_of_a_restored_database_goes_on_only_once_a_person_accepts_it(
    url: str, database: ClusterDatabase, tmp_path: Path
) -> None:
    ops = [(Op.LINK, Op.UNLINK)]
    async with serve_cluster_orgs(url, ops, tmp_path / "runs") as orgs:
        async with cluster_worker(url, "--drain") as worker:
            await worker.reports("org0-link: finished.")
            worker.process.terminate()
            await worker.result()
        await off_loop(database.query, "UPDATE org SET epoch = 0")
        async with cluster_worker(url, "--drain") as worker:
            result = await worker.result()
        assert (result["left"], result["exit_code"]) == (["org0-unlink"], ExitCode.STOPPED)
        run = await find_run(url, "org0-unlink")
        assert run.left_code == "ledger"
        assert "restored from an old backup" in (run.left_message or "")
        table = RunTable(database)
        await off_loop(table.skip_epochs, run.run)
        assert await off_loop(table.give_back, run.run, accept_canary=False)
        async with cluster_worker(url, "--drain") as worker:
            assert (await worker.result())["finished"] == 1, worker.log
        assert len(orgs.orgs[0].runs) == 2
