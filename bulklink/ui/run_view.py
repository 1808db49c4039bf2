"""What the page shows of a run, from its `run.json`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import MappingProxyType

import msgspec

from bulklink.counts import count_of
from bulklink.errors import BulklinkError, ExitCode, StoppedBy
from bulklink.ledger.records import parse_time
from bulklink.models import Status
from bulklink.operations.report.write import report
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder, find_job, list_folders, undoing_path
from bulklink.runs.record import RunRecord, RunState, UndoneBy
from bulklink.runs.standing import read_standing
from bulklink.runs.status import PENDING, current_record
from bulklink.ui.killed_runs import KilledRun, read_killed_run
from bulklink.ui.queue_places import QueuePlace
from bulklink.ui.wording import ShownError

_NO_PLACES: Mapping[str, QueuePlace] = MappingProxyType({})
_MAY_BE_CHANGED = (Status.DONE, Status.FAILED, Status.IN_DOUBT)
_TITLES = {
    "link": "Link emails",
    "unlink": "Unlink emails",
    "relink": "Relink emails",
    "mixed": "Link, unlink and relink emails",
    "undo": "Undo a run",
    "load test": "Load test",
}
_UNDONE = ("undone", "")
STATUSES = (*map(str, Status), PENDING)
"""Statuses of rows, in the order in which the page shows them."""


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
        is_planned: whether nothing of it was sent.
        can_apply: whether its plan can be approved and sent.
        can_resume: whether it can be continued.
        can_retry: whether emails can be sent again.
        can_undo: whether it changed anything that can be put back.
        can_verify: whether it sent anything.
        is_elsewhere: whether another process works on it.
        counted_at: end of the last command whose results `counts` includes; None before that.
        failed_canary: why its canary did not pass, if that is to be accepted first; else None.
        undone_by: its undos, in order.
        queue: its place in the queue; None if it is not in it.
        detached: its half-done relinks, in words; empty unless it was killed amid them.
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
    is_planned: bool
    can_apply: bool
    can_resume: bool
    can_retry: bool
    can_undo: bool
    can_verify: bool
    is_elsewhere: bool
    counted_at: str | None = None
    failed_canary: str | None = None
    undone_by: tuple[ShownUndo, ...] = ()
    queue: QueuePlace | None = None
    detached: tuple[str, ...] = ()


class ShownUndo(msgspec.Struct, frozen=True):
    """An undo of a run.

    Args:
        name: name of its folder, or of the folder of its job.
        is_listed: whether the page lists it.
    """

    name: str
    is_listed: bool


class DamagedRun(msgspec.Struct, frozen=True):
    """A run folder that cannot be read.

    Args:
        name: name of the folder.
        message: what is wrong.
        where: the file or line that it concerns.
        advice: what to do.
    """

    name: str
    message: str
    where: str
    advice: str


class JobView(msgspec.Struct, frozen=True):
    """A job of several shards, which a terminal sends.

    Args:
        name: name of its folder.
        title: what it does.
        state: where it stands.
        tone: good, care or bad; empty for neither.
        created: when it was planned, RFC 3339.
        messages: emails that it changes.
        shards: number of shards.
        queue: its place in the queue; None if it is not in it.
    """

    name: str
    title: str
    state: str
    tone: str
    created: str
    messages: int
    shards: int
    queue: QueuePlace | None = None


def list_runs(
    runs_dir: Path, places: Mapping[str, QueuePlace] = _NO_PLACES
) -> list[RunView | JobView | DamagedRun]:
    """Return all runs and jobs of a folder, the newest first; blocks.

    Args:
        runs_dir: the folder.
        places: places of its runs in the queue, by name.
    """
    views: list[RunView | JobView | DamagedRun] = []
    for path in list_folders(runs_dir):
        try:
            job = find_job(path)
            place = places.get(path.name)
            if job is not None:
                views.append(_view_job(job, place))
            else:
                folder = RunFolder(path)
                views.append(_view(folder, current_record(folder), None, place))
        except BulklinkError as error:
            shown = ShownError.of(error)
            views.append(DamagedRun(path.name, shown.message, shown.where, shown.advice))
    return sorted(views, key=lambda view: getattr(view, "created", ""), reverse=True)


def _view_job(job: JobFolder, place: QueuePlace | None) -> JobView:
    standing = read_standing(job.path)
    not_done = standing.exit_code is ExitCode.ROWS_NOT_DONE
    state, tone = _words(standing.state, standing.stopped_by, not_done=not_done, place=place)
    if standing.state is RunState.FINISHED and standing.undone:
        state, tone = _UNDONE
    return JobView(
        name=job.path.name,
        title=_TITLES.get(standing.op, standing.op),
        state=state,
        tone=tone,
        created=standing.created,
        messages=standing.messages,
        shards=job.read().shards,
        queue=place,
    )


def view_run(folder: RunFolder, place: QueuePlace | None = None) -> RunView:
    """Return what the page shows of a run; blocks. The ledger of a killed one is read.

    Args:
        folder: its folder.
        place: its place in the queue; None if it is not in it.

    Raises:
        RunDirError: if it is not a run folder, or is damaged.
        LedgerError: if it was killed, and its ledger is damaged.
    """
    record = current_record(folder)
    killed = read_killed_run(folder, record) if record.stopped_by == StoppedBy.KILLED else None
    return _view(folder, record, killed, place)


def _view(
    folder: RunFolder, record: RunRecord, killed: KilledRun | None, place: QueuePlace | None
) -> RunView:
    """Return what the page shows of a run.

    Args:
        folder: its folder.
        record: its record, which says STOPPED if it was killed.
        killed: what the ledger of a killed run says; None for that of its record.
        place: its place in the queue; None if it is not in it.
    """
    is_running = record.state is RunState.RUNNING
    known = record.counts if killed is None else killed.counts
    counts = {**dict.fromkeys(map(str, Status), 0), **known}
    counts[PENDING] = record.rows - sum(counts[str(status)] for status in Status)
    state, tone = _state(record, counts, place)
    is_sent_by_worker = place is not None and not place.is_left
    started = record.was_sent
    was_sent = started and record.state is not RunState.REFUSED and not record.load_test
    ended = was_sent and not is_running
    has_stopped = record.state is RunState.STOPPED and record.stopped_by != StoppedBy.KILLED
    is_planned = record.state is RunState.PLANNED and not started
    can_apply = is_planned and not record.load_test and not is_sent_by_worker
    may_be_changed = any(counts[status] for status in _MAY_BE_CHANGED)
    may_be_changed |= killed is not None and killed.may_be_changed
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
        reason=record.reason if has_stopped else None,
        resume_at=record.resume_at,
        is_planned=is_planned,
        can_apply=can_apply,
        can_resume=ended and record.state is not RunState.FINISHED and not is_sent_by_worker,
        can_retry=ended and record.state is RunState.FINISHED and unsettled > 0,
        can_undo=ended and record.effective_undo is None and may_be_changed,
        can_verify=ended,
        is_elsewhere=is_running,
        counted_at=_counted_at(record),
        failed_canary=_failed_canary(record) if ended else None,
        undone_by=tuple(_undo(folder, record, undo) for undo in record.undone_by),
        queue=None if record.state is RunState.FINISHED else place,
        detached=() if killed is None else killed.detached,
    )


def _state(record: RunRecord, counts: dict[str, int], place: QueuePlace | None) -> tuple[str, str]:
    if record.state is RunState.PLANNED and record.load_test:
        return "not started", ""
    if record.state is RunState.FINISHED and record.effective_undo is not None:
        return _UNDONE
    not_done = counts[Status.FAILED] + counts[Status.IN_DOUBT] + counts[Status.REJECTED]
    return _words(record.state, record.stopped_by, not_done=not_done > 0, place=place)


def _words(
    state: RunState, stopped_by: str | None, *, not_done: bool, place: QueuePlace | None
) -> tuple[str, str]:
    """Return where a run or job stands, in words, and the tone of that."""
    match state:
        case RunState.PLANNED if place is not None:
            return ("left to you", "care") if place.is_left else ("approved, in the queue", "")
        case RunState.PLANNED:
            return "waits for approval", ""
        case RunState.RUNNING:
            return "running", "care"
        case RunState.FINISHED:
            return ("finished, not all done", "care") if not_done else ("finished", "good")
    is_killed = state is RunState.STOPPED and stopped_by == StoppedBy.KILLED
    words = "was killed" if is_killed else str(state)
    if place is not None:
        words += ", left to you" if place.is_left else ", in the queue"
    return words, "bad"


def _undo(folder: RunFolder, record: RunRecord, undo: UndoneBy) -> ShownUndo:
    """Return an undo of a run; one in another folder of runs is not listed."""
    beside = folder.path.parent / Path(undo.run_dir).name
    is_listed = False
    with suppress(BulklinkError, OSError, ValueError):
        is_listed = RunFolder(beside).read().created == undo.created
    return ShownUndo(undoing_path(record, undo).name, is_listed)


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
