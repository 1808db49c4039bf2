"""Machines and drivers of a cluster that freeze and wake up: others have their runs by then."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bulklink import Op
from tests.cluster.agreement import check_org
from tests.cluster.conftest import FACTOR, TIMEOUT
from tests.cluster.worked_cluster import cluster_worker, serve_cluster_orgs
from tests.crash.worked_orgs import CONTACTS, CONTINUE, SUSPEND, GatedCrm

pytestmark = pytest.mark.timeout(TIMEOUT)


async def test_a_machine_that_wakes_up_sends_nothing_after_its_successor(
    url: str, tmp_path: Path
) -> None:
    async with (
        serve_cluster_orgs(url, [(Op.RELINK,)], tmp_path / "runs") as orgs,
        AsyncExitStack() as stack,
    ):
        orgs.gate.close_after(CONTACTS // 2)
        frozen = await stack.enter_async_context(
            cluster_worker(url, "--drain", state=tmp_path / "frozen")
        )
        # A request that a frozen driver is just writing leaves when it wakes up.
        await orgs.gate.filled.wait()
        frozen.signal_all(SUSPEND)
        orgs.gate.open()
        second = await stack.enter_async_context(
            cluster_worker(url, "--drain", state=tmp_path / "second")
        )
        await second.reports("its process died; it is started again at once.")
        orgs.gate.close_after(CONTACTS // 2)
        await orgs.gate.reached.wait()
        frozen.signal_all(CONTINUE)
        orgs.gate.open()
        assert (await second.result())["left"] == []
        assert (await frozen.result())["left"] == []
        (org,) = orgs.orgs
        (record,) = await check_org(url, org, tmp_path / "pulled")
        assert [i.stopped_by for i in record.invocations] == ["killed", None]
        assert len(set(org.crm.senders)) == 2
        assert _count_changes(org.crm) == 1, "a call of the frozen driver came too late"


@pytest.mark.skipif(FACTOR < 1, reason="make soak: test_partitions freezes a driver too")
async def test_a_frozen_driver_is_killed_and_its_run_is_continued(url: str, tmp_path: Path) -> None:
    async with serve_cluster_orgs(url, [(Op.UNLINK,)], tmp_path / "runs") as orgs:
        orgs.gate.close_after(CONTACTS // 2)
        async with cluster_worker(url, "--drain") as worker:
            await orgs.gate.reached.wait()
            (driver,) = worker.drivers()
            os.kill(driver, SUSPEND)
            orgs.gate.open()
            await worker.reports("its driver kept on after its lease; it is killed.")
            assert (await worker.result())["finished"] == 1
        (org,) = orgs.orgs
        (record,) = await check_org(url, org, tmp_path / "pulled")
        assert [i.stopped_by for i in record.invocations] == ["killed", None]


def _count_changes(crm: GatedCrm) -> int:
    """Return how often the calls of one machine were followed by those of another."""
    return sum(one != other for one, other in zip(crm.senders, crm.senders[1:], strict=False))
