"""A driver: the process that sends one run while it has the lease of the org."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import anyio
import msgspec
import psycopg

from bulklink.cluster.clocks import DatabaseClock
from bulklink.cluster.database import ClusterDatabase, call_in_thread, database_errors
from bulklink.cluster.holding import LeaseHolder
from bulklink.cluster.lease import LeaseOverError, lease_error
from bulklink.cluster.leases import OrgLeases, TakenLease
from bulklink.cluster.parcels import unpack
from bulklink.cluster.runs import ClusterRun, RunTable
from bulklink.cluster.seen_epochs import check_epoch
from bulklink.cluster.segments import UNSHIPPED, DriverStore, SegmentFiles, ShippedFolder
from bulklink.cluster.timing import ClusterTiming
from bulklink.cluster.usage import ClusterUsage
from bulklink.engine.shutdown import StopController
from bulklink.errors import LockedError, StoppedBy, StoppedError
from bulklink.ledger.records import parse_time, timestamp
from bulklink.ledger.writer import DiskLedgerFiles, LedgerFiles
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_guarded
from bulklink.operations.continue_run import continue_run, load_started_record, load_unsent_record
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job_options import LimitOptions
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord
from bulklink.runs.status import RunResult
from bulklink.task_group import task_group
from bulklink.zoho.connection import Connection
from bulklink.zoho.transport import HttpTransport

_POLL_SECONDS = 0.2
MACHINE = "cluster"
"""Mark of all machines of a cluster: their drivers record one time, that of the database."""


async def drive(
    run: UUID,
    driver: str,
    connection: Connection,
    *,
    database: ClusterDatabase,
    timing: ClusterTiming,
    work_folder: Path,
    options: LimitOptions,
    callbacks: RunCallbacks,
    stop: StopController,
    environment: Environment | None = None,
) -> RunResult:
    """Take the lease of a run's org, and send what is left of the run.

    Args:
        run: id of the run.
        driver: name of this driver, to which its worker gave the run.
        connection: endpoint and credentials of the CRM.
        database: the database of the cluster.
        timing: times of the cluster.
        work_folder: parent of the folder in which the run is driven.
        options: options of sending.
        callbacks: callbacks of the run.
        stop: stops the run.
        environment: network and disk; None for this machine's, others for tests.

    Returns:
        The state of the run: finished, or stopped and why.

    Raises:
        LockedError: if another driver has the org or the run.
        ConfigError: if the database cannot be used before anything is sent.
        BulklinkError: as for `resume`.
    """
    with database_errors(database.conninfo):
        clock = DatabaseClock()
        cluster_run = await call_in_thread(RunTable(database).read, run)
        leases = partial(
            OrgLeases,
            org_key=cluster_run.org_key,
            run=run,
            driver=driver,
            timing=timing,
            clock=clock,
        )
        taken = await call_in_thread(leases(database).take)
        if taken is None:
            raise LockedError(
                "Another driver has this run, or another run of its org.",
                where=cluster_run.name,
                advice="A worker of the cluster tries it again.",
            )
        ((cluster,),) = await call_in_thread(database.query, "SELECT cluster FROM setting")
        await call_in_thread(
            check_epoch,
            work_folder,
            cluster,
            cluster_run.org_key,
            cluster_run.name,
            taken.lease,
        )
        await call_in_thread(_remove_earlier_folders, work_folder, run)
        renewing = ClusterDatabase(database.conninfo)
        try:
            with LeaseHolder(taken.lease, leases(renewing), renew=timing.renew) as holder:
                driving = _Driving(
                    run=cluster_run,
                    taken=taken,
                    holder=holder,
                    clock=clock,
                    database=database,
                    folder=RunFolder(work_folder / f"{run}-{taken.lease.epoch}" / cluster_run.name),
                    connection=connection,
                    options=options,
                    environment=environment or real_environment(),
                )
                result = await run_guarded(driving.send, callbacks, stop)
            if seconds := holder.seconds_left():
                with suppress(psycopg.Error):  # its worker ends it, or it ends by itself
                    await call_in_thread(leases(database).end, seconds)
        finally:
            await call_in_thread(renewing.close)
        return result


def _remove_earlier_folders(work_folder: Path, run: UUID) -> None:
    """Remove the folders of drivers of a run that died, but what was not committed of them."""
    for path in work_folder.glob(f"{run}-*"):
        if not any(map(_is_needed, path.iterdir())):
            shutil.rmtree(path, ignore_errors=True)


def _is_needed(folder: Path) -> bool:
    """Return whether a driver still has a folder, or left evidence in it."""
    return (folder / UNSHIPPED).exists() or RunFolder(folder).is_running()


class _Driving(msgspec.Struct, kw_only=True):
    run: ClusterRun
    taken: TakenLease
    holder: LeaseHolder
    clock: DatabaseClock
    database: ClusterDatabase
    folder: RunFolder
    connection: Connection
    options: LimitOptions
    environment: Environment

    async def send(self, callbacks: RunCallbacks, stop: StopController) -> RunResult:
        """Send what is left, and ship all of it."""
        next_seqs = await call_in_thread(unpack, self.database, self.run.run, self.folder)
        record = self._close_last_invocation(self.folder.read())
        store = self._store()
        shipped = ShippedFolder(self.folder, store, next_seqs)
        try:
            async with task_group() as group:
                group.start_soon(self._watch, stop)
                callbacks.on_phase("Waiting until the org is free")
                with suppress(StoppedError):  # the run records why
                    await stop.sleep(self.taken.ready_in)
                result = await continue_run(
                    callbacks,
                    stop,
                    folder=self.folder,
                    load_record=self._loader(record),
                    options=self.options,
                    connection=self.connection,
                    environment=self._environment(shipped),
                    accept_canary=self.run.accept_canary,
                )
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await call_in_thread(self._ship_rest, shipped)
                store.close()
        return result

    def _ship_rest(self, shipped: ShippedFolder) -> None:
        """Ship the final record, and remove the folder of what is in the database."""
        if not self.holder.may_send():
            return
        try:
            shipped.ship(b"", b"", is_last=True)
        except LeaseOverError:
            return
        if not (self.folder.path / UNSHIPPED).exists():
            shutil.rmtree(self.folder.path.parent, ignore_errors=True)

    async def _watch(self, stop: StopController) -> None:
        """Stop the run gently when it is cancelled, and immediately when the lease is over."""
        while self.holder.may_send():
            if self.holder.is_cancelled and stop.reason is None:
                stop.interrupt(StoppedBy.TERMINATED)
            await anyio.sleep(_POLL_SECONDS)
        stop.request(lease_error())

    def _loader(self, record: RunRecord) -> Callable[[RunFolder], RunRecord]:
        if record.was_sent:
            return partial(
                load_started_record,
                accept_canary=self.run.accept_canary,
                expect=self.run.digest,
            )
        return partial(load_unsent_record, expect=self.run.digest)

    def _close_last_invocation(self, record: RunRecord) -> RunRecord:
        """Record when a driver that died could send for the last time.

        What it sent is trusted to be settled only some time after that, not after this takeover.
        """
        ended_at = self.taken.last_driver_ended
        if not record.invocations or record.invocations[-1].ended is not None or ended_at is None:
            return record
        *earlier, killed = record.invocations
        seconds = max(0.0, ended_at - parse_time(killed.started).timestamp())
        closed = msgspec.structs.replace(
            killed, ended=timestamp(ended_at), seconds=seconds, stopped_by=StoppedBy.KILLED
        )
        record = record.replace(invocations=(*earlier, closed))
        self.folder.write(record)
        return record

    def _store(self) -> DriverStore:
        return DriverStore(
            ClusterDatabase(self.database.conninfo),
            org_key=self.run.org_key,
            run=self.run.run,
            epoch=self.taken.lease.epoch,
            seconds_left=self.holder.seconds_left,
        )

    def _environment(self, shipped: ShippedFolder) -> Environment:
        def open_files(ledger: Path, answers: Path, sync: bool) -> LedgerFiles:  # noqa: FBT001
            del sync  # the database has flushed it
            return SegmentFiles(DiskLedgerFiles(ledger, answers, sync=False), shipped)

        return msgspec.structs.replace(
            self.environment,
            clock=msgspec.structs.replace(self.environment.clock, wall=self.clock.wall),
            files=open_files,
            daily_usage=lambda _: ClusterUsage(
                ClusterDatabase(self.database.conninfo), self.run.org_key, self.holder.seconds_left
            ),
            machine_mark=lambda: MACHINE,
            transport=partial(HttpTransport, may_leave=self.holder.check),
            may_leave=self.holder.check,
        )
