"""Reading a ledger: where each row stands, what was in flight, how many calls were made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bulklink.errors import LedgerError
from bulklink.ledger.records import damaged_line_error
from bulklink.ledger.row_array import RowArray
from bulklink.models import Status

PUT_BACK_FAILED = "put-back-failed"
"""Code of a relink that is off the deal it was on, and could be neither linked nor put back."""
NOT_APPLIED = "not-applied"
"""Code of a message that was answered with success, and that the canary's read shows elsewhere:
a second result of its row, which corrects the first."""
_STATUSES: tuple[Status | None, ...] = (None, *Status)
_RETRY_BIT = 0x08
_STATUS_MASK = 0x07
_FINAL_STATUSES = (Status.DONE, Status.UNCHANGED, Status.REJECTED, Status.DUPLICATE)
_MAX_RESETTLED_ROWS = 20
_SAMPLE_SIZE = 1000
_TAIL_BYTES = 1 << 20


class CallTotals(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind; `retried` of them were a second or later try."""

    link: int = 0
    unlink: int = 0
    read: int = 0
    lookup: int = 0
    retried: int = 0


class OpenRow(msgspec.Struct):
    """A row that was worked on and has no result since.

    `last_op` is the op of the last write call that carried it, None if none did since its last
    `step`; `last_call` is the number of that call. `unlinked` tells that it is between the halves
    of a relink. `previous_deal` is (id, name) of the deal that its snapshot told, (None, None) for
    no deal; None without a snapshot. `before_last_call` is (asked, call, attempts) as they were
    before that call. `may_have_changed` tells that a call before the snapshot may have changed it.
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
        """Whether it is, or may be, off the deal it was on and not yet on the wanted one."""
        was_on = self.previous_deal[0] if self.previous_deal else None
        return self.unlinked or (was_on is not None and self.last_op is not None)


class _PackedStates:
    """The state of each row, half a byte each: its status and whether it is to be sent again."""

    def __init__(self) -> None:
        self._packed = RowArray("B")

    def __getitem__(self, row: int) -> int:
        index, high = divmod(row, 2)
        return self._packed[index] >> 4 if high else self._packed[index] & 0x0F

    def __setitem__(self, row: int, state: int) -> None:
        index, high = divmod(row, 2)
        neighbour = self._packed[index] & (0x0F if high else 0xF0)
        self._packed[index] = neighbour | (state << 4 if high else state)


class LedgerState:
    """What a ledger says, row by row.

    Memory: half a byte a row, the rows that were in flight or are in doubt, and those that are to
    be sent again.

    Attributes:
        open_rows: rows that were worked on and have no result since.
        calls: requests by kind.
        counts: the rows of each status; the last result of a row is its state.
        next_call: the number of the next call.
        not_put_back: rows that ended as put-back-failed, with the deal that each was on.
        last_timestamp: `ts` of the last line, empty if there is none.
        sample_message_ids: message ids of the first rows with a result, to know the plan by.
        confirmed_kinds: kinds of call that were answered with success, or shown to have been
            applied.
        resettled_rows: the first rows that got another result though nothing could change it.
    """

    def __init__(self) -> None:
        self.open_rows: dict[int, OpenRow] = {}
        self.calls = CallTotals()
        self.counts = dict.fromkeys(Status, 0)
        self.next_call = 1
        self.not_put_back: dict[int, str | None] = {}
        self.last_timestamp = ""
        self.sample_message_ids: dict[int, str] = {}
        self.confirmed_kinds: set[str] = set()
        self.resettled_rows: list[int] = []
        self._states = _PackedStates()
        self._retry_attempts: dict[int, int] = {}
        self._retry_counts = dict.fromkeys(Status, 0)
        self._in_doubt_attempts: dict[int, int] = {}

    def status(self, row: int) -> Status | None:
        """Return the status of a row, None while it has no result."""
        return _STATUSES[self._states[row] & _STATUS_MASK]

    def is_unfinished(self, row: int) -> bool:
        """Tell whether a row has no result, was in flight since, or is to be sent again."""
        state = self._states[row]
        return not state or state & _RETRY_BIT != 0 or row in self.open_rows

    def is_retry(self, row: int) -> bool:
        """Tell whether a row that has a result is to be sent again."""
        return self._states[row] & _RETRY_BIT != 0

    @property
    def has_retries(self) -> bool:
        """Whether any row that has a result is to be sent again."""
        return bool(self._retry_attempts)

    @property
    def retry_count(self) -> int:
        """How many rows that have a result are to be sent again."""
        return len(self._retry_attempts)

    @property
    def final_counts(self) -> dict[Status, int]:
        """The rows of each status, without those that are to be sent again."""
        return {status: count - self._retry_counts[status] for status, count in self.counts.items()}

    def earlier_attempts(self, row: int) -> int:
        """Return the write calls that carried a row which is to be sent again."""
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
        """Note a result.

        Args:
            row: that is settled.
            status: of the result.
            retry: whether the row is to be sent again.
            attempts: write calls that carried it.
            is_correction: whether it corrects that the row was done.
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
        """Return what is known of a row since its last result, if it has one."""
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
    path: Path, should_retry: Callable[[Status, str | None], bool] = lambda status, code: False
) -> LedgerState:
    """Read a ledger; a torn last line, of a run that was killed, does not count.

    Args:
        path: the ledger; a missing one is empty.
        should_retry: tells by status and code which rows are to be sent again.

    Raises:
        LedgerError: if a line is damaged.
    """
    ledger_state = LedgerState()
    calls = dict.fromkeys(CallTotals.__struct_fields__, 0)
    for line in _read_lines(path):
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
    """Cut off a torn last line, as a kill or a full disk leaves it, and keep it in another file.

    Raises:
        LedgerError: if that cannot be written.
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
    """Let rows stand as they stood before a call that did not leave."""
    if line.op not in ("link", "unlink"):
        return
    for row in line.rows:
        open_row = ledger_state.open_rows.get(row)
        if open_row is None or open_row.last_call != line.call:
            continue
        open_row.last_op, open_row.last_call, open_row.attempts = open_row.before_last_call
        if open_row.last_op is None and not open_row.unlinked and open_row.previous_deal is None:
            del ledger_state.open_rows[row]


def _read_lines(path: Path) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, 1):
            if line.endswith(b"\n"):
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError as error:
                    raise damaged_line_error(path, number, error) from None
