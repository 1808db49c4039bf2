"""Workers and runs that are stopped: gently, by a person, or for a reason of the org."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from bulklink import Op
from bulklink.cluster.database import Database
from bulklink.cluster.runs import RunTable
from bulklink.errors import ExitCode, StoppedBy
from bulklink.runs.folder import RunFolder
from bulklink.task_group import task_group
from tests.cluster.agreement import check_org
from tests.cluster.conftest import TIMEOUT
from tests.cluster.fake_drivers import FakeDrivers, add_runs, named_in, real_queues, work
from tests.cluster.worked_cluster import (
    DrivingChild,
    cluster_worker,
    find_run,
    pull_run,
    serve_cluster_orgs,
)
from tests.crash.worked_orgs import CONTACTS
from tests.guard import off_loop

pytestmark = pytest.mark.timeout(TIMEOUT)


async def test_a_stopped_worker_hands_its_runs_to_another(url: str, tmp_path: Path) -> None:
    async with (
        serve_cluster_orgs(url, [(Op.RELINK,)], tmp_path / "runs") as orgs,
        AsyncExitStack() as stack,
    ):
        first, second, third = [
            await stack.enter_async_context(
                cluster_worker(url, state=tmp_path / f"machine{number}")
            )
            for number in range(3)
        ]
        orgs.gate.close_after(CONTACTS // 3)
        await orgs.gate.reached.wait()
        workers = [first, second, third]
        busy = next(worker for worker in workers if worker.drivers())
        workers.remove(busy)
        busy.process.terminate()
        orgs.gate.open()
        result = await busy.result()
        assert (result["exit_code"], result["stopped_by"]) == (ExitCode.TERMINATED, "terminated")

        # The machine of another one is shut down: its driver stops gently, the worker is killed.
        orgs.gate.close_after(CONTACTS // 3)
        await orgs.gate.reached.wait()
        busy = next(worker for worker in workers if worker.drivers())
        workers.remove(busy)
        (driver,) = busy.drivers()
        busy.process.kill()
        os.kill(driver, signal.SIGTERM)
        orgs.gate.open()
        (last,) = workers
        await last.reports("org0-relink: started, ")
        await last.reports("org0-relink: finished.")
        (org,) = orgs.orgs
        (record,) = await check_org(url, org, tmp_path / "pulled")
        stops = [invocation.stopped_by for invocation in record.invocations]
        assert stops == ["terminated", "terminated", None]


async def test_a_run_is_cancelled_while_it_is_sent_and_the_next_one_follows(
    url: str, database: Database, tmp_path: Path
) -> None:
    ops = [(Op.LINK, Op.UNLINK)]
    async with serve_cluster_orgs(url, ops, tmp_path / "runs") as orgs, task_group() as group:
        (org,) = orgs.orgs
        children: list[DrivingChild] = []
        stopped = anyio.Event()

        async def start(command: Sequence[str]) -> DrivingChild:
            child = DrivingChild(url, org, *named_in(command), tmp_path / str(len(children)))
            child.controller.on_stop(stopped.set)
            children.append(child)
            return child

        async def work_on() -> None:
            async with real_queues(url, 1) as queues:
                (result,) = await work(url, start, queues, slots=1, profiles=["org0"])
            assert (result.finished, result.left) == (1, ())

        orgs.gate.close_after(CONTACTS // 2)
        group.start_soon(work_on)
        await orgs.gate.reached.wait()
        run = await find_run(url, "org0-link")
        assert await off_loop(RunTable(database).cancel, run.run) == "running"
        await stopped.wait()
        orgs.gate.open()
    cancelled, finished = await find_run(url, "org0-link"), await find_run(url, "org0-unlink")
    assert (cancelled.state, finished.state) == ("cancelled", "finished")
    folder = RunFolder(await pull_run(url, "org0-link", tmp_path / "pulled"))
    assert folder.read().stopped_by == "terminated"
    assert len(org.crm.senders) < CONTACTS + CONTACTS


@pytest.mark.parametrize(
    ("stopped_by", "is_of_the_org"),
    [(StoppedBy.MAX_FAILURES, False), (StoppedBy.FATAL, True), (StoppedBy.NO_ANSWER, True)],
)
async def test_a_run_that_was_left_to_a_person_holds_its_org_only_for_a_reason_of_the_org(
    stopped_by: StoppedBy, is_of_the_org: bool, url: str, database: Database
) -> None:
    await add_runs(database, orgs=2, runs=2)
    drivers = FakeDrivers(url, calls=1, stopped_by={"run0-0": stopped_by})
    async with real_queues(url, 1) as queues:
        (result,) = await work(url, drivers.start, queues, slots=2)
    assert result.left == ("run0-0",)
    states = {run.name: run.state for run in await off_loop(RunTable(database).all)}
    later = "queued" if is_of_the_org else "finished"
    assert states == {
        "run0-0": "left",
        "run1-0": "finished",
        "run0-1": later,
        "run1-1": "finished",
    }
