"""Orgs with runs in a cluster, each with a CRM in this process, and workers in others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import msgspec
import orjson

from bulklink import Op, RunCallbacks, StopController
from bulklink.cluster.driving import drive
from bulklink.cluster.pulling import pull
from bulklink.cluster.runs import ClusterRun, RunTable
from bulklink.cluster.submitting import submit
from bulklink.engine.signal import Signal
from bulklink.errors import BulklinkError, StoppedBy
from bulklink.operations.environment import real_environment
from bulklink.runs.status import RunResult
from bulklink.worker.verdict import Ended
from tests.cluster.conftest import TIMING
from tests.cluster.single_runs import open_url
from tests.crash.worked_orgs import KILL, Orgs, WorkedOrg, serve_orgs
from tests.guard import off_loop


async def submit_run(
    url: str, options: Sequence[str], org: WorkedOrg, run_dir: Path, digest: str
) -> None:
    """Submit a sealed run to a cluster, with the profile of its org."""
    database = open_url(url)
    (submitted,) = await submit(
        [run_dir],
        org.connection,
        database=database,
        expect=digest,
        request=None,
        profile=org.name,
        options=options,
        approved_by="tests",
        yes=True,
        expect_org=None,
        callbacks=RunCallbacks(),
        stop=StopController(),
        environment=real_environment(),
    )
    assert submitted.is_new
    await off_loop(database.close)


def serve_cluster_orgs(
    url: str,
    ops_by_org: Sequence[Sequence[Op]],
    runs_dir: Path,
    options: Sequence[str] = (),
) -> AbstractAsyncContextManager[Orgs]:
    """Serve orgs whose runs are submitted to a cluster in turn; see `serve_orgs`.

    Args:
        url: address of the database.
        ops_by_org: ops of the runs of each org.
        runs_dir: folder of the sealed runs.
        options: words of the command line that set options of sending.
    """
    return serve_orgs(ops_by_org, runs_dir, approve=partial(submit_run, url, options))


async def pull_run(url: str, name: str, folder: Path) -> Path:
    """Write the folder of a run of a cluster."""
    database = open_url(url)
    try:
        runs = await off_loop(RunTable(database).find, name)
        return await off_loop(pull, database, runs, folder)
    finally:
        await off_loop(database.close)


async def find_run(url: str, name: str) -> ClusterRun:
    """Return a run of a cluster by its name."""
    database = open_url(url)
    try:
        (run,) = await off_loop(RunTable(database).find, name)
        return run
    finally:
        await off_loop(database.close)


async def drive_run(url: str, org: WorkedOrg, name: str, folder: Path) -> RunResult:
    """Give a queued run to a driver in this process, and let it send what is left.

    Args:
        url: address of the database, for the driver.
        org: its org.
        name: name of the run.
        folder: folder in which it is driven.
    """
    run, driver = (await find_run(url, name)).run, folder.name
    database = open_url(url)
    assert await off_loop(RunTable(database).assign, run, driver)
    await off_loop(database.close)
    return await DrivingChild(url, org, run, driver, folder).drive()


@dataclass(frozen=True, slots=True)
class DrivingChild:
    """A driver in this process, as a child of a worker.

    Args:
        url: address of the database.
        org: org of the run.
        run: id of the run.
        name: name of the driver, which has the run.
        folder: folder in which it is driven.
        controller: stops it.
    """

    url: str
    org: WorkedOrg
    run: UUID
    name: str
    folder: Path
    controller: StopController = field(default_factory=StopController)

    async def drive(self) -> RunResult:
        """Drive the run."""
        database = open_url(self.url)
        try:
            return await drive(
                self.run,
                self.name,
                self.org.connection,
                database=database,
                timing=TIMING,
                work_folder=self.folder,
                options={"yes": True},
                callbacks=RunCallbacks(),
                stop=self.controller,
                environment=msgspec.structs.replace(
                    real_environment(), org_locks=None, org_shares=None, token_store=None
                ),
            )
        finally:
            await off_loop(database.close)

    async def wait(self) -> Ended:
        """Drive the run, and return how that ended."""
        try:
            result = await self.drive()
        except BulklinkError as error:
            return Ended(error.exit_code, code=error.code, message=error.message)
        return Ended(result.exit_code or 0)

    def stop(self) -> None:
        """Stop it gently."""
        self.controller.interrupt(StoppedBy.TERMINATED)

    def kill(self) -> None:
        raise AssertionError("it lost its lease")


@dataclass(slots=True)
class ClusterWorker:
    """A worker of a cluster in a process of its own, as on a machine of its own.

    Args:
        process: its process.
        log: what it reported so far.
    """

    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)
    _read: int = 0
    _changed: Signal = field(default_factory=Signal)

    def signal_all(self, number: int) -> None:
        """Send a signal to the worker and to its drivers, as if to their machine."""
        for pid in (self.process.pid, *self.drivers()):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def drivers(self) -> list[int]:
        """Return the processes that drive its runs."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with suppress(OSError):
            return list(map(int, path.read_text().split()))
        return []

    async def is_idle(self) -> None:
        """Wait until none of its drivers is left."""
        for pid in self.drivers():
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)  # type: ignore[attr-defined,unused-ignore]
                try:
                    await anyio.wait_readable(pidfd)
                finally:
                    os.close(pidfd)

    async def read_log(self) -> None:
        """Read what it reports until it ends."""
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.log.append(line.rstrip("\n"))
            self._changed.notify()
        self.log.append("(ended)")
        self._changed.notify()

    async def reports(self, event: str) -> None:
        """Wait until it reports an event that contains a text, after those waited for before."""
        while True:
            while self._read < len(self.log):
                self._read += 1
                if event in self.log[self._read - 1]:
                    return
            assert "(ended)" not in self.log, self.log
            await self._changed.wait()

    async def result(self) -> dict[str, Any]:
        """Wait until it has ended, and return what it did."""
        assert self.process.stdout is not None
        output = await self.process.stdout.read()
        await self.process.wait()
        assert output, self.log
        result: dict[str, Any] = orjson.loads(output)
        return result


@asynccontextmanager
async def cluster_worker(
    url: str, *options: str, slots: int = 4, state: Path | None = None
) -> AsyncIterator[ClusterWorker]:
    """Start a worker; kill it and its drivers if they still run at the end.

    Args:
        url: address of the database.
        options: more options of `bulklink cluster worker`.
        slots: runs that it sends at the same time.
        state: its state folder, if it is on another machine.
    """
    environment = os.environ | {"BULKLINK_CLUSTER_URL": url}
    if state is not None:
        environment["XDG_STATE_HOME"] = str(state)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "bulklink", "cluster", "worker", "--slots", str(slots)),
        *("--json", *options),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    started = ClusterWorker(process)
    reading = asyncio.create_task(started.read_log())
    try:
        yield started
    finally:
        started.signal_all(KILL)
        await process.wait()
        await reading
