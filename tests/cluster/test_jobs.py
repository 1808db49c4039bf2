"""Jobs of several shards in a cluster: sent in order, held by one that stopped, pulled whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer

from bulklink import Connection, Job, MaxFailures, Op, RunCallbacks, StopController, merge, plan
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.overview import cluster_overview
from bulklink.cluster.pulling import pull
from bulklink.cluster.runs import RunTable
from bulklink.cluster.submitting import Submitted, submit
from bulklink.emulator.crm import Crm
from bulklink.emulator.server import create_app
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.errors import ExitCode
from bulklink.operations.environment import real_environment
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord
from tests.cluster.conftest import TIMING
from tests.cluster.worked_cluster import cluster_worker
from tests.crash.worked_orgs import save_profile
from tests.e2e.command import rows
from tests.e2e.world import UNKNOWN_ID, World
from tests.guard import off_loop

CONTACTS, SHARDS = 12, 3


@asynccontextmanager
async def served(world: World) -> AsyncIterator[Connection]:
    """Serve a world, with a profile `org`, and yield the connection."""
    crm = Crm(parse_world(world.as_file()), Settings())
    async with TestServer(create_app(crm)) as server:
        url = str(server.make_url("")).rstrip("/")
        save_profile("org", url)
        yield Connection.from_values(
            api_url=url,
            accounts_url=url,
            client_id="demo",
            client_secret="demo",
            refresh_token="demo",
        )


def seal(mapping: list[dict[str, str]], folder: Path, shards: int = SHARDS, **options: Any) -> None:
    """Seal a mapping as a job of some shards."""
    job = Job(mappings=mapping, op=Op.LINK, run_dir=folder, batch_size=2, **options)
    plan(job, shards=shards)


async def submit_job(database: ClusterDatabase, connection: Connection, folder: Path) -> Submitted:
    """Submit a job."""
    (submitted,) = await submit(
        [folder],
        connection,
        database=database,
        expect=None,
        request=None,
        profile="org",
        options=(),
        approved_by="tests",
        yes=True,
        expect_org=None,
        callbacks=RunCallbacks(),
        stop=StopController(),
        environment=real_environment(),
    )
    return submitted


async def test_a_job_is_sent_shard_after_shard_and_pulled_whole(
    url: str, database: ClusterDatabase, tmp_path: Path
) -> None:
    world, folder = World(), tmp_path / "job"
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    mapping = [line for contact in contacts for line in rows(contact.free, contact.a)]
    refused = {**mapping[0], "message_id": "not an id"}
    async with served(world) as connection:
        await off_loop(partial(seal, [*mapping, refused], folder, canary=5, on_invalid="skip"))
        submitted = await submit_job(database, connection, folder)
        again = await submit_job(database, connection, folder)
        assert (submitted.is_new, again.is_new) == (True, False)
        assert [run.run for run in again.runs] == [run.run for run in submitted.runs]
        async with cluster_worker(url, "--drain") as worker:
            result = await worker.result()
    assert (result["finished"], result["exit_code"]) == (
        SHARDS,
        ExitCode.ROWS_NOT_DONE,
    ), worker.log
    runs = await off_loop(RunTable(database).find, "job")
    assert [run.name for run in runs] == [f"job-shard-{number}" for number in (1, 2, 3)]
    await off_loop(pull, database, runs, tmp_path / "pulled")
    merged = await off_loop(merge, tmp_path / "pulled")
    assert (merged.faults, merged.counts["done"]) == ((), len(mapping))
    assert merged.counts["rejected"] == 1
    assert b"not an id" in (folder / "rejects.csv").read_bytes()
    assert files_of(tmp_path / "pulled", "rejects.csv") == files_of(folder, "rejects.csv")


async def test_shards_of_which_nothing_is_sent_are_in_the_job_too(
    url: str, database: ClusterDatabase, tmp_path: Path
) -> None:
    world, folder = World(), tmp_path / "job"
    contacts = [world.add(free=1) for _ in range(2 * CONTACTS)]
    mapping = [
        {**line, "message_id": "not an id"} if number >= CONTACTS else line
        for number, contact in enumerate(contacts)
        for line in rows(contact.free, contact.a)
    ]
    async with served(world) as connection:
        await off_loop(partial(seal, mapping, folder, CONTACTS, on_invalid="skip"))
        empty = [run for run in map(read_record, folder.glob("shard-*")) if not run.messages]
        assert len({run.digest for run in empty}) < len(empty)
        await submit_job(database, connection, folder)
        async with cluster_worker(url, "--drain") as worker:
            assert (await worker.result())["left"] == [], "\n".join(worker.log)
    runs = await off_loop(RunTable(database).find, "job")
    await off_loop(pull, database, runs, tmp_path / "pulled")
    merged = await off_loop(merge, tmp_path / "pulled")
    assert (merged.faults, merged.state) == ((), "finished")
    assert merged.counts["done"] == CONTACTS


def read_record(folder: Path) -> RunRecord:
    return RunFolder(folder).read()


def files_of(folder: Path, name: str) -> dict[str, bytes]:
    """Return the contents of all files of that name below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(name)}


async def test_a_shard_that_is_left_to_a_person_holds_the_later_ones(
    url: str, database: ClusterDatabase, tmp_path: Path
) -> None:
    world, folder = World(), tmp_path / "job"
    contacts = [world.add(free=3) for _ in range(CONTACTS)]
    mapping = [line for contact in contacts for line in rows(contact.free, UNKNOWN_ID)]
    async with served(world) as connection:
        await off_loop(seal, mapping, folder, canary=0, max_failures=MaxFailures(count=1))
        await submit_job(database, connection, folder)
        async with cluster_worker(url, "--drain") as worker:
            result = await worker.result()
        assert (result["left"], result["exit_code"]) == (["job-shard-1"], ExitCode.STOPPED)
        overview = await off_loop(cluster_overview, database, TIMING)
        assert [run.state for run in overview.runs] == ["left", "behind", "behind"]
        assert {run.behind for run in overview.runs} == {None, "job-shard-1"}
