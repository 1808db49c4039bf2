"""State of a run, and its half-done relinks, from its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from bulklink.errors import ExitCode, RunDirError, StoppedBy
from bulklink.html_pages.notebook import facts_html
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.replay import replay
from bulklink.ledger.state import LedgerState, OpenRow
from bulklink.load_results import LatencyFigures
from bulklink.models import Op, Status
from bulklink.runs.figures import read_figures
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.job_folder import JobFolder, JobRecord, find_job
from bulklink.runs.record import RunRecord, RunState, UndoneBy, close_last_invocation

PENDING = "pending"


ENDED_STATES = (RunState.FINISHED, RunState.REFUSED)
"""States of a run of which nothing is sent any more."""


class CallCounts(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind.

    Args:
        link: link requests.
        unlink: unlink requests.
        read: reads of a contact's emails.
        lookup: look-ups of org, module, deals and users.
        retried: second or later attempts among them.
        least: minimum link and unlink calls for the messages, at 20 a call.
    """

    link: int
    unlink: int
    read: int
    lookup: int
    retried: int
    least: int

    @property
    def credits(self) -> int:
        """Credits of these requests: every request of a run costs one."""
        return self.link + self.unlink + self.read + self.lookup


class RunResult(msgspec.Struct, frozen=True):
    """State and totals of a run, as printed by `--json`.

    Args:
        run_dir: the run folder.
        op: operation of the job, as in `run.json`.
        state: state of the run.
        stopped_by: StoppedBy value, None unless it stopped.
        resume_at: when it can continue, RFC 3339; None if time alone does not help.
        rows: rows of the run.
        counts: rows by status, including pending ones; their sum is `rows`.
        calls: HTTP requests sent.
        credits: credits that they cost.
        seconds: total duration of all invocations.
        exit_code: exit code for this state, None while it runs.
        undo_of: folder of the run that this run undoes; None if it is not an undo.
        undone: whether an undo reversed all changes of the run.
        undone_by: undos that reversed changes of this run, in order.
        messages_per_second: emails settled per second of `sending_seconds`; None if nothing was
            measured, as for the next four.
        calls_per_second: calls per second of `sending_seconds`.
        sending_seconds: seconds in which emails were sent, over all invocations; without waits for
            credits.
        waited_seconds: seconds spent waiting for credits.
        latency: mean, percentiles and maximum of the calls made in this time, in seconds, within
            0.5%.
        limited_by: bottleneck of the last invocation, a LimitedBy value; None if unknown.
        settings: options that the last invocation sent with, by name; None before the first one.
        load_test: whether it is a load test.
        shards: results of the shards of a job, by number; empty for a run.
    """

    run_dir: str
    op: str
    state: RunState
    stopped_by: str | None
    resume_at: str | None
    rows: int
    counts: dict[str, int]
    calls: CallCounts
    credits: int
    seconds: float
    exit_code: int | None
    undo_of: str | None = None
    undone: bool = False
    undone_by: tuple[UndoneBy, ...] = ()
    messages_per_second: float | None = None
    calls_per_second: float | None = None
    sending_seconds: float | None = None
    waited_seconds: float | None = None
    latency: LatencyFigures | None = None
    limited_by: str | None = None
    settings: dict[str, Any] | None = None
    load_test: bool = False
    shards: tuple[RunResult, ...] = ()

    @property
    def shown_op(self) -> str:
        """The op for display: `undo` or `load test`, whatever the op of its rows."""
        return "load test" if self.load_test else "undo" if self.undo_of is not None else self.op

    def _repr_html_(self) -> str:
        return facts_html(
            f"{self.shown_op}: {self.state}",
            {
                "run folder": self.run_dir,
                "stopped by": self.stopped_by,
                "resume at": self.resume_at,
                "rows": self.rows,
                "results": {name: count for name, count in self.counts.items() if count},
                "credits": self.credits,
                "seconds": round(self.seconds, 1),
                "exit code": self.exit_code,
                "undone by": ", ".join(undo.run_dir for undo in self.undone_by),
            },
        )


def status(run: str | PathLike[str], *, check_ledger: bool = False) -> RunResult:
    """Return the state of a run or job, even while it is running or after it was killed.

    Args:
        run: the run folder, or the folder of a job.
        check_ledger: whether to check that the ledger still begins with the lines of the run's
            last stop.

    Raises:
        RunDirError: if it is not a run folder.
        LedgerError: if its ledger is damaged, or fails that check.
    """
    job = find_job(run)
    if job is not None:
        job_record = job.read()
        shards = [folder for folder, _ in job.open_shards(job_record)]
        results = [_run_status(folder, check_ledger=check_ledger) for folder in shards]
        return build_job_result(job, job_record, results)
    return _run_status(folder_of(run), check_ledger=check_ledger)


def _run_status(folder: RunFolder, *, check_ledger: bool) -> RunResult:
    record = current_record(folder)
    checkpoint = record.checkpoint if check_ledger else LedgerCheckpoint(record.last_row)
    ledger_state = replay(folder.ledger, checkpoint=checkpoint, hashed=check_ledger)
    return build_run_result(folder, record, ledger_state)


def current_record(folder: RunFolder) -> RunRecord:
    """Return the record of a run; one that was killed counts as stopped.

    Raises:
        RunDirError: if it is not a run folder.
    """
    record = folder.read()
    if record.state is not RunState.RUNNING or folder.is_running():
        return record
    record = folder.read()  # it may have ended since the first read
    if record.state is not RunState.RUNNING:
        return record
    return record.replace(state=RunState.STOPPED, stopped_by=StoppedBy.KILLED, resume_at=None)


def build_run_result(folder: RunFolder, record: RunRecord, ledger_state: LedgerState) -> RunResult:
    """Return the state of a run from its record, its ledger and its timeline."""
    figures = None
    with suppress(RunDirError):  # a run continues without its timeline
        figures = read_figures(folder.timeline)
    counts = status_counts(record, ledger_state)
    calls = CallCounts(**msgspec.structs.asdict(ledger_state.calls), least=record.least)
    return RunResult(
        run_dir=str(folder.path),
        op=record.op,
        state=record.state,
        stopped_by=record.stopped_by,
        resume_at=record.resume_at,
        rows=record.rows,
        counts=counts,
        calls=calls,
        credits=calls.credits,
        seconds=round(_total_seconds(record, ledger_state), 3),
        exit_code=run_exit_code(record.state, record.stopped_by, counts),
        undo_of=record.undo_of.run_dir if record.undo_of else None,
        undone=record.effective_undo is not None,
        undone_by=record.undone_by,
        load_test=record.load_test,
        limited_by=record.limited.by if record.limited else None,
        settings=record.settings,
        **(msgspec.structs.asdict(figures) if figures else {}),
    )


def build_job_result(
    job: JobFolder, record: JobRecord, results: Sequence[RunResult], by: StoppedBy | None = None
) -> RunResult:
    """Return the state of a job from those of its shards.

    Args:
        job: the folder of the job.
        record: its record.
        results: results of its shards, by number.
        by: why the command that sent it stopped between two shards; None if unknown.
    """
    states = {result.state for result in results}
    state = job_state(states, was_sent=any(map(_was_sent, results)))
    stopped = next((result for result in results if result.state is RunState.STOPPED), None)
    stopped_by: str | None = None
    if state is RunState.STOPPED:
        is_unknown = RunState.REFUSED not in states  # which ends the command
        stopped_by = stopped.stopped_by if stopped else by
        stopped_by = stopped_by or (StoppedBy.KILLED if is_unknown else None)
    counts = Counter(dict.fromkeys([*map(str, Status), PENDING], 0))
    calls = Counter(dict.fromkeys(CallCounts.__struct_fields__, 0))
    for result in results:
        counts.update(result.counts)
        calls.update(msgspec.structs.asdict(result.calls))
    sending_seconds = sum(result.sending_seconds or 0.0 for result in results)
    settled = sum((r.messages_per_second or 0.0) * (r.sending_seconds or 0.0) for r in results)
    return RunResult(
        run_dir=str(job.path),
        op=record.op,
        state=state,
        stopped_by=stopped_by,
        resume_at=stopped.resume_at if stopped is not None else None,
        rows=record.rows,
        counts=dict(counts),
        calls=CallCounts(**calls),
        credits=sum(result.credits for result in results),
        seconds=round(sum(result.seconds for result in results), 3),
        exit_code=job_exit_code(state, stopped_by, counts, was_refused=RunState.REFUSED in states),
        undo_of=_undone_job(results),
        undone=_is_undone(results),
        messages_per_second=settled / sending_seconds if sending_seconds else None,
        sending_seconds=sending_seconds or None,
        shards=tuple(results),
    )


def job_exit_code(
    state: RunState, stopped_by: str | None, counts: Mapping[str, int], *, was_refused: bool
) -> ExitCode | None:
    """Return the exit code of a job; rows of a refused shard are not done.

    Args:
        state: its state.
        stopped_by: StoppedBy value, None unless it stopped.
        counts: rows of all shards by status.
        was_refused: whether one of its shards was refused.
    """
    code = run_exit_code(state, stopped_by, counts)
    return ExitCode.ROWS_NOT_DONE if was_refused and code is ExitCode.OK else code


def _undone_job(results: Sequence[RunResult]) -> str | None:
    """Return the job that a job undoes, whose shards the shards undo; None for any other."""
    undo_of = next((result.undo_of for result in results if result.undo_of is not None), None)
    return None if undo_of is None else str(Path(undo_of).parent)


def _is_undone(results: Sequence[RunResult]) -> bool:
    """Return whether undos reversed all changes; a shard that changed nothing has none."""
    changed = list(filter(_may_have_changed, results))
    return bool(changed) and all(result.undone for result in changed)


def _was_sent(result: RunResult) -> bool:
    """Return whether a command got as far as sending a shard, or may have."""
    is_sealed = result.state is RunState.FINISHED and result.settings is None
    return result.state is not RunState.PLANNED and not is_sealed


def _may_have_changed(result: RunResult) -> bool:
    """Return whether a shard changed emails, or may have: calls of a killed one count too."""
    counts, calls = result.counts, result.calls
    had_calls_in_flight = counts[PENDING] > 0 and calls.link + calls.unlink > 0
    return (
        result.undone
        or counts[Status.DONE] > 0
        or counts[Status.IN_DOUBT] > 0
        or had_calls_in_flight
    )


def job_state(states: AbstractSet[RunState], *, was_sent: bool) -> RunState:
    """Return the state of a job: that of all shards, or stopped if they differ and none runs.

    It has also finished if the shards that have not were refused.

    Args:
        states: states of its shards.
        was_sent: whether one of them was sent; shards of an undo that have nothing to undo are
            finished from the beginning.
    """
    if RunState.RUNNING in states:
        return RunState.RUNNING
    if states == set(ENDED_STATES):
        return RunState.FINISHED
    if RunState.PLANNED in states and not was_sent:
        return RunState.PLANNED
    return next(iter(states)) if len(states) == 1 else RunState.STOPPED


def status_counts(record: RunRecord, ledger_state: LedgerState) -> dict[str, int]:
    """Return the rows by status, including pending ones.

    A refused run has no ledger; its counts are in its record.
    """
    if record.state is RunState.REFUSED and not sum(ledger_state.counts.values()):
        counts = {str(status): record.counts.get(status, 0) for status in Status}
    else:
        counts = {str(status): ledger_state.counts[status] for status in Status}
    return {**counts, PENDING: record.rows - sum(counts.values())}


def run_exit_code(
    state: RunState, stopped_by: str | None, counts: Mapping[str, int]
) -> ExitCode | None:
    """Return the exit code for a run in this state; None while it runs."""
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
    """Return the duration of all invocations; a killed one lasted until its last ledger line."""
    return sum(
        invocation.seconds or 0.0
        for invocation in close_last_invocation(record.invocations, ledger_state.last_timestamp)
    )


class DetachedRelinks(msgspec.Struct, frozen=True):
    """Half-done relinks: previous deal by row, None if unknown.

    Args:
        not_put_back: the put-back failed; the user has to link them.
        unfinished: unlinked, or maybe unlinked, and not yet linked; a resume completes them first.
    """

    not_put_back: dict[int, str | None]
    unfinished: dict[int, str | None]


def load_detached_relinks(folder: RunFolder) -> DetachedRelinks:
    """Return the half-done relinks of a run.

    Raises:
        LedgerError: if its ledger is damaged.
    """
    record = folder.read()
    ledger_state = replay(folder.ledger, checkpoint=LedgerCheckpoint(record.last_row), hashed=False)
    return find_detached_relinks(folder, record, ledger_state)


def find_detached_relinks(
    folder: RunFolder, record: RunRecord, ledger_state: LedgerState
) -> DetachedRelinks:
    """Return the half-done relinks of a run whose ledger was read."""
    unfinished = _only_relinks(
        folder,
        record.op,
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


def _only_relinks(folder: RunFolder, op: str, rows: dict[int, OpenRow]) -> dict[int, OpenRow]:
    """Return the relinks among some rows: an unlink in flight is not followed by a link."""
    if not rows or op == Op.RELINK:
        return rows
    from bulklink.mapping.plan_reader import SealedPlan  # noqa: PLC0415 - DuckDB, rarely needed

    chunks = SealedPlan(folder.plan).chunks()
    relinks = {m.row for chunk in chunks for m in chunk if m.op is Op.RELINK and m.row in rows}
    return {row: open_row for row, open_row in rows.items() if row in relinks}
