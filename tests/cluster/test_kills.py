"""Drivers and workers of a cluster killed at random calls: nothing is lost or sent blindly."""

from __future__ import annotations

import os
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bulklink import Op
from tests.cluster.agreement import check_org
from tests.cluster.conftest import TIMEOUT
from tests.cluster.worked_cluster import ClusterWorker, cluster_worker, serve_cluster_orgs
from tests.crash.worked_orgs import CONTACTS, kill_child

SCENARIOS = max(1, int(os.environ.get("BULKLINK_TEST_KILLS", "2")) // 2)
_VICTIMS = ("driver", "worker", "both")
_CALLS = 4 * CONTACTS
"""Fewer calls than all runs make; a relink makes two for each contact."""

pytestmark = pytest.mark.timeout(TIMEOUT)


@pytest.mark.parametrize("number", range(SCENARIOS))
async def test_runs_survive_kills_of_drivers_and_workers(
    number: int, url: str, tmp_path: Path
) -> None:
    rng = random.Random(number + time.time_ns())
    ops = [(Op.LINK, Op.UNLINK), (Op.RELINK,)]
    async with serve_cluster_orgs(url, ops, tmp_path / "runs") as orgs, AsyncExitStack() as stack:
        machines = iter(range(99))

        async def start_worker() -> ClusterWorker:
            state = tmp_path / f"machine{next(machines)}"
            return await stack.enter_async_context(cluster_worker(url, "--drain", state=state))

        workers = [await start_worker() for _ in range(3)]
        orphans: list[int] = []
        for victim in rng.sample(_VICTIMS, len(_VICTIMS)):
            orgs.gate.close_after(rng.randint(1, _CALLS // 3))
            await orgs.gate.reached.wait()
            busy = rng.choice([worker for worker in workers if worker.drivers()] or workers)
            drivers = busy.drivers() or orphans
            if victim != "worker":
                kill_child(rng.choice(drivers))
            if victim != "driver":
                workers.remove(busy)
                workers.append(await start_worker())
                busy.process.kill()
                orphans = drivers
            orgs.gate.open()
        results = [await worker.result() for worker in workers]
        assert [result["left"] for result in results] == [[], [], []], workers
        for org in orgs.orgs:
            await check_org(url, org, tmp_path / "pulled")
