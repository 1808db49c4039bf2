"""Runs of several orgs in a cluster, from submission to the pulled folder."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bulklink import Op
from bulklink.operations.check import check_run
from bulklink.runs.folder import RunFolder
from tests.cluster.worked_cluster import (
    cluster_worker,
    find_run,
    pull_run,
    serve_cluster_orgs,
)
from tests.crash.agreement import compare_with_the_crm, read_lines
from tests.crash.worked_orgs import KILL
from tests.guard import off_loop

pytestmark = pytest.mark.timeout(120)


async def test_runs_of_several_orgs_are_sent_and_pulled(url: str, tmp_path: Path) -> None:
    ops = [(Op.LINK, Op.RELINK), (Op.UNLINK,)]
    async with serve_cluster_orgs(url, ops, tmp_path / "runs") as orgs:
        async with cluster_worker(url, "--drain") as worker:
            result = await worker.result()
        assert (result["finished"], result["left"], result["exit_code"]) == (3, [], 0), worker.log
        for org in orgs.orgs:
            for name, op in org.runs.items():
                pulled = await pull_run(url, name, tmp_path / "pulled" / name)
                lines = read_lines(RunFolder(pulled).ledger)
                rows = await off_loop(compare_with_the_crm, op, lines, org.crm.url)
                checked = await off_loop(check_run, pulled)
                assert checked.ok, checked
                assert rows == RunFolder(pulled).read().rows


async def test_another_worker_continues_the_run_of_one_that_dies(url: str, tmp_path: Path) -> None:
    async with (
        serve_cluster_orgs(url, [(Op.LINK,)], tmp_path / "runs") as orgs,
        AsyncExitStack() as stack,
    ):
        (org,) = orgs.orgs
        orgs.gate.close_after(10)
        first = await stack.enter_async_context(cluster_worker(url, state=tmp_path / "first"))
        await orgs.gate.reached.wait()
        second = await stack.enter_async_context(
            cluster_worker(url, "--drain", state=tmp_path / "second")
        )
        first.signal_all(KILL)
        orgs.gate.open()
        await second.reports("org0-link: its process died; it is started again at once.")
        await second.reports("org0-link: started")
        result = await second.result()
        assert result["finished"] == 1, second.log
        assert (await find_run(url, "org0-link")).state == "finished"
        pulled = await pull_run(url, "org0-link", tmp_path / "pulled")
        lines = read_lines(RunFolder(pulled).ledger)
        assert await off_loop(compare_with_the_crm, Op.LINK, lines, org.crm.url)
        assert org.crm.state.answered_429 == 0
        first_invocation, last = RunFolder(pulled).read().invocations
        assert (first_invocation.stopped_by, last.stopped_by) == ("killed", None)
