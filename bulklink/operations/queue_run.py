"""Approval of a run for a worker."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.advice import Advice, NextCall
from bulklink.engine.shutdown import StopController
from bulklink.errors import InterruptedPlanningError, RunDirError
from bulklink.ledger.records import timestamp
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.continue_run import load_started_record, load_unsent_record
from bulklink.operations.credit_limits import org_key
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import Job
from bulklink.operations.preflight import (
    check_expected_org,
    check_same_host,
    check_same_org,
    confirm_changes,
)
from bulklink.operations.queue_access import open_queue, queueable_path
from bulklink.operations.send_job import refuse_sent_job, refuse_unsent_job
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import find_job, first_record, refuse_shard
from bulklink.runs.queue import Approval
from bulklink.runs.record import OrgRecord, RunState
from bulklink.runs.standing import Standing, read_standing
from bulklink.zoho.connection import Connection
from bulklink.zoho.health import check_connection
from bulklink.zoho.lookup_responses import Org


async def queue_run(
    run: str | PathLike[str],
    connection: Connection,
    *,
    expect: str,
    resume: bool = False,
    accept_canary: bool = False,
    yes: bool = False,
    expect_org: str | None = None,
    profile: str | None = None,
    options: Sequence[str] = (),
    canary: int | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
) -> Approval:
    """Approve a run or job, so that the worker of its runs folder sends it without a question.

    Nothing is sent here. Unless the CRM is on this machine, the org is looked up, the question
    before the first change is asked now, and the worker sends to no other org.

    Args:
        run: the run folder, or the folder of a job.
        connection: endpoint and credentials of the CRM.
        expect: digest that the plan must have.
        resume: whether the run was started before, and is to be continued.
        accept_canary: whether it may continue after a failed canary.
        yes: ask no question.
        expect_org: id that the org must have; None accepts any.
        profile: profile that the worker connects with; None for the worker's own connection.
        options: words of the command line that set options of sending.
        canary: messages of the canary; None for that of the plan.
        callbacks: asked for confirmation; None asks nobody.
        stop: stops it before the run is queued; None if nothing does.
        environment: network, disk and clock; None for this machine's, others for tests.

    Returns:
        The approval, with the position in the queue.

    Raises:
        RunDirError: if there is no such run, or nothing of it is left to send.
        DigestError: if it is not the expected plan.
        NotConfirmedError: if the change was not confirmed.
        ConfigError: if the state folder cannot be written.
        RunStoppedError: if the org cannot be looked up.
        InterruptedPlanningError: if it was stopped.
    """
    environment = environment or real_environment()
    queue = open_queue(queueable_path(Path(run)).parent, environment)
    approval = await approve(
        run,
        connection,
        expect=expect,
        resume=resume,
        accept_canary=accept_canary,
        yes=yes,
        expect_org=expect_org,
        profile=profile,
        options=options,
        callbacks=callbacks or RunCallbacks(),
        stop=stop,
        environment=environment,
    )
    return queue.add(msgspec.structs.replace(approval, canary=canary))


async def approve(
    run: str | PathLike[str],
    connection: Connection,
    *,
    expect: str | None,
    resume: bool = False,
    accept_canary: bool = False,
    yes: bool,
    expect_org: str | None,
    profile: str | None,
    options: Sequence[str],
    callbacks: RunCallbacks,
    stop: StopController | None,
    environment: Environment,
    always_looks_up_org: bool = False,
) -> Approval:
    """Return the approval of a run or job, after the question before the first change.

    Args:
        run: the run folder, or the folder of a job.
        connection: endpoint and credentials of the CRM.
        expect: digest that the plan must have; None accepts any.
        resume: whether the run was started before, and is to be continued.
        accept_canary: whether it may continue after a failed canary.
        yes: ask no question.
        expect_org: id that the org must have; None accepts any.
        profile: profile to connect with.
        options: words of the command line that set options of sending.
        callbacks: asked for confirmation.
        stop: stops it; None if nothing does.
        environment: network, disk and clock.
        always_looks_up_org: whether the org of a CRM on this machine is looked up too.

    Raises:
        BulklinkError: as for `queue_run`.
    """
    path = queueable_path(Path(run))
    _check_sendable(path, expect, resume=resume, accept_canary=accept_canary)
    record, standing = first_record(path), read_standing(path)
    _refuse_finished(path, standing)
    check_same_host(record, connection)
    org = Org()
    if always_looks_up_org or not connection.loopback:
        org = await _look_up_org(connection, callbacks, environment)
        check_same_org(record, org)
        check_expected_org(expect_org, org)
        confirm_changes(org, record, Job(mappings=(), yes=yes), connection, callbacks)
    if stop is not None and stop.reason is not None:
        raise InterruptedPlanningError(
            "Stopped: the run was not queued.",
            where=str(path),
            advice="Run the command again to be asked again.",
        )
    return Approval(
        run=path.name,
        created=standing.created,
        digest=expect or standing.digest or "",
        op=standing.op,
        messages=standing.messages,
        invocations=standing.invocations,
        approved=timestamp(environment.clock.wall()),
        org_key=org_key(connection, org),
        org=OrgRecord(org.id, org.name, org.type) if org.id else None,
        profile=profile,
        options=tuple(options),
        accept_canary=accept_canary,
    )


def _check_sendable(path: Path, expect: str | None, *, resume: bool, accept_canary: bool) -> None:
    """Refuse a run or job that a worker could not send, as `apply` and `resume` would."""
    job = find_job(path)
    if job is not None:
        record = job.read()
        shards = [shard for _, shard in job.open_shards(record)]
        check_job = refuse_unsent_job if resume else refuse_sent_job
        check_job(job, record, shards, expect=expect)
    else:
        folder = RunFolder(path)
        if resume:
            started = load_started_record(folder, accept_canary=accept_canary, expect=expect)
        else:
            started = load_unsent_record(folder, expect=expect)
        refuse_shard(started, path, "resume" if resume else "apply")


def _refuse_finished(path: Path, standing: Standing) -> None:
    if standing.state is RunState.FINISHED:
        raise RunDirError(
            "This run has finished: there is nothing left to send.",
            where=str(path),
            advice=Advice("Send what failed again: {}.", NextCall("retry", path)),
        )


async def _look_up_org(
    connection: Connection, callbacks: RunCallbacks, environment: Environment
) -> Org:
    store = environment.token_store
    if store is None:
        raise TypeError("a command has a token store")
    callbacks.on_phase("Looking up the org")
    async with environment.transport() as transport:
        health = await check_connection(
            connection, transport, store, environment.clock.wall, callbacks.warn
        )
    if health.problem is not None:
        raise health.problem
    return health.org or Org()
