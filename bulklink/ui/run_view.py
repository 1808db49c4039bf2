"""What the page shows of a run, from its `run.json` and from the command that works on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from bulklink.counts import count_of
from bulklink.engine.metrics import LimitedBy
from bulklink.errors import BulklinkError, StoppedBy
from bulklink.ledger.records import parse_time
from bulklink.local_time import format_local_time
from bulklink.models import Status
from bulklink.operations.callbacks import ReadProgress
from bulklink.operations.report.write import report
from bulklink.runs.folder import RunFolder, list_run_folders
from bulklink.runs.record import RunRecord, RunState
from bulklink.ui.activity import Activity, Progress
from bulklink.ui.timeline_follower import TimelineFollowers

_TITLES = {
    "link": "Link emails",
    "unlink": "Unlink emails",
    "relink": "Relink emails",
    "mixed": "Link, unlink and relink emails",
    "undo": "Undo a run",
    "load test": "Load test",
}
_SHOWN_CODES = 5
STATUSES = (*map(str, Status), "pending")


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the page shows it.

    Args:
        name: name of its folder.
        title: what it does.
        state: where it stands, in a word or two.
        tone: good, care or bad; empty for neither.
        digest: digest of its plan; None if it was refused.
        created: when it was planned, RFC 3339.
        org: name and type of its org; None before the first call.
        rows: its rows.
        messages: emails that it changes.
        counts: rows by status, pending ones included.
        mapping: names of its mapping's files.
        cost: credits that it may take, in words; None if that is unknown, or it was sent.
        reason: why it stopped; None unless it did.
        resume_at: when it can continue, RFC 3339; None if that is not known.
        can_apply: whether its plan can be approved and sent.
        can_resume: whether it can be continued.
        can_retry: whether emails can be sent again.
        can_undo: whether it changed anything that can be put back.
        can_verify: whether it sent anything.
        is_elsewhere: whether another process works on it.
        counted_at: end of the last command whose results `counts` includes; None before that.
        failed_canary: why its canary did not pass, if that is to be accepted first; else None.
        undone_by: names of the folders of its undos, in order.
    """

    name: str
    title: str
    state: str
    tone: str
    digest: str | None
    created: str
    org: str | None
    rows: int
    messages: int
    counts: dict[str, int]
    mapping: str
    cost: str | None
    reason: str | None
    resume_at: str | None
    can_apply: bool
    can_resume: bool
    can_retry: bool
    can_undo: bool
    can_verify: bool
    is_elsewhere: bool
    counted_at: str | None = None
    failed_canary: str | None = None
    undone_by: tuple[str, ...] = ()


class DamagedRun(msgspec.Struct, frozen=True):
    """A run folder that cannot be read.

    Args:
        name: name of the folder.
        message: what is wrong.
        advice: what to do.
    """

    name: str
    message: str
    advice: str


def list_runs(runs_dir: Path) -> list[RunView | DamagedRun]:
    """Return all runs of a folder, the newest first; blocks."""
    views: list[RunView | DamagedRun] = []
    for folder in list_run_folders(runs_dir):
        try:
            views.append(view_run(folder))
        except BulklinkError as error:
            views.append(DamagedRun(folder.path.name, error.message, error.advice))
    return sorted(views, key=lambda view: getattr(view, "created", ""), reverse=True)


def view_run(folder: RunFolder) -> RunView:
    """Return what the page shows of a run; blocks.

    Raises:
        RunDirError: if it is not a run folder, or is damaged.
    """
    record = folder.read()
    is_running = record.state is RunState.RUNNING and folder.is_running()
    if record.state is RunState.RUNNING and not is_running:
        record = folder.read()  # it may have ended since the first read
    counts = {**dict.fromkeys(map(str, Status), 0), **record.counts}
    counts["pending"] = record.rows - sum(counts[str(status)] for status in Status)
    state, tone = _state(record, counts, is_running=is_running)
    started = bool(record.invocations)
    was_sent = started and record.state is not RunState.REFUSED and not record.load_test
    ended = was_sent and not is_running
    unsettled = counts[Status.FAILED] + counts[Status.IN_DOUBT]
    return RunView(
        name=folder.path.name,
        title=_TITLES.get(record.shown_op, record.shown_op.capitalize()),
        state=state,
        tone=tone,
        digest=record.digest,
        created=record.created,
        org=_org(record),
        rows=record.rows,
        messages=record.messages,
        counts=counts,
        mapping=", ".join(Path(source.name).name for source in record.inputs),
        cost=None if started else _cost(record),
        reason=record.reason if record.state is RunState.STOPPED else None,
        resume_at=record.resume_at,
        can_apply=record.state is RunState.PLANNED and not started and not record.load_test,
        can_resume=ended and record.state is not RunState.FINISHED,
        can_retry=ended and record.state is RunState.FINISHED and unsettled > 0,
        can_undo=ended and counts[Status.DONE] > 0 and record.effective_undo is None,
        can_verify=ended,
        is_elsewhere=is_running,
        counted_at=_counted_at(record),
        failed_canary=_failed_canary(record) if ended else None,
        undone_by=tuple(Path(undo.run_dir).name for undo in record.undone_by),
    )


def _state(record: RunRecord, counts: dict[str, int], *, is_running: bool) -> tuple[str, str]:
    not_done = counts[Status.FAILED] + counts[Status.IN_DOUBT] + counts[Status.REJECTED]
    match record.state:
        case RunState.PLANNED:
            return "waits for approval", ""
        case RunState.RUNNING if is_running:
            return "running", "care"
        case RunState.RUNNING:
            return "was killed", "bad"
        case RunState.REFUSED:
            return "refused", "bad"
        case RunState.STOPPED:
            return "stopped", "bad"
        case _ if record.effective_undo is not None:
            return "undone", ""
        case _:
            return ("finished, not all done", "care") if not_done else ("finished", "good")


def _counted_at(record: RunRecord) -> str | None:
    """Return when the last command ended that recorded its counts; None if none did."""
    ends = [each.ended for each in record.invocations if each.stopped_by != StoppedBy.KILLED]
    return max(filter(None, ends), key=parse_time, default=None)


def _cost(record: RunRecord) -> str | None:
    credit_range = record.forecast.credit_range if record.forecast else None
    if credit_range is None:
        return None
    likely, most = count_of(credit_range.likely, "credit"), f"{credit_range.most:,}"
    return f"about {likely}, {most} at most" if credit_range.most > credit_range.likely else likely


def _failed_canary(record: RunRecord) -> str | None:
    if not record.needs_accept_canary or record.canary is None:
        return None
    return record.canary.found or "The canary did not pass."


def _org(record: RunRecord) -> str | None:
    if record.org is None:
        return None
    kind = f"({record.org.type})" if record.org.type else None
    return " ".join(filter(None, (record.org.name, kind))) or None


def report_of(folder: RunFolder) -> bytes:
    """Return the report of a run as HTML; blocks.

    Raises:
        RunDirError: if it is not a run folder.
        LedgerError: if its ledger is damaged.
    """
    page = BytesIO()
    report(folder.path, page)
    return page.getvalue()


class LiveValues(msgspec.Struct, frozen=True, kw_only=True):
    """What changes while a run goes on; empty where it is unknown.

    Args:
        state: where the run stands.
        active: whether a command works on it.
        phase: what that does now.
        note: what it waits for.
        share: settled share of its rows, from 0 to 1.
        progress: settled rows, in words.
        rate: emails a second, in words.
        left: time left, in words.
        limit: what limits the rate, in words.
        counts: rows by status, pending ones included.
        codes: most frequent codes of failures, in words.
        question: number of the question that it waits for; None without one.
        warnings: its last warnings.
    """

    state: str
    active: bool
    phase: str = ""
    note: str = ""
    share: float = 0.0
    progress: str = ""
    rate: str = ""
    left: str = ""
    limit: str = ""
    counts: dict[str, int] = {}
    codes: str = ""
    question: int | None = None
    warnings: tuple[str, ...] = ()


def live_values(
    folder: RunFolder, activity: Activity | None, followers: TimelineFollowers
) -> LiveValues:
    """Return the values that change while a run goes on; blocks.

    Args:
        folder: the run folder.
        activity: the command of this page that works on it; None if there is none.
        followers: read the timelines of runs that other processes work on.
    """
    if activity is not None and activity.is_active:
        values = _active_values(activity)
        return values if activity.changes_counts else _with_earlier_counts(values, folder)
    run = view_run(folder)
    if not run.is_elsewhere:
        followers.drop(run.name)
        values = LiveValues(state=run.state, active=False)
        return _with_counts(values, run.counts, run.rows)
    follower = followers.of(run.name, run.counted_at)
    counts = _counts_elsewhere(run, follower.read(folder.timeline))
    values = LiveValues(
        state=run.state,
        active=True,
        phase="Another window or terminal works on this run.",
        limit=_limit(follower.limited_by),
    )
    return _with_counts(values, counts, run.rows)


def _counts_elsewhere(run: RunView, results: Counter[str]) -> Counter[str]:
    """Return the rows by status of a run that another process works on.

    A row that is retried has a second result, so rows that failed before and are retried are those
    by which the results exceed the rows.
    """
    counts = results + Counter({status: run.counts[status] for status in map(str, Status)})
    for status in (Status.FAILED, Status.IN_DOUBT):
        excess = max(0, counts.total() - run.rows)
        counts[status] -= min(excess, counts[status])
    return counts


def _active_values(activity: Activity) -> LiveValues:
    progress, run = activity.progress, activity.progress.run
    phase = "Stopping: calls in flight are finished" if activity.is_stopping else progress.phase
    values = LiveValues(
        state=_active_state(activity),
        active=True,
        phase=f"{phase} …",
        note=_waiting(progress),
        question=progress.question.number if progress.question else None,
        warnings=progress.warnings,
    )
    if run is None:
        return _with_reading(values, progress.reading)
    metrics = run.metrics
    codes = sorted(run.failure_codes.items(), key=lambda item: -item[1])[:_SHOWN_CODES]
    values = msgspec.structs.replace(
        values,
        rate="" if metrics.rate is None else f"{metrics.rate:,.1f} a second",
        left="" if metrics.seconds_left is None else _time_left(metrics.seconds_left),
        limit=_limit(metrics.limited_by),
        codes=", ".join(f"{count:,} {code}" for code, count in codes),
    )
    return _with_counts(values, run.counts, run.rows)


def _active_state(activity: Activity) -> str:
    if activity.is_stopping:
        return "stopping"
    if activity.progress.question is not None:
        return "waits for your answer"
    return "running" if activity.changes_counts else "being verified"


def _with_earlier_counts(values: LiveValues, folder: RunFolder) -> LiveValues:
    return msgspec.structs.replace(values, counts=view_run(folder).counts)


def _waiting(progress: Progress) -> str:
    """Return what a command waits for; empty if it does not wait."""
    if progress.waiting_until is not None:
        return f"Waiting for credits until {_local(progress.waiting_until)}."
    if progress.outage is not None:
        until = _local(progress.outage.until)
        return f"No answer ({progress.outage.reason}): waiting until {until}."
    return ""


def _with_counts(values: LiveValues, counts: Mapping[Any, int], rows: int) -> LiveValues:
    settled = sum(counts.get(status, 0) for status in Status)
    return msgspec.structs.replace(
        values,
        counts={**{str(s): counts.get(s, 0) for s in Status}, "pending": rows - settled},
        share=settled / rows if rows else 0.0,
        progress=f"{settled:,} of {count_of(rows, 'row')}",
    )


def _with_reading(values: LiveValues, reading: ReadProgress | None) -> LiveValues:
    if reading is None:
        return values
    return msgspec.structs.replace(
        values,
        share=reading.done / reading.total if reading.total else 0.0,
        progress=f"{reading.done:,} of {reading.total:,} {reading.unit}",
    )


def _limit(limited_by: str | None) -> str:
    is_limited = limited_by and limited_by != LimitedBy.NOTHING
    return f"limited by {limited_by}" if is_limited else ""


def _time_left(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"about {hours:.1f} h left"
    return f"about {minutes:.0f} min left" if minutes >= 1 else f"about {seconds:.0f} s left"


def _local(seconds: float) -> str:
    return format_local_time(datetime.fromtimestamp(seconds, UTC).isoformat())
