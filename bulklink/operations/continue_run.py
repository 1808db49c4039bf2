"""Continuation of a run: what `apply`, `resume` and `retry` share, for runs and for shards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

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
from bulklink.operations.cancellation import make_planning_stop
from bulklink.operations.environment import Environment
from bulklink.operations.job_options import LIMIT_OPTIONS, LimitOptions, with_options
from bulklink.operations.preflight import check_same_host
from bulklink.operations.seal import check_seal, has_former_digest, load_job
from bulklink.operations.send import send
from bulklink.operations.wording import can_be_undone, continue_call
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import commanded_path
from bulklink.runs.record import RunRecord, RunState, refuse_load_test
from bulklink.runs.status import PENDING, RunResult, build_run_result, status_counts
from bulklink.zoho.connection import Connection

_FORMER_DIGEST = (
    "This run was started by an earlier version, whose digest does not cover the rows of the plan."
    " It continues with the plan whose hash is in run.json."
)
_PER_CALL_DEFAULTS = LimitOptions(yes=False, wait_for_org=False, expect_org=None, max_credits=None)
ShouldRetry = Callable[[Status, str | None], bool]
"""Returns whether a row is retried, by its status and code."""


async def continue_run(
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
    """Send the rest of a run.

    Args:
        callbacks: callbacks of the run.
        stop: stops the run.
        folder: the run folder.
        load_record: reads its record, and refuses a run that cannot be continued.
        options: options that differ from those of the run.
        connection: endpoint and credentials of the CRM.
        environment: network, disk and clock.
        should_retry: chooses the settled rows that are sent again; None for none.
        accept_canary: whether to continue after a failed canary.
    """
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


def load_unsent_record(folder: RunFolder, *, expect: str | None) -> RunRecord:
    """Read the record of a plan that was not sent yet.

    Args:
        folder: the run folder.
        expect: digest that it must have; None accepts any.

    Raises:
        RunDirError: if there is no such plan.
        DigestError: if it has another digest.
    """
    record = _load_sealed_record(folder)
    check_approved(record.digest, expect, folder.path)
    if record.was_sent:
        raise RunDirError(
            "This plan has been applied before.",
            where=str(folder.path),
            advice=Advice(
                "Continue it: {}.",
                continue_call(record, "resume", commanded_path(folder, record)),
            ),
        )
    return record


def check_approved(digest: str | None, expect: str | None, folder: Path) -> None:
    """Refuse a plan, or the plans of a job, with another digest than the one that was approved.

    Args:
        digest: its digest.
        expect: digest that it must have; None accepts any.
        folder: its folder.

    Raises:
        DigestError: if they differ.
    """
    if expect is not None and expect != digest:
        raise DigestError(
            f"The digest of this plan is {digest}, not {expect}.",
            where=str(folder),
            advice="Check the plan: it is not the one that was approved.",
        )


def load_started_record(
    folder: RunFolder, *, accept_canary: bool, expect: str | None = None
) -> RunRecord:
    """Read the record of a run that was started.

    Args:
        folder: the run folder.
        accept_canary: whether it may continue after a failed canary.
        expect: digest that it must have; None accepts any.

    Raises:
        RunDirError: if there is no such run.
        DigestError: if it has another digest.
        NotConfirmedError: if its canary did not pass, without `accept_canary`.
    """
    record = _load_sealed_record(folder)
    check_approved(record.digest, expect, folder.path)
    if not record.invocations:
        raise RunDirError(
            "This plan has not been sent yet, so there is nothing to continue.",
            where=str(folder.path),
            advice=Advice("Send it: {}.", NextCall("apply", commanded_path(folder, record))),
        )
    if record.needs_accept_canary and not accept_canary:
        raise _canary_error(folder, record)
    return record


def _canary_error(folder: RunFolder, record: RunRecord) -> NotConfirmedError:
    """Return why a run does not continue after its canary, with advice."""
    run_dir = commanded_path(folder, record)
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
            advice=Advice(
                "Complete it first: {}.", NextCall("forget", commanded_path(folder, record))
            ),
        )
    if record.state is RunState.FINISHED and record.digest is None:
        raise RunDirError(
            "Of this undo nothing is to be sent: none of the changes can be undone.",
            where=str(folder.path),
            advice=Advice("See why: {}.", NextCall("status", folder.path)),
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
