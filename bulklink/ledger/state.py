"""Ledger replay: state of each row, calls in flight, call counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bulklink.errors import LedgerError
from bulklink.ledger.records import decode_lines
from bulklink.ledger.row_array import RowArray
from bulklink.models import Status

PUT_BACK_FAILED = "put-back-failed"
"""Code of a relink that is off the deal it was on, and could be neither linked nor put back."""
NOT_APPLIED = "not-applied"
"""Code of a message whose call succeeded and which the canary's read shows on another deal: a
second result of its row, which corrects the first."""
_STATUSES: tuple[Status | None, ...] = (None, *Status)
_RETRY_BIT = 0x08
_STATUS_MASK = 0x07
_FINAL_STATUSES = (Status.DONE, Status.UNCHANGED, Status.REJECTED, Status.DUPLICATE)
_MAX_RESETTLED_ROWS = 20
_SAMPLE_SIZE = 1000
_TAIL_BYTES = 1 << 20


class CallTotals(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind.

    Args:
        link: link requests.
        unlink: unlink requests.
        read: reads of a contact's emails.
        lookup: look-ups of org, module, deals and users.
        retried: second or later attempts among them.
    """

    link: int = 0
    unlink: int = 0
    read: int = 0
    lookup: int = 0
    retried: int = 0


class OpenRow(msgspec.Struct):
    """A row with a call, snapshot or step since its last result.

    Args:
        last_op: op of the last write call that carried it; None if none did since its last `step`.
        last_call: number of that call.
        attempts: write calls that carried it.
        unlinked: whether it is between the unlink and the link of a relink.
        previous_deal: (id, name) of the deal in its snapshot, (None, None) for no deal; None
            without a snapshot.
        before_last_call: (last_op, last_call, attempts) before the last call.
        may_have_changed: whether a call before the snapshot may have changed it.
    """

    last_op: str | None = None
    last_call: int | None = None
    attempts: int = 0
    unlinked: bool = False
    previous_deal: tuple[str | None, str | None] | None = None
    before_last_call: tuple[str | None, int | None, int] = (None, None, 0)
    may_have_changed: bool = False

    @property
    def may_be_detached(self) -> bool:
        """Whether the email is, or may be, off its previous deal and not yet on the new one."""
        previous_deal_id = self.previous_deal[0] if self.previous_deal else None
        return self.unlinked or (previous_deal_id is not None and self.last_op is not None)


class _PackedStates:
    """Status and retry flag of each row, four bits a row."""

    def __init__(self) -> None:
        self._packed = RowArray("B")

    def __getitem__(self, row: int) -> int:
        index, high = divmod(row, 2)
        return self._packed[index] >> 4 if high else self._packed[index] & 0x0F

    def __setitem__(self, row: int, state: int) -> None:
        index, high = divmod(row, 2)
        neighbour = self._packed[index] & (0x0F if high else 0xF0)
        self._packed[index] = neighbour | (state << 4 if high else state)


def _no_rows() -> dict[Status, int]:
    return dict.fromkeys(Status, 0)


@dataclass(slots=True)
class LedgerState:
    """State of a run as its ledger records it.

    Memory: half a byte a row, the rows that were in flight or are in doubt, and those to be
    retried.

    Args:
        open_rows: rows with a call, snapshot or step since their last result.
        calls: requests by kind.
        counts: rows of each status; the last result of a row is its state.
        next_call: number of the next call.
        not_put_back: rows that ended as put-back-failed, with the previous deal of each.
        last_timestamp: `ts` of the last line, empty if there is none.
        sample_message_ids: message ids of the first rows with a result, to recognise the plan.
        confirmed_kinds: kinds of call that succeeded, or were shown to have been applied.
        resettled_rows: the first rows with another result after a final one.
    """

    open_rows: dict[int, OpenRow] = field(default_factory=dict)
    calls: CallTotals = field(default_factory=CallTotals)
    counts: dict[Status, int] = field(default_factory=_no_rows)
    next_call: int = 1
    not_put_back: dict[int, str | None] = field(default_factory=dict)
    last_timestamp: str = ""
    sample_message_ids: dict[int, str] = field(default_factory=dict)
    confirmed_kinds: set[str] = field(default_factory=set)
    resettled_rows: list[int] = field(default_factory=list)
    _states: _PackedStates = field(default_factory=_PackedStates, init=False)
    _retry_attempts: dict[int, int] = field(default_factory=dict, init=False)
    _retry_counts: dict[Status, int] = field(default_factory=_no_rows, init=False)
    _in_doubt_attempts: dict[int, int] = field(default_factory=dict, init=False)

    def status(self, row: int) -> Status | None:
        """Return the status of a row, None while it has no result."""
        return _STATUSES[self._states[row] & _STATUS_MASK]

    def is_unfinished(self, row: int) -> bool:
        """Return whether a row has no result, is in flight, or will be retried."""
        state = self._states[row]
        return not state or state & _RETRY_BIT != 0 or row in self.open_rows

    def is_retry(self, row: int) -> bool:
        """Return whether a row with a result will be retried."""
        return self._states[row] & _RETRY_BIT != 0

    @property
    def retry_count(self) -> int:
        """Number of rows with a result that will be retried."""
        return len(self._retry_attempts)

    @property
    def final_counts(self) -> dict[Status, int]:
        """Rows of each status, without those that will be retried."""
        return {status: count - self._retry_counts[status] for status, count in self.counts.items()}

    def earlier_attempts(self, row: int) -> int:
        """Return the number of write calls that carried a row which will be retried."""
        return self._retry_attempts.get(row, 0)

    def record_result(
        self,
        row: int,
        status: Status,
        *,
        retry: bool = False,
        attempts: int = 0,
        is_correction: bool = False,
    ) -> None:
        """Record a result.

        Args:
            row: the settled row.
            status: of the result.
            retry: whether the row will be retried.
            attempts: write calls that carried it.
            is_correction: whether the result corrects a `done`.
        """
        previous = self.status(row)
        if previous is not None:
            self.counts[previous] -= 1
            is_corrected = is_correction and previous is Status.DONE
            if (
                previous in _FINAL_STATUSES
                and not is_corrected
                and len(self.resettled_rows) < _MAX_RESETTLED_ROWS
            ):
                self.resettled_rows.append(row)
            self._retry_counts[previous] -= self.is_retry(row)
        self.counts[status] += 1
        self._retry_counts[status] += retry
        self._states[row] = _STATUSES.index(status) | (_RETRY_BIT if retry else 0)
        self.open_rows.pop(row, None)
        self.not_put_back.pop(row, None)
        self._retry_attempts.pop(row, None)
        self._in_doubt_attempts.pop(row, None)
        if retry:
            self._retry_attempts[row] = attempts
        if status is Status.IN_DOUBT and attempts:
            self._in_doubt_attempts[row] = attempts

    def open_row(self, row: int) -> OpenRow:
        """Return the state of a row since its last result, new if there is none."""
        if row not in self.open_rows:
            attempts = self._in_doubt_attempts.get(row, 0)
            self.open_rows[row] = OpenRow(
                attempts=attempts or self.earlier_attempts(row), may_have_changed=attempts > 0
            )
        return self.open_rows[row]


class _Line(msgspec.Struct):
    event: str
    ts: str
    row: int = 0
    rows: list[int] = []
    call: int | None = None
    op: str | None = None
    attempt: int = 1
    attempts: int = 0
    status: Status | None = None
    code: str | None = None
    message_id: str | None = None
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None


def replay(
    path: Path,
    should_retry: Callable[[Status, str | None], bool] = lambda status, code: False,
    *,
    check: Callable[[], None] = lambda: None,
) -> LedgerState:
    """Return the state that a ledger records.

    A torn last line, of a run that was killed, does not count.

    Args:
        path: the ledger; a missing one is empty.
        should_retry: whether to retry a row, by status and code of its result.
        check: called now and then; what it raises ends the replay.

    Raises:
        LedgerError: if a line is damaged.
    """
    ledger_state = LedgerState()
    calls = dict.fromkeys(CallTotals.__struct_fields__, 0)
    for _, line in decode_lines(path, msgspec.json.Decoder(_Line).decode, check):
        ledger_state.last_timestamp = line.ts
        match line.event:
            case "result" if line.status is not None:
                retry = should_retry(line.status, line.code)
                ledger_state.record_result(
                    line.row,
                    line.status,
                    retry=retry,
                    attempts=line.attempts,
                    is_correction=line.code == NOT_APPLIED,
                )
                if line.status is Status.DONE:
                    ledger_state.confirmed_kinds.add("unlink" if line.op == "unlink" else "link")
                if line.code == PUT_BACK_FAILED:
                    ledger_state.not_put_back[line.row] = line.previous_deal_id
                if (
                    len(ledger_state.sample_message_ids) < _SAMPLE_SIZE
                    and line.message_id is not None
                ):
                    ledger_state.sample_message_ids[line.row] = line.message_id
            case "call" if line.call is not None and line.op in calls:
                ledger_state.next_call = max(ledger_state.next_call, line.call + 1)
                calls[line.op] += 1
                calls["retried"] += line.attempt > 1
                _apply_call(ledger_state, line)
            case "unsent" if line.op in calls:
                calls[line.op] -= 1
                calls["retried"] -= line.attempt > 1
                _revert_call(ledger_state, line)
            case "snapshot":
                open_row = ledger_state.open_row(line.row)
                open_row.previous_deal = (line.previous_deal_id, line.previous_deal_name)
                ledger_state.confirmed_kinds.add("read")
            case "step":
                ledger_state.confirmed_kinds.add("unlink")
                open_row = ledger_state.open_row(line.row)
                open_row.unlinked, open_row.last_op = True, None
    ledger_state.calls = CallTotals(**calls)
    return ledger_state


def repair_torn_line(path: Path, torn_path: Path) -> None:
    """Cut a torn last line off a file and keep it in another.

    A kill or a full disk leaves such a line.

    Args:
        path: a file of lines; a missing one is not created.
        torn_path: the file to which the torn line is appended.

    Raises:
        LedgerError: if one of the files cannot be written.
    """
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL_BYTES)
            file.seek(start)
            tail = file.read()
            whole_length = tail.rfind(b"\n") + 1
            if whole_length == len(tail):
                return
            with os.fdopen(
                os.open(torn_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb"
            ) as torn_file:
                torn_file.write(tail[whole_length:] + b"\n")
            file.truncate(start + whole_length)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise LedgerError(
            f"The ledger cannot be mended: {error.strerror or error}.",
            where=str(path),
            advice="Check that you may write there, and that the disk has room; then resume.",
        ) from None


def _apply_call(ledger_state: LedgerState, line: _Line) -> None:
    if line.op not in ("link", "unlink"):
        return
    for row in line.rows:
        open_row = ledger_state.open_row(row)
        open_row.before_last_call = (open_row.last_op, open_row.last_call, open_row.attempts)
        open_row.last_op, open_row.last_call = line.op, line.call
        open_row.attempts += 1


def _revert_call(ledger_state: LedgerState, line: _Line) -> None:
    """Restore the rows of a call that was not sent."""
    if line.op not in ("link", "unlink"):
        return
    for row in line.rows:
        open_row = ledger_state.open_rows.get(row)
        if open_row is None or open_row.last_call != line.call:
            continue
        open_row.last_op, open_row.last_call, open_row.attempts = open_row.before_last_call
        if open_row.last_op is None and not open_row.unlinked and open_row.previous_deal is None:
            del ledger_state.open_rows[row]
