"""Credits of an org in a cluster: no takeover forgets what was spent."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bulklink import Op
from bulklink.cluster.database import ClusterDatabase
from tests.cluster.agreement import check_org
from tests.cluster.conftest import TIMEOUT
from tests.cluster.worked_cluster import cluster_worker, find_run, serve_cluster_orgs
from tests.crash.worked_orgs import CONTACTS, WorkedOrg, kill_child
from tests.guard import off_loop

CREDITS = 3 * CONTACTS // 4

pytestmark = pytest.mark.timeout(TIMEOUT)


async def test_a_takeover_does_not_forget_what_was_spent(
    url: str, database: ClusterDatabase, tmp_path: Path
) -> None:
    options = ("--credits-per-day", str(CREDITS))
    async with (
        serve_cluster_orgs(url, [(Op.LINK,)], tmp_path / "runs", options) as orgs,
        AsyncExitStack() as stack,
    ):
        (org,) = orgs.orgs
        orgs.gate.close_after(CREDITS // 3)
        first, second, third = [
            await stack.enter_async_context(
                cluster_worker(url, "--drain", state=tmp_path / f"machine{number}")
            )
            for number in range(3)
        ]
        await orgs.gate.reached.wait()
        busy = next(worker for worker in (first, second, third) if worker.drivers())
        kill_child(*busy.drivers())
        orgs.gate.open()
        await busy.reports("its process died; it is started again at once.")
        await busy.reports("org0-link waits for credits; ")
        run = await find_run(url, "org0-link")
        assert (run.state, run.left_code) == ("queued", None)
        assert run.not_before is not None
        assert run.not_before > run.now + 3600, "it waits for the credits of a day"
        assert _spent(org) <= CREDITS

        await off_loop(database.query, "UPDATE spent SET minute = minute - 1441")  # a day later
        await off_loop(database.query, "UPDATE run SET not_before = clock_timestamp()")
        results = [await worker.result() for worker in (first, second, third)]
        assert sum(result["finished"] for result in results) == 1
        assert CREDITS < _spent(org) <= 2 * CREDITS
        await check_org(url, org, tmp_path / "pulled")


def _spent(org: WorkedOrg) -> int:
    return sum(count for kind, count in org.crm.state.calls.items() if kind != "token")
