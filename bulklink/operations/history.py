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
from bulklink.ledger.search import answers_to, lines_of
from bulklink.mapping.plan_reader import Finder, PlannedRow, finder
from bulklink.runs.folder import RunFolder, run_folders
from bulklink.runs.record import RunRecord

_MESSAGE_ID = re.compile("[0-9A-Za-z]{1,500}")
_CARRIES = ("call", "unsent")
_OF_RESULT = (
    *("call", "status", "code", "http_status", "message", "attempts"),
    *("previous_deal_id", "previous_deal_name", "current_deal_id", "duplicate_of"),
)
_OF_LINE = {
    "call": ("call", "attempt"),
    "unsent": ("call", "attempt"),
    "snapshot": ("call", "previous_deal_id", "previous_deal_name"),
    "step": ("current_deal_id",),
    "result": _OF_RESULT,
}


class Event(msgspec.Struct, frozen=True):
    """One thing that happened to an email.

    `event` is `planned`, `answer`, or that of the ledger's line; `sent` is what a call did: link,
    unlink or read, and `emails` how many it carried. `undo_of` is the run that this one takes back.
    `told` has the rest of the line, as far as it concerns the email: a key that is missing there is
    not known.
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
    told: dict[str, Any] = {}


def history(
    message_id: str,
    runs_dir: str | PathLike[str] = "runs",
    *,
    contact_id: str | None = None,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Event]:
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
    below = Path(runs_dir)
    if not below.is_dir():
        raise RunDirError(
            "There is no such folder.", where=str(below), advice="Name it with --runs-dir."
        )
    events: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch, finder(Path(scratch)) as plans:
        for folder in run_folders(below):
            try:
                events += _Run(folder, message_id, contact_id, plans).events()
            except BulklinkError as error:
                warn(f"{error.where}: {error.message}")
    return sorted(events, key=lambda event: event.ts)


class _Run:
    """What one run says of the email."""

    def __init__(
        self, folder: RunFolder, message_id: str, contact_id: str | None, plans: Finder
    ) -> None:
        self._folder = folder
        self._record: RunRecord = folder.read()
        undo = self._record.undo_of
        self._undo_of = undo.run_dir if undo else None
        self._message_id = message_id
        self._contact_id = contact_id
        found = plans.rows(folder.plan, message_id) if folder.plan.is_file() else []
        self._rows = {row.row: row for row in found if contact_id in (None, row.contact_id)}

    def events(self) -> list[Event]:
        """Return what happened, in the order of the ledger, each answer behind its call."""
        planned = [self._event(self._record.created, "planned", row) for row in self._rows.values()]
        told = list(self._ledger())
        calls = {e.told["call"] for e in told if e.event == "call"}
        answers = list(answers_to(self._folder.answers, calls)) if calls else []
        return [*planned, *self._with_answers(told, answers)]

    def _ledger(self) -> Iterator[Event]:
        for line in lines_of(self._folder.ledger, self._message_id, self._rows):
            name = line["event"]
            told = {key: line[key] for key in _OF_LINE.get(name, ()) if key in line}
            if name in _CARRIES:
                for row in line["rows"]:
                    if row in self._rows:
                        yield msgspec.structs.replace(
                            self._event(line["ts"], name, self._rows[row], told),
                            sent=line.get("op"),
                            emails=len(line["rows"]),
                        )
            elif line["row"] in self._rows:
                yield self._event(line["ts"], name, self._rows[line["row"]], told)
            elif name == "result" and self._contact_id in (None, line.get("contact_id")):
                yield self._refused(line, told)

    def _event(
        self, ts: str, name: str, row: PlannedRow, told: dict[str, Any] | None = None
    ) -> Event:
        return Event(
            ts, str(self._folder.path), name, row.row, row.op, row.contact_id, row.deal_id,
            undo_of=self._undo_of, told=told or {},
        )  # fmt: skip

    def _refused(self, line: dict[str, Any], told: dict[str, Any]) -> Event:
        """Tell of a row that came into no plan."""
        return Event(
            line["ts"], str(self._folder.path), "result", line["row"],
            line.get("op"), line.get("contact_id"), line.get("deal_id"),
            undo_of=self._undo_of, told=told,
        )  # fmt: skip

    def _with_answers(
        self, told: list[Event], answers: Iterable[dict[str, Any]]
    ) -> Iterator[Event]:
        waiting = {answer["call"]: answer for answer in answers}
        for event in told:
            yield event
            answer = waiting.get(event.told.get("call", 0)) if event.event == "call" else None
            if answer is not None:
                kept = {key: answer.get(key) for key in ("call", "http_status", "body")}
                yield msgspec.structs.replace(
                    event, ts=answer["ts"], event="answer", told=kept, emails=None
                )
