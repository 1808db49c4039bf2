"""`apply`, `resume` and `retry`: sending from an existing run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from os import PathLike
from typing import Unpack

from bulklink.advice import Advice, NextCall
from bulklink.counts import count_of
from bulklink.engine.shutdown import StopController
from bulklink.errors import (
    DigestError,
    LedgerError,
    NotConfirmedError,
    RunDirError,
    StoppedBy,
)
from bulklink.ledger.replay import replay
from bulklink.ledger.state import LedgerState, repair_torn_line
from bulklink.mapping.database import open_database, spill_folder
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import plan_relation
from bulklink.models import Status
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import make_planning_stop, run_guarded
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import Job
from bulklink.operations.job_options import LIMIT_OPTIONS, LimitOptions, with_options
from bulklink.operations.preflight import check_same_host
from bulklink.operations.seal import check_seal, has_former_digest, load_job
from bulklink.operations.send import send
from bulklink.operations.wording import can_be_undone, continue_call
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.record import RunRecord, RunState, refuse_load_test
from bulklink.runs.status import PENDING, RunResult, build_run_result, status_counts
from bulklink.zoho.connection import Connection

_FORMER_DIGEST = (
    "This run was started by an earlier version, whose digest does not cover the rows of the plan."
    " It continues with the plan whose hash is in run.json."
)
_PER_CALL_DEFAULTS = LimitOptions(yes=False, max_credits=None)
_RETRIED_STATUSES = (Status.FAILED, Status.IN_DOUBT)
ShouldRetry = Callable[[Status, str | None], bool]
"""Returns whether a row is retried, by its status and code."""


async def resume(
    run: str | PathLike[str],
    connection: Connection,
    *,
    accept_canary: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **options: Unpack[LimitOptions],
) -> RunResult:
    """Resume a run that stopped, without sending finished emails again.

    Calls that were in flight are read back first. A finished run is left unchanged.

    Args:
        run: the run folder.
        connection: endpoint and credentials of the CRM.
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
        NotConfirmedError: if its canary did not pass, without `accept_canary`.
        LockedError: if another process has locked it.
        WrongOrgError: if it was started in another org.
        LedgerError: if the ledger cannot be trusted.
    """
    work = partial(
        _resume_run,
        folder=folder_of(run),
        load_record=partial(_load_started_record, accept_canary=accept_canary),
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
        run: the run folder.
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
        LockedError: if another process has locked it.
        WrongOrgError: if it was started in another org.
        LedgerError: if the ledger cannot be trusted.
    """

    def should_retry(status: Status, row_code: str | None) -> bool:
        return status in _RETRIED_STATUSES and code in (None, row_code)

    work = partial(
        _resume_run,
        folder=folder_of(run),
        load_record=partial(_load_started_record, accept_canary=accept_canary),
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
        run: the run folder.
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
        LockedError: if another process has locked the run.
        LedgerError: if the ledger cannot be trusted.
    """
    work = partial(
        _resume_run,
        folder=folder_of(run),
        load_record=partial(_load_unsent_record, expect=expect),
        options=options,
        connection=connection,
        environment=environment or real_environment(),
    )
    return await run_guarded(work, callbacks, stop)


def unset_options(run: str | PathLike[str]) -> frozenset[str]:
    """Return the options of a run that have their defaults, which a profile may set.

    Raises:
        RunDirError: if this is not a run folder.
    """
    job, default = load_job(folder_of(run).read()), Job(mappings=())
    return frozenset(name for name in LIMIT_OPTIONS if getattr(job, name) == getattr(default, name))


async def _resume_run(
    callbacks: RunCallbacks,
    stop: StopController,
    *,
    folder: RunFolder,
    load_record: Callable[[RunFolder], RunRecord],
    options: LimitOptions,
    connection: Connection,
    environment: Environment,
    should_retry: ShouldRetry | None = None,
    accept_canary: bool = False,
) -> RunResult:
    # Before a lock file is created in a folder that may not be a run's, or of another host.
    check_same_host(load_record(folder), connection)
    with folder.run_lock():
        record = load_record(folder)  # another process may have changed it before the lock
        check_same_host(record, connection)
        interrupt = make_planning_stop(stop)
        ledger_state = await environment.run_blocking(
            partial(_load_ledger_state, folder, record, should_retry, interrupt)
        )
        if _is_done(record, ledger_state):
            return await environment.run_blocking(
                partial(build_run_result, folder, record, ledger_state)
            )
        repair_torn_line(folder.ledger, folder.ledger_torn)
        if has_former_digest(record):
            callbacks.warn(_FORMER_DIGEST)
        job = with_options(load_job(record), _PER_CALL_DEFAULTS | options, LIMIT_OPTIONS)
        return await send(
            folder,
            ledger_state,
            job=job,
            connection=connection,
            callbacks=callbacks,
            stop=stop,
            environment=environment,
            accept_canary=accept_canary,
        )


def _load_ledger_state(
    folder: RunFolder,
    record: RunRecord,
    should_retry: ShouldRetry | None,
    interrupt: PlanningStop,
) -> LedgerState:
    """Replay and check the ledger; also check the plan unless nothing is left to send."""
    ledger_state = replay(
        folder.ledger,
        should_retry or _never,
        checkpoint=record.checkpoint,
        check=interrupt.check,
    )
    _check_ledger_end(folder, record, ledger_state)
    if not _is_done(record, ledger_state):
        check_seal(folder, record, ledger_state, interrupt)
        _check_ledger(folder, record, ledger_state, interrupt)
    return ledger_state


def _check_ledger_end(folder: RunFolder, record: RunRecord, ledger_state: LedgerState) -> None:
    """Refuse a ledger that contradicts the state of its inactive run.

    Raises:
        LedgerError: if it grew after the run ended, or a finished run has rows without a result.
    """
    pending = status_counts(record, ledger_state)[PENDING]
    recorded_bytes = record.ledger_bytes
    may_go_on = record.state is RunState.RUNNING or record.stopped_by == StoppedBy.LEDGER
    if pending < 0 or (record.state is RunState.FINISHED and pending):
        raise LedgerError(
            f"run.json says that the run is {record.state} and has"
            f" {count_of(record.rows, 'row')}; the ledger has the results of"
            f" {record.rows - pending:,}.",
            where=str(folder.ledger),
            advice="Restore ledger.jsonl and run.json from the same backup.",
        )
    if not may_go_on and recorded_bytes is not None and ledger_state.digest.length > recorded_bytes:
        raise LedgerError(
            f"{ledger_state.digest.length - recorded_bytes:,} bytes were added to the ledger since"
            " the run stopped.",
            where=str(folder.ledger),
            advice="Restore ledger.jsonl and run.json from the same backup.",
        )


def _never(status: Status, code: str | None) -> bool:
    del status, code
    return False


def _is_done(record: RunRecord, ledger_state: LedgerState) -> bool:
    """Return whether nothing is left to send by both `run.json` and the ledger."""
    pending = status_counts(record, ledger_state)[PENDING]
    return record.state is RunState.FINISHED and not pending and not ledger_state.retry_count


def _load_unsent_record(folder: RunFolder, expect: str | None) -> RunRecord:
    record = _load_sealed_record(folder)
    if expect is not None and expect != record.digest:
        raise DigestError(
            f"The digest of this plan is {record.digest}, not {expect}.",
            where=str(folder.path),
            advice="Check the plan: it is not the one that was approved.",
        )
    if record.invocations:
        raise RunDirError(
            "This plan has been applied before.",
            where=str(folder.path),
            advice=Advice("Continue it: {}.", continue_call(record, "resume", folder.path)),
        )
    return record


def _load_started_record(folder: RunFolder, *, accept_canary: bool) -> RunRecord:
    record = _load_sealed_record(folder)
    if not record.invocations:
        raise RunDirError(
            "This plan has not been sent yet, so there is nothing to continue.",
            where=str(folder.path),
            advice=Advice("Send it: {}.", NextCall("apply", folder.path)),
        )
    if record.needs_accept_canary and not accept_canary:
        raise _canary_error(folder, record)
    return record


def _canary_error(folder: RunFolder, record: RunRecord) -> NotConfirmedError:
    """Return why a run does not continue after its canary, with advice."""
    run_dir = folder.path
    undo = Advice(" Undo them: {}.", NextCall("undo", run_dir))
    found = record.canary.found if record.canary else None
    return NotConfirmedError(
        f"The canary of this run did not pass: {found or 'no details are recorded.'}",
        where=str(run_dir),
        advice=Advice(
            "Read its emails back: {}.{} Send the rest without another canary: {}.",
            NextCall("verify", run_dir),
            undo if can_be_undone(record) else "",
            continue_call(record, "resume", run_dir),
        ),
    )


def _load_sealed_record(folder: RunFolder) -> RunRecord:
    record = folder.read()
    refuse_load_test(record, folder.path)
    if any(not entry.complete for entry in record.forgotten):
        raise RunDirError(
            "Forgetting this run was started and not completed.",
            where=str(folder.path),
            advice=Advice("Complete it first: {}.", NextCall("forget", folder.path)),
        )
    if record.state is RunState.REFUSED or not folder.plan.is_file():
        raise RunDirError(
            "This run was refused before anything was sent: there is nothing to continue.",
            where=str(folder.path),
            advice="Fix the mapping and start again in another run folder.",
        )
    return record


def _check_ledger(
    folder: RunFolder, record: RunRecord, ledger_state: LedgerState, interrupt: PlanningStop
) -> None:
    """Refuse the ledger of another plan; the first results are compared with it."""
    sample = ledger_state.sample_message_ids
    if not record.invocations or not sample:
        return
    rows = ", ".join(map(str, sample))
    with open_database(spill_folder(folder.plan), stop=interrupt) as database:
        plan = plan_relation(database, folder.plan)
        for row, message_id in database.rows(_SELECT_MESSAGE_IDS.format(plan=plan, rows=rows)):
            if sample[row] != message_id:
                raise DigestError(
                    f"The ledger does not belong to this plan: they differ at row {row}.",
                    where=str(folder.path),
                    advice="Nothing was sent. Restore the files of the run.",
                )


_SELECT_MESSAGE_IDS = """
SELECT bulklink_row, bulklink_message_id FROM {plan}
WHERE bulklink_duplicate_of IS NULL AND bulklink_row IN ({rows}) ORDER BY bulklink_row
"""
