"""Where a run stands, read from its folder; relinks that left an email off its deal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.errors import BulklinkError, ExitCode, StoppedBy
from bulklink.ledger.state import LedgerState, OpenRow, replay
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder, folder_of, list_run_folders
from bulklink.runs.record import RunRecord, RunState, close_last_invocation

PENDING = "pending"


class CallCounts(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind; `least` is what the messages need at 20 a call."""

    link: int
    unlink: int
    read: int
    lookup: int
    retried: int
    least: int


class RunResult(msgspec.Struct, frozen=True):
    """Where a run stands: what `--json` prints.

    `counts` has the rows of each status and those pending; together they are `rows`.
    """

    run_dir: str
    op: str
    state: RunState
    stopped_by: str | None
    resume_at: str | None
    rows: int
    counts: dict[str, int]
    calls: CallCounts
    seconds: float
    exit_code: int | None


def status(run: str | PathLike[str]) -> RunResult:
    """Return where a run stands: right also while it goes on, and after it was killed.

    Args:
        run: the run folder.

    Raises:
        RunDirError: if it is no run folder.
        LedgerError: if its ledger is damaged.
    """
    folder = folder_of(run)
    record = folder.read()
    is_current = record.state is not RunState.RUNNING or folder.is_running()
    if not is_current:
        record = folder.read()  # it may have ended between the two looks
    killed = not is_current and record.state is RunState.RUNNING
    state = RunState.STOPPED if killed else record.state
    stopped_by = StoppedBy.KILLED if killed else record.stopped_by
    resume_at = None if killed else record.resume_at
    record = record.replace(state=state, stopped_by=stopped_by, resume_at=resume_at)
    return build_run_result(folder, record, replay(folder.ledger))


def statuses(
    runs_dir: str | PathLike[str] = "runs", *, warn: Callable[[str], None] | None = None
) -> list[RunResult]:
    """Return where all runs below a folder stand, by the names of their folders.

    Args:
        runs_dir: where the run folders are.
        warn: told of runs that cannot be read, which are left out; without it they raise.

    Raises:
        RunDirError: if a `run.json` is damaged.
        LedgerError: if a ledger is damaged.
    """
    results: list[RunResult] = []
    for folder in list_run_folders(Path(runs_dir)):
        try:
            results.append(status(folder))
        except BulklinkError as error:
            if warn is None:
                raise
            warn(f"{error.where}: {error.message}")
    return results


def build_run_result(folder: RunFolder, record: RunRecord, ledger_state: LedgerState) -> RunResult:
    """Return where a run stands by its record and what its ledger says."""
    counts = status_counts(record, ledger_state)
    return RunResult(
        run_dir=str(folder.path),
        op=record.op,
        state=record.state,
        stopped_by=record.stopped_by,
        resume_at=record.resume_at,
        rows=record.rows,
        counts=counts,
        calls=CallCounts(**msgspec.structs.asdict(ledger_state.calls), least=record.least),
        seconds=round(_total_seconds(record, ledger_state), 3),
        exit_code=run_exit_code(record.state, record.stopped_by, counts),
    )


def status_counts(record: RunRecord, ledger_state: LedgerState) -> dict[str, int]:
    """Return the rows of each status and those pending.

    A refused run has no ledger: what was found then stands in its record.
    """
    if record.state is RunState.REFUSED and not sum(ledger_state.counts.values()):
        counts = {str(status): record.counts.get(status, 0) for status in Status}
    else:
        counts = {str(status): ledger_state.counts[status] for status in Status}
    return {**counts, PENDING: record.rows - sum(counts.values())}


def run_exit_code(
    state: RunState, stopped_by: str | None, counts: Mapping[str, int]
) -> ExitCode | None:
    """Return how the command ends that leaves a run so; None while it goes on."""
    match state, stopped_by:
        case RunState.PLANNED, _:
            return ExitCode.ROWS_NOT_DONE if counts[Status.REJECTED] else ExitCode.OK
        case RunState.RUNNING, _:
            return None
        case RunState.REFUSED, _:
            return ExitCode.REFUSED
        case RunState.STOPPED, StoppedBy.INTERRUPTED:
            return ExitCode.INTERRUPTED
        case RunState.STOPPED, StoppedBy.TERMINATED:
            return ExitCode.TERMINATED
        case RunState.STOPPED, StoppedBy.CREDITS | StoppedBy.MAX_CREDITS:
            return ExitCode.CREDITS
        case RunState.STOPPED, _:
            return ExitCode.STOPPED
        case _:
            not_done_statuses = (Status.FAILED, Status.IN_DOUBT, Status.REJECTED)
            return (
                ExitCode.ROWS_NOT_DONE if any(counts[s] for s in not_done_statuses) else ExitCode.OK
            )


def _total_seconds(record: RunRecord, ledger_state: LedgerState) -> float:
    """Return the time of all invocations; one that did not end lasted until its last line."""
    return sum(
        invocation.seconds or 0.0
        for invocation in close_last_invocation(record.invocations, ledger_state.last_timestamp)
    )


class DetachedRelinks(msgspec.Struct, frozen=True):
    """Rows of relinks that are off the deal they were on; that deal with each, None if not known.

    Those `not_put_back` stay so unless somebody acts. Those `unfinished` are, or may be, between
    their
    halves: a resume finishes them first.
    """

    not_put_back: dict[int, str | None]
    unfinished: dict[int, str | None]


def load_detached_relinks(folder: RunFolder) -> DetachedRelinks:
    """Return the torn relinks of a run.

    Raises:
        LedgerError: if its ledger is damaged.
    """
    ledger_state = replay(folder.ledger)
    unfinished = _only_relinks(
        folder,
        {
            row: open_row
            for row, open_row in ledger_state.open_rows.items()
            if open_row.may_be_detached
        },
    )
    return DetachedRelinks(
        dict(ledger_state.not_put_back),
        {
            row: open_row.previous_deal[0] if open_row.previous_deal else None
            for row, open_row in unfinished.items()
        },
    )


def _only_relinks(folder: RunFolder, rows: dict[int, OpenRow]) -> dict[int, OpenRow]:
    """Return those of some rows that are relinks: an unlink in flight has no second half."""
    if not rows or folder.read().op == Op.RELINK:
        return rows
    from bulklink.mapping.plan_reader import SealedPlan  # noqa: PLC0415 - DuckDB, seldom needed

    chunks = SealedPlan(folder.plan).chunks()
    relinks = {m.row for chunk in chunks for m in chunk if m.op is Op.RELINK and m.row in rows}
    return {row: open_row for row, open_row in rows.items() if row in relinks}
