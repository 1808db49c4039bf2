"""Invariants checked during a run: at each request, and at the end of each command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec
import orjson

from bulklink.engine.outage import SUSPECT_AFTER
from bulklink.engine.shutdown import StopController
from bulklink.errors import StoppedBy
from bulklink.ledger.state import LedgerState
from bulklink.models import Message, Op
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.simulator import Case


_GRACEFUL_STOPS = (
    StoppedBy.INTERRUPTED,
    StoppedBy.CREDITS,
    StoppedBy.MAX_CREDITS,
    StoppedBy.MAX_FAILURES,
    StoppedBy.CANARY,
)


@dataclass(slots=True)
class InvariantMonitor:
    """Monitor of one command.

    Args:
        case: the case of the run.
        machine: the machine that the command runs on.
        ledger_state: state of the ledger at the start; the command keeps it up to date.
        stop: stop controller of the command.
        violations: list to which descriptions of violations are added.
    """

    case: Case
    machine: Machine
    ledger_state: LedgerState
    stop: StopController
    violations: list[str]
    _messages: dict[tuple[str, str], Message] = field(init=False)
    _ops: dict[int, Op] = field(init=False)
    _read_offset: int = field(init=False)
    _unsent_call_lines: Counter[tuple[str, str | None, tuple[int, ...]]] = field(
        default_factory=Counter, init=False
    )
    _open_at_start: set[int] = field(init=False)
    _relinks_to_finish: set[int] = field(init=False)
    _snapshots: set[int] = field(init=False)
    _has_answered: bool = field(default=False, init=False)
    _unanswered_in_row: int = field(default=0, init=False)
    _out_in_outage: set[object] = field(default_factory=set, init=False)
    _was_refused: bool = field(default=False, init=False)
    _out_since_refusal: set[object] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        messages, open_rows = self.case.messages, self.ledger_state.open_rows
        self._messages = {(m.contact_id, m.message_id): m for m in messages}
        self._ops = {m.row: m.op for m in messages}
        self._read_offset = len(self.machine.flushed)
        self._open_at_start = set(open_rows)
        self._relinks_to_finish = {
            m.row
            for m in messages
            if m.op is Op.RELINK and (m.row in open_rows or self.ledger_state.is_retry(m.row))
        }
        self._snapshots = {
            row for row, open_row in open_rows.items() if open_row.previous_deal is not None
        }

    def check_request(self, method: str, target: str, body: bytes, *, was_running: bool) -> None:
        """Check guarantee 3 when a request is sent: its lines are on disk, and no row is settled.

        Args:
            method: HTTP method.
            target: path and query.
            body: the body, if any.
            was_running: whether the run was not stopped; after a stop, calls only finish relinks.
        """
        path, _, query = target.partition("?")
        if "/oauth/" in path:
            return
        self._read_flushed_lines()
        op = _op_of(method, path)
        contact_id = path.split("/")[4] if "/Contacts/" in path else None
        messages = [
            self._messages[contact_id or "", message_id]
            for message_id in _parse_message_ids(op, path, query, body)
        ]
        rows = tuple(sorted(message.row for message in messages))
        call_key = (op, contact_id, rows)
        if not self._unsent_call_lines[call_key]:
            self.violations.append(f"{op} of rows {rows} was sent without its call line on disk")
        self._unsent_call_lines[call_key] -= 1
        for message in messages:
            if not self.ledger_state.is_unfinished(message.row):
                self.violations.append(f"row {message.row} was settled, but was in another {op}")
            if self._needs_snapshot(message) and message.row not in self._snapshots:
                self.violations.append(
                    f"row {message.row} was in a {op} without its snapshot on disk"
                )

        is_trial = op == "lookup" and self._in_outage
        if not was_running and not is_trial and not self._can_finish_relinks(op, contact_id, rows):
            reason = self.stop.reason
            self.violations.append(f"{op} {rows} of {contact_id} was sent after a stop: {reason}")

    def check_alone(self, method: str, target: str) -> Callable[[int | None], None]:
        """Check that only one call at a time is sent after a 429 and during an outage.

        After a 429, this applies until a call sent after it is accepted; after three calls in a row
        without an answer, until any call is answered.

        Args:
            method: HTTP method of the request that is sent.
            target: its path and query.

        Returns:
            A function to call with the status of the answer, or None if there is no answer.
        """
        request = object()
        if self._in_outage:
            if self._out_in_outage:
                self.violations.append(f"{method} {target} was sent in an outage with another call")
            self._out_in_outage.add(request)
        if self._was_refused:
            if self._out_since_refusal:
                self.violations.append(f"{method} {target} was sent after a 429 with another call")
            self._out_since_refusal.add(request)

        def on_answer(status: int | None) -> None:
            self._out_in_outage.discard(request)
            if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._unanswered_in_row += self._has_answered
            else:
                self._has_answered, self._unanswered_in_row = True, 0
                self._out_in_outage.clear()
            sent_after_refusal = request in self._out_since_refusal
            self._out_since_refusal.discard(request)
            if status == HTTPStatus.TOO_MANY_REQUESTS:
                self._was_refused = True
            elif status is not None and sent_after_refusal:
                self._was_refused = False
                self._out_since_refusal.clear()

        return on_answer

    @property
    def _in_outage(self) -> bool:
        return self.case.outage > 0 and self._unanswered_in_row >= SUSPECT_AFTER

    def _can_finish_relinks(self, op: str, contact_id: str | None, rows: tuple[int, ...]) -> bool:
        """Return whether a request can finish relinks, as only these may be sent after a stop.

        A link that was prepared before the stop may include other emails.
        """
        contact_rows = {m.row for m in self.case.messages if m.contact_id == contact_id}
        match op:
            case "link":
                return not self._relinks_to_finish.isdisjoint(rows)
            case "read":
                return not self._relinks_to_finish.isdisjoint(contact_rows)
        return False

    def check_end(self, was_unlinked_by_run: Callable[[Message], bool]) -> None:
        """Check the end of a command that was not killed."""
        reason = self.stop.reason
        stopped_by = reason.stopped_by if reason else None
        if reason is not None and stopped_by is StoppedBy.INTERNAL:
            self.violations.append(f"it stopped for an internal error: {reason.message}")
        if stopped_by is StoppedBy.LEDGER:
            return
        ledger_counts: Counter[str] = Counter()
        last_statuses: dict[int, str] = {}
        for line in self._lines(self.machine.written):
            if line["event"] == "result":
                last_statuses[line["row"]] = line["status"]
        ledger_counts.update(last_statuses.values())
        run_counts = {str(status): n for status, n in self.ledger_state.counts.items() if n}
        if ledger_counts != run_counts:
            self.violations.append(
                f"the ledger has {dict(ledger_counts)}, the run counted {run_counts}"
            )
        ledger_calls = self._ledger_calls()
        run_calls = msgspec.structs.asdict(self.ledger_state.calls)
        if ledger_calls != run_calls:
            self.violations.append(f"the ledger has calls {ledger_calls}, the run {run_calls}")
        if stopped_by in _GRACEFUL_STOPS and not (
            self.stop.quota_exhausted or self.stop.unreachable
        ):
            self._check_no_half_done_relinks(was_unlinked_by_run)

    def _ledger_calls(self) -> dict[str, int]:
        """Return the number of requests that the ledger records, by kind, and the repeated ones."""
        calls = dict.fromkeys(("link", "unlink", "read", "lookup", "retried"), 0)
        for line in self._lines(self.machine.written):
            if line["event"] in ("call", "unsent"):
                sign = 1 if line["event"] == "call" else -1
                calls[line["op"]] += sign
                calls["retried"] += sign * (line["attempt"] > 1)
        return calls

    def _check_no_half_done_relinks(self, was_unlinked_by_run: Callable[[Message], bool]) -> None:
        """Check that no relink is left half done after a graceful stop."""
        previous_deals: dict[int, str | None] = {}
        for line in self._lines(self.machine.written):
            if line["event"] == "snapshot":
                previous_deals[line["row"]] = line["previous_deal_id"]
            elif line["event"] == "result":
                previous_deals.pop(line["row"], None)
        for message in self._messages.values():
            previous_deal_id = previous_deals.get(message.row)
            if message.row in self._open_at_start:
                continue  # interrupted in an earlier command; this one may not have reached it
            if (
                message.op is Op.RELINK
                and previous_deal_id is not None
                and was_unlinked_by_run(message)
            ):
                self.violations.append(
                    f"row {message.row} was on {previous_deal_id} and is left half done by a stop"
                )

    def _needs_snapshot(self, message: Message) -> bool:
        """Return whether a snapshot must precede its first write; an unlisted email has none."""
        if message.from_deal_id is not None or (
            message.op is Op.RELINK and not self.case.no_put_back
        ):
            return True
        return self.case.reads_first(message.op) and self.case.all_listed

    def _read_flushed_lines(self) -> None:
        flushed = self.machine.flushed
        for line in self._lines(flushed[self._read_offset :]):
            if line["event"] in ("call", "unsent"):
                rows = () if line["op"] == "read" else tuple(sorted(line["rows"]))
                sign = 1 if line["event"] == "call" else -1
                self._unsent_call_lines[line["op"], line["contact_id"], rows] += sign
                if line["op"] == "unlink":
                    self._relinks_to_finish |= {row for row in rows if self._ops[row] is Op.RELINK}
            elif line["event"] == "snapshot":
                self._snapshots.add(line["row"])
            elif line["event"] == "result":
                self._relinks_to_finish.discard(line["row"])
        self._read_offset = len(flushed)

    @staticmethod
    def _lines(content: bytes) -> Iterable[dict[str, Any]]:
        return (orjson.loads(line) for line in content.splitlines(True) if line[-1:] == b"\n")


def _op_of(method: str, path: str) -> str:
    if path.endswith("/actions/link_record"):
        return "link" if method == "POST" else "unlink"
    return "read" if path.endswith("/Emails") else "lookup"


def _parse_message_ids(op: str, path: str, query: str, body: bytes) -> list[str]:
    """Return the ids of the messages that a request changes."""
    if op not in ("link", "unlink"):
        return []
    parts = path.split("/")
    if parts[6] != "actions":
        return [parts[6]]
    if op == "unlink":
        return parse_qs(query)["message_ids"][0].split(",")
    return [item["message_id"] for item in orjson.loads(body)["Emails"]]
