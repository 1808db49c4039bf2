"""`history`: what happened to one email, over all runs."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from bulklink.errors import BulklinkError, RunDirError, UsageError
from bulklink.ledger.search import find_answers, find_message_lines
from bulklink.mapping.database import Database, open_database
from bulklink.mapping.plan_reader import PlannedRow, find_planned_rows
from bulklink.runs.folder import RunFolder, list_run_folders
from bulklink.runs.record import RunRecord

_MESSAGE_ID = re.compile("[0-9A-Za-z]{1,500}")
_CALL_EVENTS = ("call", "unsent")
_RESULT_KEYS = (
    *("call", "status", "code", "http_status", "message", "attempts"),
    *("previous_deal_id", "previous_deal_name", "current_deal_id", "duplicate_of"),
)
_DETAIL_KEYS = {
    "call": ("call", "attempt"),
    "unsent": ("call", "attempt"),
    "snapshot": ("call", "previous_deal_id", "previous_deal_name"),
    "step": ("current_deal_id",),
    "result": _RESULT_KEYS,
}


class HistoryEvent(msgspec.Struct, frozen=True):
    """One thing that happened to an email.

    `event` is `planned`, `answer`, or that of the ledger's line; `sent` is what a call did: link,
    unlink or read, and `emails` how many it carried. `undo_of` is the run that this one takes back.
    `details` has the rest of the line, as far as it concerns the email: a key that is missing there
    is not known.
    """

    ts: str
    run_dir: str
    event: str
    row: int
    op: str | None
    contact_id: str | None
    deal_id: str | None
    undo_of: str | None = None
    sent: str | None = None
    emails: int | None = None
    details: dict[str, Any] = {}


def history(
    message_id: str,
    runs_dir: str | PathLike[str] = "runs",
    *,
    contact_id: str | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[HistoryEvent]:
    """Tell what happened to an email in all runs below a folder, in the order of time.

    Args:
        message_id: of the email.
        runs_dir: where the run folders are.
        contact_id: only of this contact; ids of messages may repeat among contacts.
        warn: told of runs that cannot be read.

    Returns:
        Its events; none of an email that no run knows.

    Raises:
        UsageError: if that is no message id.
        RunDirError: if there is no such folder.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise UsageError(
            f"{message_id[:60]!r} is no message id.",
            where="MESSAGE_ID",
            advice="Give its letters and digits alone.",
        )
    root = Path(runs_dir)
    if not root.is_dir():
        raise RunDirError(
            "There is no such folder.", where=str(root), advice="Name it with --runs-dir."
        )
    events: list[HistoryEvent] = []
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        open_database(Path(scratch) / "spill") as database,
    ):
        for folder in list_run_folders(root):
            try:
                events += _RunHistory(folder, message_id, contact_id, database).events()
            except BulklinkError as error:
                warn(f"{error.where}: {error.message}")
    return sorted(events, key=lambda event: event.ts)


class _RunHistory:
    """What one run says of the email."""

    def __init__(
        self, folder: RunFolder, message_id: str, contact_id: str | None, database: Database
    ) -> None:
        self._folder = folder
        self._record: RunRecord = folder.read()
        undo = self._record.undo_of
        self._undo_of = undo.run_dir if undo else None
        self._message_id = message_id
        self._contact_id = contact_id
        planned_rows = (
            find_planned_rows(database, folder.plan, message_id) if folder.plan.is_file() else []
        )
        self._rows = {row.row: row for row in planned_rows if contact_id in (None, row.contact_id)}

    def events(self) -> list[HistoryEvent]:
        """Return what happened, in the order of the ledger, each answer behind its call."""
        planned_events = [
            self._event(self._record.created, "planned", row) for row in self._rows.values()
        ]
        ledger_events = list(self._ledger_events())
        call_numbers = {e.details["call"] for e in ledger_events if e.event == "call"}
        answers = list(find_answers(self._folder.answers, call_numbers)) if call_numbers else []
        return [*planned_events, *self._with_answers(ledger_events, answers)]

    def _ledger_events(self) -> Iterator[HistoryEvent]:
        for line in find_message_lines(self._folder.ledger, self._message_id, self._rows):
            name = line["event"]
            details = {key: line[key] for key in _DETAIL_KEYS.get(name, ()) if key in line}
            if name in _CALL_EVENTS:
                for row in line["rows"]:
                    if row in self._rows:
                        yield msgspec.structs.replace(
                            self._event(line["ts"], name, self._rows[row], details),
                            sent=line.get("op"),
                            emails=len(line["rows"]),
                        )
            elif line["row"] in self._rows:
                yield self._event(line["ts"], name, self._rows[line["row"]], details)
            elif name == "result" and self._contact_id in (None, line.get("contact_id")):
                yield self._refused_event(line, details)

    def _event(
        self, ts: str, name: str, row: PlannedRow, details: dict[str, Any] | None = None
    ) -> HistoryEvent:
        return HistoryEvent(
            ts, str(self._folder.path), name, row.row, row.op, row.contact_id, row.deal_id,
            undo_of=self._undo_of, details=details or {},
        )  # fmt: skip

    def _refused_event(self, line: dict[str, Any], details: dict[str, Any]) -> HistoryEvent:
        """Tell of a row that came into no plan."""
        return HistoryEvent(
            line["ts"], str(self._folder.path), "result", line["row"],
            line.get("op"), line.get("contact_id"), line.get("deal_id"),
            undo_of=self._undo_of, details=details,
        )  # fmt: skip

    def _with_answers(
        self, ledger_events: list[HistoryEvent], answers: Iterable[dict[str, Any]]
    ) -> Iterator[HistoryEvent]:
        answers_by_call = {answer["call"]: answer for answer in answers}
        for event in ledger_events:
            yield event
            answer = (
                answers_by_call.get(event.details.get("call", 0)) if event.event == "call" else None
            )
            if answer is not None:
                details = {key: answer.get(key) for key in ("call", "http_status", "body")}
                yield msgspec.structs.replace(
                    event, ts=answer["ts"], event="answer", details=details, emails=None
                )
