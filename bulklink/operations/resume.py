"""Sending what a run folder holds: a sealed plan, what is left of it, or what ended badly."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Unpack

import msgspec

from bulklink.engine.shutdown import Stopping
from bulklink.errors import DigestError, RunDirError
from bulklink.ledger.state import Replay, mend, replay
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Status
from bulklink.operations.callbacks import Watch
from bulklink.operations.cancellation import guarded
from bulklink.operations.environment import real_surroundings
from bulklink.operations.job import LIMITS, Job, LimitOptions, with_options
from bulklink.operations.send import send
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import RunSummary, status
from bulklink.shell import quoted
from bulklink.zoho.connection import Connection

_FOR_ONE_CALL = LimitOptions(yes=False, max_credits=None)
_AGAIN = (Status.FAILED, Status.IN_DOUBT)


async def resume(
    run: str | PathLike[str],
    connection: Connection,
    *,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    **limits: Unpack[LimitOptions],
) -> RunSummary:
    """Go on with a run that stopped. What is known to be done is not sent again.

    What was in flight is read back first. A finished run is left as it is.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        watch: call-backs; None watches nothing.
        stopping: by which the run can be stopped from outside.
        **limits: options of `Job` that change how it is sent, never what. What is not given is as
            the run was asked for; but `yes` and `max_credits` are for one call alone.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RunDirError: if this is no run that can go on.
        LockedError: if another process drives it.
        WrongOrgError: if it began elsewhere.
        LedgerError: if the ledger cannot be trusted.
    """
    work = partial(_go_on, folder_of(run), _begun, limits, connection, None)
    return await guarded(work, watch, stopping)


async def retry(
    run: str | PathLike[str],
    connection: Connection,
    *,
    code: str | None = None,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    **limits: Unpack[LimitOptions],
) -> RunSummary:
    """Send again what ended as failed or in doubt, and what is left to do.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        code: only rows with this code; None takes all.
        watch: call-backs; None watches nothing.
        stopping: by which the run can be stopped from outside.
        **limits: options of `Job` that change how it is sent, never what. What is not given is as
            the run was asked for; but `yes` and `max_credits` are for one call alone.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RunDirError: if this is no run that can go on.
        LockedError: if another process drives it.
        WrongOrgError: if it began elsewhere.
        LedgerError: if the ledger cannot be trusted.
    """

    def again(status: Status, said: str | None) -> bool:
        return status in _AGAIN and code in (None, said)

    work = partial(_go_on, folder_of(run), _begun, limits, connection, again)
    return await guarded(work, watch, stopping)


async def apply(
    run: str | PathLike[str],
    connection: Connection,
    *,
    expect: str | None = None,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    **limits: Unpack[LimitOptions],
) -> RunSummary:
    """Send exactly the plan that was sealed in a run folder, and not sent yet.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        expect: the digest that the plan must have; None takes any.
        watch: call-backs; None watches nothing.
        stopping: by which the run can be stopped from outside.
        **limits: options of `Job` that change how it is sent, never what. What is not given is as
            the run was asked for; but `yes` and `max_credits` are for one call alone.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RunDirError: if there is no plan that waits to be sent.
        DigestError: if it is not the plan that is expected.
        LockedError: if another process drives the run.
        LedgerError: if the ledger cannot be trusted.
    """
    unsent = partial(_unsent, expect=expect)
    work = partial(_go_on, folder_of(run), unsent, limits, connection, None)
    return await guarded(work, watch, stopping)


async def _go_on(
    folder: RunFolder,
    may_go_on: Callable[[RunFolder], RunRecord],
    limits: LimitOptions,
    connection: Connection,
    again: Callable[[Status, str | None], bool] | None,
    watch: Watch,
    stopping: Stopping,
) -> RunSummary:
    may_go_on(folder)  # before anything is made in a folder that may be no run's
    with folder.driven():
        record = may_go_on(folder)  # again: another process may have driven it until now
        mend(folder.ledger, folder.torn)
        told = replay(folder.ledger, again) if again else replay(folder.ledger)
        if record.state is State.FINISHED and not told.any_again:
            return status(folder)
        _check_plan(folder, record, told)
        job = with_options(_job_of(record), _FOR_ONE_CALL | limits, LIMITS)
        return await send(folder, told, job, connection, watch, stopping, real_surroundings())


def _unsent(folder: RunFolder, expect: str | None) -> RunRecord:
    record = _sealed(folder)
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
            advice=f"{quoted('resume', folder.path)} goes on with it.",
        )
    return record


def _begun(folder: RunFolder) -> RunRecord:
    record = _sealed(folder)
    if not record.invocations:
        raise RunDirError(
            "This plan has not been sent yet, so there is nothing to go on with.",
            where=str(folder.path),
            advice=f"{quoted('apply', folder.path)} sends it.",
        )
    return record


def _sealed(folder: RunFolder) -> RunRecord:
    record = folder.read()
    if any(not one.complete for one in record.forgotten):
        raise RunDirError(
            "Forgetting this run was begun and not ended.",
            where=str(folder.path),
            advice=f"{quoted('forget', folder.path)} completes it; then go on.",
        )
    if record.state is State.REFUSED or not folder.plan.is_file():
        raise RunDirError(
            "This run was refused before anything was sent: there is nothing to go on with.",
            where=str(folder.path),
            advice="Mend the mapping and start again in another run folder.",
        )
    return record


def _check_plan(folder: RunFolder, record: RunRecord, told: Replay) -> None:
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
            if told.sample.get(message.row, message.message_id) != message.message_id:
                raise DigestError(
                    f"The ledger is not of this plan: they differ at row {message.row}.",
                    where=str(folder.path),
                    advice="Put back the files of the run; nothing was sent.",
                )


def _job_of(record: RunRecord) -> Job:
    """Return the job as it was asked for."""
    return msgspec.convert(record.asked, Job, dec_hook=lambda kind, value: kind(value))
