"""What is held against the promises while a run goes on: each request, and the end of each life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import orjson

from bulklink.engine.shutdown import Stopping
from bulklink.errors import StoppedBy
from bulklink.ledger.state import Replay
from bulklink.models import Message, Op
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.simulated import Case


_LEAVE_NOTHING_TORN = (
    StoppedBy.INTERRUPTED,
    StoppedBy.CREDITS,
    StoppedBy.MAX_CREDITS,
    StoppedBy.MAX_FAILURES,
    StoppedBy.CANARY,
)


class Witness:
    """Watches one life.

    Args:
        case: what the life works on.
        machine: that it runs on.
        told: what the ledger said at its start; kept up to date by the run.
        stopping: tells whether it was stopped.
        lies: takes each broken promise, in words.
    """

    def __init__(
        self, case: Case, machine: Machine, told: Replay, stopping: Stopping, lies: list[str]
    ) -> None:
        self._case = case
        self._messages = {(m.contact_id, m.message_id): m for m in case.messages}
        self._ops = {m.row: m.op for m in case.messages}
        self._machine = machine
        self._told = told
        self._stopping = stopping
        self._lies = lies
        self._read_to = len(machine.flushed)
        self._waiting: Counter[tuple[str, str | None, tuple[int, ...]]] = Counter()
        self._torn_before = set(told.open)
        taken_up = {m.row for m in case.messages if m.row in told.open or told.is_again(m.row)}
        self._off = {row for row in taken_up if self._ops[row] is Op.RELINK}
        self._snapshots = {row for row, left in told.open.items() if left.previous is not None}

    def leaves(self, method: str, target: str, body: bytes, *, goes_on: bool) -> None:
        """Check promise 3 as a request leaves: its lines are on disk, nothing done is in it.

        `goes_on` tells that the run was not stopped: after that, relinks are finished at most.
        """
        path, _, query = target.partition("?")
        if "/oauth/" in path:
            return
        self._read_the_disk()
        op = _op_of(method, path)
        contact_id = path.split("/")[4] if "/Contacts/" in path else None
        sent = [self._messages[contact_id or "", one] for one in _carried(op, path, query, body)]
        rows = tuple(sorted(message.row for message in sent))
        line = (op, contact_id, rows)
        if not self._waiting[line]:
            self._lies.append(f"{op} of rows {rows} left without its call line on disk")
        self._waiting[line] -= 1
        for message in sent:
            if not self._told.is_to_do(message.row):
                self._lies.append(f"row {message.row} is settled and was in a {op} again")
            if self._needs_snapshot(message) and message.row not in self._snapshots:
                self._lies.append(f"row {message.row} was in a {op} without its snapshot on disk")

        if not goes_on and not self._finishes(op, contact_id, rows):
            reason = self._stopping.reason
            self._lies.append(f"{op} {rows} of {contact_id} left after a stop: {reason}")

    def _finishes(self, op: str, contact_id: str | None, rows: tuple[int, ...]) -> bool:
        """Tell whether a request can finish relinks: all that may leave after a stop.

        A link that was made ready before may carry others too.
        """
        of_contact = {m.row for m in self._case.messages if m.contact_id == contact_id}
        match op:
            case "link":
                return not self._off.isdisjoint(rows)
            case "read":
                return not self._off.isdisjoint(of_contact)
        return False

    def ended(self, taken_off: Callable[[Message], bool]) -> None:
        """Check the end of a life that nothing cut off."""
        reason = self._stopping.reason
        by = reason.by if reason else None
        if by is StoppedBy.LEDGER:
            return
        told: Counter[str] = Counter()
        last: dict[int, str] = {}
        for line in self._lines(self._machine.written):
            if line["event"] == "result":
                last[line["row"]] = line["status"]
        told.update(last.values())
        counted = {str(status): n for status, n in self._told.counts.items() if n}
        if told != counted:
            self._lies.append(f"the ledger tells {dict(told)}, the run counted {counted}")
        if by in _LEAVE_NOTHING_TORN and not self._stopping.barred:
            self._nothing_is_torn(taken_off)

    def _nothing_is_torn(self, taken_off: Callable[[Message], bool]) -> None:
        """Check that no relink lies between its halves after a gentle stop."""
        left: dict[int, str | None] = {}
        for line in self._lines(self._machine.written):
            if line["event"] == "snapshot":
                left[line["row"]] = line["previous_deal_id"]
            elif line["event"] == "result":
                left.pop(line["row"], None)
        for message in self._messages.values():
            was_on = left.get(message.row)
            if message.row in self._torn_before:
                continue  # by what struck an earlier life; this one may not have come to it
            if message.op is Op.RELINK and was_on is not None and taken_off(message):
                self._lies.append(f"row {message.row} was on {was_on} and is torn by a stop")

    def _needs_snapshot(self, message: Message) -> bool:
        """Tell whether its snapshot comes before its first write; what no page lists has none."""
        if message.from_deal_id is not None or (
            message.op is Op.RELINK and not self._case.no_put_back
        ):
            return True
        return self._case.reads_first(message.op) and self._case.all_listed

    def _read_the_disk(self) -> None:
        flushed = self._machine.flushed
        for line in self._lines(flushed[self._read_to :]):
            if line["event"] in ("call", "unsent"):
                rows = () if line["op"] == "read" else tuple(sorted(line["rows"]))
                one = 1 if line["event"] == "call" else -1
                self._waiting[line["op"], line["contact_id"], rows] += one
                if line["op"] == "unlink":
                    self._off |= {row for row in rows if self._ops[row] is Op.RELINK}
            elif line["event"] == "snapshot":
                self._snapshots.add(line["row"])
            elif line["event"] == "result":
                self._off.discard(line["row"])
        self._read_to = len(flushed)

    @staticmethod
    def _lines(content: bytes) -> Iterable[dict[str, Any]]:
        return (orjson.loads(line) for line in content.splitlines(True) if line[-1:] == b"\n")


def _op_of(method: str, path: str) -> str:
    if path.endswith("/actions/link_record"):
        return "link" if method == "POST" else "unlink"
    return "read" if path.endswith("/Emails") else "lookup"


def _carried(op: str, path: str, query: str, body: bytes) -> list[str]:
    """Return the messages that a request changes."""
    if op not in ("link", "unlink"):
        return []
    parts = path.split("/")
    if parts[6] != "actions":
        return [parts[6]]
    if op == "unlink":
        return parse_qs(query)["message_ids"][0].split(",")
    return [item["message_id"] for item in orjson.loads(body)["Emails"]]
