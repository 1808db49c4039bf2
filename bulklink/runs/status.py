"""Where a run stands, read from its folder; relinks that left an email off its deal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.errors import BulklinkError, ExitCode, StoppedBy
from bulklink.ledger.state import OpenRow, Replay, replay
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder, folder_of, run_folders
from bulklink.runs.record import RunRecord, State, closed

PENDING = "pending"


class CallCounts(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind; `least` is what the messages need at 20 a call."""

    link: int
    unlink: int
    read: int
    lookup: int
    retried: int
    least: int


class RunSummary(msgspec.Struct, frozen=True):
    """Where a run stands: what `--json` prints.

    `counts` has the rows of each status and those pending; together they are `rows`.
    """

    run_dir: str
    op: str
    state: State
    stopped_by: str | None
    resume_at: str | None
    rows: int
    counts: dict[str, int]
    calls: CallCounts
    seconds: float
    exit_code: int | None


def status(run: str | PathLike[str]) -> RunSummary:
    """Return where a run stands: right also while it goes on, and after it was killed.

    Args:
        run: the run folder.

    Raises:
        RunDirError: if it is no run folder.
        LedgerError: if its ledger is damaged.
    """
    folder = folder_of(run)
    record = folder.read()
    driven = record.state is not State.RUNNING or folder.is_driven()
    if not driven:
        record = folder.read()  # it may have ended between the two looks
    killed = not driven and record.state is State.RUNNING
    state = State.STOPPED if killed else record.state
    stopped_by = StoppedBy.KILLED if killed else record.stopped_by
    resume_at = None if killed else record.resume_at
    record = record.but(state=state, stopped_by=stopped_by, resume_at=resume_at)
    return summary_of(folder, record, replay(folder.ledger))


def statuses(
    runs_dir: str | PathLike[str] = "runs", *, warn: Callable[[str], None] | None = None
) -> list[RunSummary]:
    """Return where all runs below a folder stand, by the names of their folders.

    Args:
        runs_dir: where the run folders are.
        warn: told of runs that cannot be read, which are left out; without it they raise.

    Raises:
        RunDirError: if a `run.json` is damaged.
        LedgerError: if a ledger is damaged.
    """
    found: list[RunSummary] = []
    for folder in run_folders(Path(runs_dir)):
        try:
            found.append(status(folder))
        except BulklinkError as error:
            if warn is None:
                raise
            warn(f"{error.where}: {error.message}")
    return found


def summary_of(folder: RunFolder, record: RunRecord, told: Replay) -> RunSummary:
    """Return where a run stands by its record and what its ledger says."""
    counts = counts_of(record, told)
    return RunSummary(
        run_dir=str(folder.path),
        op=record.op,
        state=record.state,
        stopped_by=record.stopped_by,
        resume_at=record.resume_at,
        rows=record.rows,
        counts=counts,
        calls=CallCounts(**msgspec.structs.asdict(told.calls), least=record.least),
        seconds=round(_seconds(record, told), 3),
        exit_code=exit_code_of(record.state, record.stopped_by, counts),
    )


def counts_of(record: RunRecord, told: Replay) -> dict[str, int]:
    """Return the rows of each status and those pending.

    A refused run has no ledger: what was found then stands in its record.
    """
    if record.state is State.REFUSED and not sum(told.counts.values()):
        counts = {str(status): record.counts.get(status, 0) for status in Status}
    else:
        counts = {str(status): told.counts[status] for status in Status}
    return {**counts, PENDING: record.rows - sum(counts.values())}


def exit_code_of(
    state: State, stopped_by: str | None, counts: Mapping[str, int]
) -> ExitCode | None:
    """Return how the command ends that leaves a run so; None while it goes on."""
    match state, stopped_by:
        case State.PLANNED, _:
            return ExitCode.ROWS_NOT_DONE if counts[Status.REJECTED] else ExitCode.OK
        case State.RUNNING, _:
            return None
        case State.REFUSED, _:
            return ExitCode.REFUSED
        case State.STOPPED, StoppedBy.INTERRUPTED:
            return ExitCode.INTERRUPTED
        case State.STOPPED, StoppedBy.TERMINATED:
            return ExitCode.TERMINATED
        case State.STOPPED, StoppedBy.CREDITS | StoppedBy.MAX_CREDITS:
            return ExitCode.CREDITS
        case State.STOPPED, _:
            return ExitCode.STOPPED
        case _:
            not_done = (Status.FAILED, Status.IN_DOUBT, Status.REJECTED)
            return ExitCode.ROWS_NOT_DONE if any(counts[s] for s in not_done) else ExitCode.OK


def _seconds(record: RunRecord, told: Replay) -> float:
    """Return the time of all invocations; one that did not end lasted until its last line."""
    return sum(one.seconds or 0.0 for one in closed(record.invocations, told.last))


class Torn(msgspec.Struct, frozen=True):
    """Rows of relinks that are off the deal they were on; that deal with each, None if not known.

    Those `not_put_back` stay so unless somebody acts. Those `open` are, or may be, between their
    halves: a resume finishes them first.
    """

    not_put_back: dict[int, str | None]
    open: dict[int, str | None]


def torn_of(folder: RunFolder) -> Torn:
    """Return the torn relinks of a run.

    Raises:
        LedgerError: if its ledger is damaged.
    """
    told = replay(folder.ledger)
    left = _relinks(folder, {row: one for row, one in told.open.items() if one.torn})
    return Torn(
        dict(told.not_put_back),
        {row: one.previous[0] if one.previous else None for row, one in left.items()},
    )


def _relinks(folder: RunFolder, rows: dict[int, OpenRow]) -> dict[int, OpenRow]:
    """Return those of some rows that are relinks: an unlink in flight has no second half."""
    if not rows or folder.read().op == Op.RELINK:
        return rows
    from bulklink.mapping.plan_reader import SealedPlan  # noqa: PLC0415 - DuckDB, seldom needed

    chunks = SealedPlan(folder.plan).chunks()
    relinks = {m.row for chunk in chunks for m in chunk if m.op is Op.RELINK and m.row in rows}
    return {row: one for row, one in rows.items() if row in relinks}
