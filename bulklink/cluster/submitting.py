"""Submission of sealed plans to a cluster, whose workers send them without a question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from bulklink.cluster.database import ClusterDatabase, call_in_thread, database_errors
from bulklink.cluster.parcels import store_files, store_job_rejects
from bulklink.cluster.runs import ClusterRun, NewRun, RunTable
from bulklink.engine.shutdown import StopController
from bulklink.folder_files import read_small_file
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.queue_run import approve
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder, find_job
from bulklink.runs.queue import Approval
from bulklink.runs.record import RunRecord, RunState
from bulklink.zoho.connection import Connection


class Submitted(msgspec.Struct, frozen=True):
    """What was submitted.

    Args:
        run_dir: the run folder, or the folder of the job.
        runs: the runs in the cluster, in the order in which they are sent.
        is_new: whether they were submitted now, and not before.
    """

    run_dir: str
    runs: tuple[ClusterRun, ...]
    is_new: bool


async def submit(
    runs: Sequence[Path],
    connection: Connection,
    *,
    database: ClusterDatabase,
    expect: str | None,
    request: str | None,
    profile: str | None,
    options: Sequence[str],
    approved_by: str,
    yes: bool,
    expect_org: str | None,
    callbacks: RunCallbacks,
    stop: StopController,
    environment: Environment | None = None,
) -> list[Submitted]:
    """Submit sealed, unsent plans and jobs of one org, after the usual question for each.

    None is submitted before all are approved. Submitted again with the same request, the same plan
    is found and not added twice.

    Args:
        runs: run folders, and folders of jobs.
        connection: endpoint and credentials of the CRM.
        database: the database of the cluster.
        expect: digest that each plan must have; None accepts any, which is approved then.
        request: idempotency key; None for the time at which the plan was sealed.
        profile: profile that its worker needs; None for the worker's own connection.
        options: words of the command line that set options of sending.
        approved_by: who approves it.
        yes: ask no question.
        expect_org: id that the org must have; None accepts any.
        callbacks: asked for confirmation.
        stop: stops it before it is submitted.
        environment: network, disk and clock; None for this machine's, others for tests.

    Raises:
        RunDirError: if there is no such plan, or it was sent before.
        DigestError: if it is not the expected plan.
        NotConfirmedError: if the change was not confirmed.
        ConfigError: if the database cannot be used.
    """
    approvals = [
        await approve(
            run,
            connection,
            expect=expect,
            yes=yes,
            expect_org=expect_org,
            profile=profile,
            options=options,
            callbacks=callbacks,
            stop=stop,
            environment=environment or real_environment(),
            always_looks_up_org=True,
        )
        for run in runs
    ]
    callbacks.on_phase("Copying the plan" if len(runs) == 1 else "Copying the plans")
    with database_errors(database.conninfo):
        return [
            await call_in_thread(
                _add, database, run, approval, request or approval.created, approved_by
            )
            for run, approval in zip(runs, approvals, strict=True)
        ]


def _add(
    database: ClusterDatabase, path: Path, approval: Approval, request: str, approved_by: str
) -> Submitted:
    table, job = RunTable(database), find_job(path)
    folders = (
        [(RunFolder(path), RunFolder(path).read())]
        if job is None
        else list(job.open_shards(job.read()))
    )
    org_key = approval.org_key
    with database.transaction():
        table.add_org(org_key)
        # Not the row of the org: the driver of its current run needs it while the plan is copied.
        database.query(
            "SELECT pg_advisory_xact_lock(hashtextextended(%(org_key)s, 0))", {"org_key": org_key}
        )
        known = [
            table.find_submitted(org_key, record.digest or "", _key_of(record, request))
            for _, record in folders
        ]
        runs = [run for run in known if run is not None]
        if not runs:
            job_id = None if job is None else _add_job(database, path.name, job)
            runs = [
                _add_run(database, folder, record, approval, request, approved_by, job_id)
                for folder, record in folders
            ]
    return Submitted(str(path), tuple(runs), is_new=not any(known))


def _add_job(database: ClusterDatabase, name: str, job: JobFolder) -> UUID:
    job_id = uuid4()
    database.query(
        "INSERT INTO job (job, name, record) VALUES (%(job)s, %(name)s, %(record)s)",
        {"job": job_id, "name": name, "record": read_small_file(job.record)},
    )
    store_job_rejects(database, job_id, job)
    return job_id


def _add_run(
    database: ClusterDatabase,
    folder: RunFolder,
    record: RunRecord,
    approval: Approval,
    request: str,
    approved_by: str,
    job: UUID | None,
) -> ClusterRun:
    table, run = RunTable(database), uuid4()
    table.add(
        NewRun(
            run=run,
            name=_name_of(folder, record),
            org_key=approval.org_key,
            job=job,
            shard=record.shard.number if record.shard else None,
            request=_key_of(record, request),
            digest=record.digest or "",
            op=record.shown_op,
            messages=record.messages,
            org_id=approval.org.id if approval.org else None,
            org_name=approval.org.name if approval.org else None,
            profile=approval.profile,
            options=approval.options,
            approved_by=approved_by,
            state="queued" if record.state is RunState.PLANNED else "finished",
            record=read_small_file(folder.record),
        )
    )
    store_files(database, run, folder)
    return table.read(run)


def _key_of(record: RunRecord, request: str) -> str:
    """Return the idempotency key of a run: shards of which nothing is sent have the same digest."""
    return request if record.shard is None else f"{request}, shard {record.shard.number}"


def _name_of(folder: RunFolder, record: RunRecord) -> str:
    name = folder.path.absolute().name
    return name if record.shard is None else f"{folder.path.absolute().parent.name}-{name}"
