"""Workers and runs that are stopped: gently, by a person, or for a reason of the org."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from bulklink import Op
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.runs import RunTable
from bulklink.errors import StoppedBy
from bulklink.runs.folder import RunFolder
from bulklink.task_group import task_group
from tests.cluster.agreement import check_org
from tests.cluster.conftest import TIMEOUT
from tests.cluster.fake_drivers import FakeDrivers, add_runs, named_in, real_queues, record_of, work
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
        cluster_worker(url, state=tmp_path / "first") as first,
    ):
        orgs.gate.close_after(CONTACTS // 3)
        await orgs.gate.reached.wait()
        async with cluster_worker(url, "--drain", state=tmp_path / "second") as second:
            first.process.terminate()
            orgs.gate.open()
            result = await first.result()
            assert (result["exit_code"], result["stopped_by"]) == (143, "terminated"), first.log
            assert (await second.result())["finished"] == 1, second.log
        (org,) = orgs.orgs
        (record,) = await check_org(url, org, tmp_path / "pulled")
        assert [i.stopped_by for i in record.invocations] == ["terminated", None]


async def test_a_run_that_stopped_with_its_machine_is_continued(
    url: str, database: ClusterDatabase
) -> None:
    await add_runs(database, orgs=1, runs=1)
    stopped = {"record": record_of(StoppedBy.TERMINATED)}
    lost = "UPDATE run SET state = 'running', driver = 'gone', started_at = '2026-01-01'"
    await off_loop(database.query, f"{lost}, record = %(record)s", stopped)
    async with real_queues(url, 1) as queues:
        (result,) = await work(url, FakeDrivers(url, calls=1).start, queues, slots=1)
    assert (result.finished, result.left) == (1, ())


async def test_a_run_is_cancelled_while_it_is_sent_and_the_next_one_follows(
    url: str, database: ClusterDatabase, tmp_path: Path
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
    stopped_by: StoppedBy, is_of_the_org: bool, url: str, database: ClusterDatabase
) -> None:
    await add_runs(database, orgs=2, runs=2)
    drivers = FakeDrivers(url, calls=1, records={"run0-0": record_of(stopped_by)})
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


async def test_a_run_whose_record_cannot_be_read_is_left_to_a_person(
    url: str, database: ClusterDatabase
) -> None:
    await add_runs(database, orgs=1, runs=2)
    drivers = FakeDrivers(url, calls=1, records={"run0-0": b"of a later version"})
    async with real_queues(url, 1) as queues:
        (result,) = await work(url, drivers.start, queues, slots=1)
    assert (result.finished, result.left) == (1, ("run0-0",))
