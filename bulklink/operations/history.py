"""History of one email over all runs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BulklinkError, RunDirError, StoppedBy, UsageError
from bulklink.ledger.replay import replay
from bulklink.ledger.search import find_answers, find_message_lines
from bulklink.mapping.database import Database, open_database
from bulklink.mapping.original_rows import load_origin_rows, stream_refused_rows
from bulklink.mapping.plan_reader import PlannedRow, find_planned_rows
from bulklink.operations.callbacks import RunCallbacks
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import find_job, list_folders
from bulklink.runs.record import RunRecord

_MESSAGE_ID = re.compile("[0-9A-Za-z]{1,500}")
_DUPLICATE_OF = "duplicate_of"
_CALL_EVENTS = ("call", "unsent")
_ID_KEYS = ("row", "op", "contact_id", "deal_id")
_RESULT_KEYS = (
    *("call", "status", "code", "http_status", "message", "attempts"),
    *("previous_deal_id", "previous_deal_name", "current_deal_id", _DUPLICATE_OF),
)
_DETAIL_KEYS = {
    "call": ("call", "attempt"),
    "unsent": ("call", "attempt"),
    "snapshot": ("call", "previous_deal_id", "previous_deal_name"),
    "step": ("current_deal_id",),
    "result": _RESULT_KEYS,
}


class HistoryEvent(msgspec.Struct, frozen=True):
    """One event in the history of an email.

    Args:
        ts: time, as the ledger writes it.
        run_dir: folder of the run, or of the shard.
        event: `planned`, `answer`, or the event of the ledger line.
        row: row number in the mapping, also of an email in a shard of a job; None for a row that
            a shard refused and that its rejects.csv no longer has.
        op: planned operation; None if unknown.
        contact_id: contact of the email; None if unknown.
        deal_id: target deal; None for an unlink.
        undo_of: run that this run undoes, if any.
        undone_by: run that wholly undid this run, if any.
        sent: kind of call: link, unlink or read.
        emails: number of emails that the call carried.
        details: remaining keys of the ledger line that concern the email.
    """

    ts: str
    run_dir: str
    event: str
    row: int | None
    op: str | None
    contact_id: str | None
    deal_id: str | None
    undo_of: str | None = None
    undone_by: str | None = None
    sent: str | None = None
    emails: int | None = None
    details: dict[str, Any] = {}


def history(
    message_id: str,
    runs_dir: str | PathLike[str] = "runs",
    *,
    contact_id: str | None = None,
    callbacks: RunCallbacks | None = None,
) -> list[HistoryEvent]:
    """Return the events of one email in all runs and jobs below a folder, oldest first.

    Args:
        message_id: message id of the email.
        runs_dir: folder of the run folders.
        contact_id: only events of this contact; message ids may repeat among contacts.
        callbacks: `on_warning` is called with each run that cannot be read, or whose ledger has
            changed since it last stopped: its events are left out. None for none.

    Returns:
        The events; empty for an email in no run.

    Raises:
        UsageError: if `message_id` is not a message id.
        RunDirError: if the folder does not exist.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise UsageError(
            f"{message_id[:60]!r} is not a message id.",
            where="MESSAGE_ID",
            advice="Use only its letters and digits.",
        )
    callbacks, root = callbacks or RunCallbacks(), Path(runs_dir)
    if not root.is_dir():
        raise RunDirError(
            "There is no such folder.",
            where=str(root),
            advice=Advice("Set the folder of the runs with {}.", Keyword("runs_dir")),
        )
    events: list[HistoryEvent] = []
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        open_database(Path(scratch) / "spill") as database,
    ):
        for folder in _run_folders(root, callbacks):
            try:
                events += list(_run_events(folder, message_id, contact_id, database))
            except BulklinkError as error:
                callbacks.warn(_left_out(error))
    return sorted(events, key=lambda event: event.ts)


def _run_folders(root: Path, callbacks: RunCallbacks) -> Iterator[RunFolder]:
    """Yield the run folders below a folder, and the shards of jobs; warn of those not readable."""
    for path in list_folders(root):
        if (job := find_job(path)) is None:
            yield RunFolder(path)
            continue
        try:
            record = job.read()
        except BulklinkError as error:
            callbacks.warn(_left_out(error))
            continue
        for entry in record.entries:
            try:
                job.open_shard(record, entry)
            except BulklinkError as error:
                callbacks.warn(_left_out(error))
            else:
                yield job.shard(entry.number, record.shards)


def _left_out(error: BulklinkError) -> str:
    return f"{error.where}: {error.message} Its events are left out."


def _run_events(
    folder: RunFolder, message_id: str, contact_id: str | None, database: Database
) -> Iterator[HistoryEvent]:
    """Yield the events of one run in the order of its ledger, each answer after its call."""
    record = folder.read()
    if record.stopped_by == StoppedBy.LEDGER:  # no checkpoint covers what its last command wrote
        replay(folder.ledger, checkpoint=record.checkpoint)
    events = _own_events(folder, record, message_id, contact_id, database)
    return iter(_with_origin_rows(folder, list(events))) if record.shard else events


def _with_origin_rows(folder: RunFolder, events: list[HistoryEvent]) -> Iterator[HistoryEvent]:
    """Yield the events of a shard with row numbers over the whole mapping."""
    rows = {event.row for event in events if event.row is not None}
    rows |= {event.details[_DUPLICATE_OF] for event in events if _DUPLICATE_OF in event.details}
    origins: dict[int, int | None] = dict(load_origin_rows(folder.plan, rows))
    if rows - origins.keys():
        refused = stream_refused_rows(folder.rejects, ())
        origins |= {row.row: row.origin_row for row in refused if row.row in rows}
    for event in events:
        details = event.details
        if _DUPLICATE_OF in details:
            details = details | {_DUPLICATE_OF: origins.get(details[_DUPLICATE_OF])}
        row = None if event.row is None else origins.get(event.row)
        yield msgspec.structs.replace(event, row=row, details=details)


def _own_events(
    folder: RunFolder,
    record: RunRecord,
    message_id: str,
    contact_id: str | None,
    database: Database,
) -> Iterator[HistoryEvent]:
    undo_of = record.undo_of.run_dir if record.undo_of else None
    undone_by = record.effective_undo.run_dir if record.effective_undo else None
    new_event = partial(
        HistoryEvent, run_dir=str(folder.path), undo_of=undo_of, undone_by=undone_by
    )
    planned_rows = (
        find_planned_rows(database, folder.plan, message_id) if folder.plan.is_file() else []
    )
    rows = {row.row: row for row in planned_rows if contact_id in (None, row.contact_id)}
    for row in rows.values():
        yield new_event(ts=record.created, event="planned", **_ids(row))
    ledger_events = [
        event
        for line in find_message_lines(folder.ledger, message_id, rows, record.checkpoint)
        for event in _line_events(line, rows, contact_id, new_event)
    ]
    yield from _with_answers(ledger_events, folder.answers)


def _ids(row: PlannedRow) -> dict[str, Any]:
    return {key: getattr(row, key) for key in _ID_KEYS}


def _line_events(
    line: dict[str, Any],
    rows: dict[int, PlannedRow],
    contact_id: str | None,
    new_event: Callable[..., HistoryEvent],
) -> Iterator[HistoryEvent]:
    """Yield the events of a ledger line; a call has one for each of its rows."""
    name = line["event"]
    details = {key: line[key] for key in _DETAIL_KEYS.get(name, ()) if key in line}
    line_event = partial(new_event, ts=line["ts"], event=name, details=details)
    if name in _CALL_EVENTS:
        for row in line.get("rows", ()):
            if row in rows:
                yield line_event(**_ids(rows[row]), sent=line.get("op"), emails=len(line["rows"]))
    elif line.get("row") in rows:
        yield line_event(**_ids(rows[line["row"]]))
    elif name == "result" and "row" in line and contact_id in (None, line.get("contact_id")):
        yield line_event(**{key: line.get(key) for key in _ID_KEYS})  # a refused row is in no plan


def _with_answers(events: Sequence[HistoryEvent], answers_path: Path) -> Iterator[HistoryEvent]:
    calls = {
        event.details["call"]
        for event in events
        if event.event == "call" and "call" in event.details
    }
    answers = {
        answer["call"]: answer for answer in (find_answers(answers_path, calls) if calls else ())
    }
    for event in events:
        yield event
        answer = answers.get(event.details.get("call", 0)) if event.event == "call" else None
        if answer is not None:
            details = {key: answer.get(key) for key in ("call", "http_status", "body")}
            yield msgspec.structs.replace(
                event, ts=answer["ts"], event="answer", details=details, emails=None
            )
