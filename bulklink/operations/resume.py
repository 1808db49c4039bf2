"""Sending what a run folder holds: a sealed plan, what is left of it, or what ended badly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Unpack

import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.errors import DigestError, RunDirError
from bulklink.ledger.state import LedgerState, repair_torn_line, replay
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Status
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_guarded
from bulklink.operations.environment import real_environment
from bulklink.operations.job import LIMIT_OPTIONS, Job, LimitOptions, with_options
from bulklink.operations.send import send
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import RunResult, status
from bulklink.shell import bulklink_command
from bulklink.zoho.connection import Connection

_PER_CALL_DEFAULTS = LimitOptions(yes=False, max_credits=None)
_RETRIED_STATUSES = (Status.FAILED, Status.IN_DOUBT)


async def resume(
    run: str | PathLike[str],
    connection: Connection,
    *,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Go on with a run that stopped. What is known to be done is not sent again.

    What was in flight is read back first. A finished run is left as it is.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        callbacks: call-backs; None watches nothing.
        stop: by which the run can be stopped from outside.
        **options: options of `Job` that change how it is sent, never what. What is not given is as
            the run was asked for; but `yes` and `max_credits` are for one call alone.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RunDirError: if this is no run that can go on.
        LockedError: if another process drives it.
        WrongOrgError: if it began elsewhere.
        LedgerError: if the ledger cannot be trusted.
    """
    work = partial(_resume_run, folder_of(run), _load_started_record, options, connection, None)
    return await run_guarded(work, callbacks, stop)


async def retry(
    run: str | PathLike[str],
    connection: Connection,
    *,
    code: str | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Send again what ended as failed or in doubt, and what is left to do.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        code: only rows with this code; None takes all.
        callbacks: call-backs; None watches nothing.
        stop: by which the run can be stopped from outside.
        **options: options of `Job` that change how it is sent, never what. What is not given is as
            the run was asked for; but `yes` and `max_credits` are for one call alone.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RunDirError: if this is no run that can go on.
        LockedError: if another process drives it.
        WrongOrgError: if it began elsewhere.
        LedgerError: if the ledger cannot be trusted.
    """

    def should_retry(status: Status, row_code: str | None) -> bool:
        return status in _RETRIED_STATUSES and code in (None, row_code)

    work = partial(
        _resume_run, folder_of(run), _load_started_record, options, connection, should_retry
    )
    return await run_guarded(work, callbacks, stop)


async def apply(
    run: str | PathLike[str],
    connection: Connection,
    *,
    expect: str | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Send exactly the plan that was sealed in a run folder, and not sent yet.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        expect: the digest that the plan must have; None takes any.
        callbacks: call-backs; None watches nothing.
        stop: by which the run can be stopped from outside.
        **options: options of `Job` that change how it is sent, never what. What is not given is as
            the run was asked for; but `yes` and `max_credits` are for one call alone.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RunDirError: if there is no plan that waits to be sent.
        DigestError: if it is not the plan that is expected.
        LockedError: if another process drives the run.
        LedgerError: if the ledger cannot be trusted.
    """
    load_record = partial(_load_unsent_record, expect=expect)
    work = partial(_resume_run, folder_of(run), load_record, options, connection, None)
    return await run_guarded(work, callbacks, stop)


async def _resume_run(
    folder: RunFolder,
    load_record: Callable[[RunFolder], RunRecord],
    options: LimitOptions,
    connection: Connection,
    should_retry: Callable[[Status, str | None], bool] | None,
    callbacks: RunCallbacks,
    stop: StopController,
) -> RunResult:
    load_record(folder)  # before anything is made in a folder that may be no run's
    with folder.run_lock():
        record = load_record(folder)  # again: another process may have driven it until now
        repair_torn_line(folder.ledger, folder.ledger_torn)
        ledger_state = (
            replay(folder.ledger, should_retry) if should_retry else replay(folder.ledger)
        )
        if record.state is RunState.FINISHED and not ledger_state.retry_count:
            return status(folder)
        _check_plan(folder, record, ledger_state)
        job = with_options(_load_job(record), _PER_CALL_DEFAULTS | options, LIMIT_OPTIONS)
        return await send(
            folder, ledger_state, job, connection, callbacks, stop, real_environment()
        )


def _load_unsent_record(folder: RunFolder, expect: str | None) -> RunRecord:
    record = _load_sealed_record(folder)
    if expect is not None and expect != record.digest:
        raise DigestError(
            f"The digest of this plan is {record.digest}, not {expect}.",
            where=str(folder.path),
            advice="Look at the plan again: it is not the one that was approved.",
        )
    if record.invocations:
        raise RunDirError(
            "This plan was begun to be sent already.",
            where=str(folder.path),
            advice=f"{bulklink_command('resume', folder.path)} goes on with it.",
        )
    return record


def _load_started_record(folder: RunFolder) -> RunRecord:
    record = _load_sealed_record(folder)
    if not record.invocations:
        raise RunDirError(
            "This plan has not been sent yet, so there is nothing to go on with.",
            where=str(folder.path),
            advice=f"{bulklink_command('apply', folder.path)} sends it.",
        )
    return record


def _load_sealed_record(folder: RunFolder) -> RunRecord:
    record = folder.read()
    if any(not entry.complete for entry in record.forgotten):
        raise RunDirError(
            "Forgetting this run was begun and not ended.",
            where=str(folder.path),
            advice=f"{bulklink_command('forget', folder.path)} completes it; then go on.",
        )
    if record.state is RunState.REFUSED or not folder.plan.is_file():
        raise RunDirError(
            "This run was refused before anything was sent: there is nothing to go on with.",
            where=str(folder.path),
            advice="Mend the mapping and start again in another run folder.",
        )
    return record


def _check_plan(folder: RunFolder, record: RunRecord, ledger_state: LedgerState) -> None:
    """Refuse a plan that is not as it was sealed, or a ledger that is not of this plan."""
    if record.plan_sha256 is not None and sha256_of(folder.plan) != record.plan_sha256:
        raise DigestError(
            "The plan is not as it was sealed.",
            where=str(folder.plan),
            advice="Make the plan again in another run folder.",
        )
    if not record.invocations:
        return
    for chunk in SealedPlan(folder.plan).chunks():
        for message in chunk:
            if (
                ledger_state.sample_message_ids.get(message.row, message.message_id)
                != message.message_id
            ):
                raise DigestError(
                    f"The ledger is not of this plan: they differ at row {message.row}.",
                    where=str(folder.path),
                    advice="Put back the files of the run; nothing was sent.",
                )


def _load_job(record: RunRecord) -> Job:
    """Return the job as it was asked for."""
    return msgspec.convert(record.asked, Job, dec_hook=lambda kind, value: kind(value))
