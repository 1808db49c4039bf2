"""Machines of a cluster that freeze and wake up: what they had is driven by others by then."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bulklink import Op
from bulklink.cluster.database import Database
from tests.cluster.agreement import check_org
from tests.cluster.worked_cluster import (
    cluster_worker,
    serve_cluster_orgs,
)
from tests.crash.worked_orgs import CONTACTS

pytestmark = pytest.mark.timeout(120)


async def test_a_frozen_machine_sends_nothing_after_its_successor(
    url: str, database: Database, tmp_path: Path
) -> None:
    async with (
        serve_cluster_orgs(url, [(Op.LINK,), (Op.RELINK,)], tmp_path / "runs") as orgs,
        AsyncExitStack() as stack,
    ):
        orgs.gate.close_after(CONTACTS // 2)
        frozen = await stack.enter_async_context(cluster_worker(url, state=tmp_path / "frozen"))
        await orgs.gate.reached.wait()
        frozen.signal_all(signal.SIGSTOP)
        orgs.gate.open()
        second = await stack.enter_async_context(
            cluster_worker(url, "--drain", state=tmp_path / "second")
        )
        result = await second.result()
        frozen.signal_all(signal.SIGCONT)
        print(frozen.log, second.log, result)
        for org in orgs.orgs:
            records = await check_org(url, org, tmp_path / "pulled")
        await frozen.reports("xx")
