"""`apply`, `resume` and `retry`: sending from an existing run folder."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from os import PathLike
from typing import Any, Unpack

from bulklink.engine.shutdown import StopController
from bulklink.models import Status
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_guarded
from bulklink.operations.continue_run import continue_run, load_started_record, load_unsent_record
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import Job
from bulklink.operations.job_options import LIMIT_OPTIONS, LimitOptions
from bulklink.operations.seal import load_job
from bulklink.operations.send_job import (
    CheckShards,
    refuse_sent_job,
    refuse_unsent_job,
    send_job,
)
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.job_folder import find_job, first_record, refuse_shard
from bulklink.runs.record import RunRecord
from bulklink.runs.status import RunResult
from bulklink.zoho.connection import Connection

_RETRIED_STATUSES = (Status.FAILED, Status.IN_DOUBT)


async def resume(
    run: str | PathLike[str],
    connection: Connection,
    *,
    expect: str | None = None,
    accept_canary: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Resume a run that stopped, without sending finished emails again.

    Calls that were in flight are read back first. A finished run is left unchanged.

    Args:
        run: the run folder, or the folder of a job.
        connection: endpoint and credentials of the CRM.
        expect: digest that the plan must have; None accepts any.
        accept_canary: continue without another canary although that of the run did not pass.
        callbacks: callbacks of the run; None reports nothing.
        stop: stops the run from outside; None if nothing does.
        environment: network, disk and clock; None for this machine's, others for tests.
        **options: options of `Job` that affect how the plan is sent, not what is sent. They default
            to those of the run, except `yes` and `max_credits`.

    Returns:
        The state of the run: finished, or stopped and why.

    Raises:
        RunDirError: if this is not a run that can be resumed.
        DigestError: if it is not the expected plan.
        NotConfirmedError: if its canary did not pass, without `accept_canary`.
        LockedError: if another process has locked it, or another run its org.
        WrongOrgError: if it was started in another org.
        LedgerError: if the ledger cannot be trusted.
    """
    work = _continuation(
        "resume",
        run,
        partial(load_started_record, accept_canary=accept_canary, expect=expect),
        partial(refuse_unsent_job, expect=expect),
        accept_canary=accept_canary,
        options=options,
        connection=connection,
        environment=environment or real_environment(),
    )
    return await run_guarded(work, callbacks, stop)


async def retry(
    run: str | PathLike[str],
    connection: Connection,
    *,
    code: str | None = None,
    accept_canary: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Retry emails that failed or are in doubt, and send the rest; otherwise like `resume`.

    Args:
        run: the run folder, or the folder of a job.
        connection: endpoint and credentials of the CRM.
        code: retry only rows with this code; None retries all.
        accept_canary: as for `resume`.
        callbacks: callbacks of the run; None reports nothing.
        stop: stops the run from outside; None if nothing does.
        environment: network, disk and clock; None for this machine's, others for tests.
        **options: as for `resume`.

    Returns:
        The state of the run: finished, or stopped and why.

    Raises:
        RunDirError: if this is not a run that can be resumed.
        NotConfirmedError: if its canary did not pass, without `accept_canary`.
        LockedError: if another process has locked it, or another run its org.
        WrongOrgError: if it was started in another org.
        LedgerError: if the ledger cannot be trusted.
    """

    def should_retry(status: Status, row_code: str | None) -> bool:
        return status in _RETRIED_STATUSES and code in (None, row_code)

    work = _continuation(
        "retry",
        run,
        partial(load_started_record, accept_canary=accept_canary),
        refuse_unsent_job,
        accept_canary=accept_canary,
        options=options,
        connection=connection,
        environment=environment or real_environment(),
        should_retry=should_retry,
    )
    return await run_guarded(work, callbacks, stop)


async def apply(
    run: str | PathLike[str],
    connection: Connection,
    *,
    expect: str | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Send exactly the plan sealed in a run folder that was not sent yet; otherwise like `resume`.

    Args:
        run: the run folder, or the folder of a job.
        connection: endpoint and credentials of the CRM.
        expect: digest that the plan must have; None accepts any.
        callbacks: callbacks of the run; None reports nothing.
        stop: stops the run from outside; None if nothing does.
        environment: network, disk and clock; None for this machine's, others for tests.
        **options: as for `resume`.

    Returns:
        The state of the run: finished, or stopped and why.

    Raises:
        RunDirError: if there is no plan to send.
        DigestError: if it is not the expected plan.
        LockedError: if another process has locked the run, or another run its org.
        LedgerError: if the ledger cannot be trusted.
    """
    work = _continuation(
        "apply",
        run,
        partial(load_unsent_record, expect=expect),
        partial(refuse_sent_job, expect=expect),
        options=options,
        connection=connection,
        environment=environment or real_environment(),
    )
    return await run_guarded(work, callbacks, stop)


def _continuation(
    verb: str,
    run: str | PathLike[str],
    load_record: Callable[[RunFolder], RunRecord],
    check_job: CheckShards,
    **arguments: Any,
) -> Callable[[RunCallbacks, StopController], Awaitable[RunResult]]:
    """Return what sends the rest of a run, or of a job."""
    if (job := find_job(run)) is not None:
        return partial(send_job, job=job, check=check_job, **arguments)

    def load_own_record(folder: RunFolder) -> RunRecord:
        record = load_record(folder)
        refuse_shard(record, folder.path, verb)
        return record

    return partial(continue_run, folder=folder_of(run), load_record=load_own_record, **arguments)


def unset_options(run: str | PathLike[str]) -> frozenset[str]:
    """Return the options of a run that have their defaults, which a profile may set.

    Raises:
        RunDirError: if this is not a run folder.
    """
    job, default = load_job(first_record(run)), Job(mappings=())
    return frozenset(name for name in LIMIT_OPTIONS if getattr(job, name) == getattr(default, name))
