"""State of a run: status of each row, calls in flight, call counts."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bulklink.errors import LedgerError
from bulklink.folder_files import MAX_LINE_BYTES, open_to_append, open_to_repair
from bulklink.ledger.checkpoint import LedgerDigest
from bulklink.ledger.row_array import InvalidLineError, RowArray
from bulklink.models import MAX_ROWS, Status

PUT_BACK_FAILED = "put-back-failed"
"""Code of a relink that was unlinked, then could be neither linked nor put back."""
NOT_APPLIED = "not-applied"
"""Code of a message whose call succeeded, although the canary's read shows no change; this second
result of its row corrects the first."""
SETTLED_BY_READ = "settled-by-read"
"""Code of a message whose call was not answered, and whose email a read then showed as wanted."""
_STATUSES: tuple[Status | None, ...] = (None, *Status)
_RETRY_BIT = 0x08
_STATUS_MASK = 0x07
_UNFINISHED = bytes(b"01"[not state or state & _RETRY_BIT != 0] for state in range(256))
DONE_STATE = _STATUSES.index(Status.DONE)
"""State of a row that is done, in `LedgerState.states`."""
_FINAL_STATUSES = (Status.DONE, Status.UNCHANGED, Status.REJECTED, Status.DUPLICATE)
_MAX_RESETTLED_ROWS = 20


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

    def plus(self, counts: Mapping[str, int]) -> CallTotals:
        """Return the sum with further requests, counted by the names of these fields."""
        return CallTotals(
            **{name: getattr(self, name) + counts.get(name, 0) for name in self.__struct_fields__}
        )


class OpenRow(msgspec.Struct):
    """A row with a call, snapshot or step since its last result.

    Args:
        last_op: op of the last write call that included it; None if none since its last `step`.
        last_call: number of that call.
        attempts: write calls that included it.
        unlinked: whether its relink is half done: unlinked, but not yet linked.
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

    def add_call(self, op: str | None, call: int | None) -> None:
        """Record a write call that included the row."""
        self.before_last_call = (self.last_op, self.last_call, self.attempts)
        self.last_op, self.last_call = op, call
        self.attempts += 1

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is known about it."""
        return self.last_op is None and not self.unlinked and self.previous_deal is None

    @property
    def may_be_detached(self) -> bool:
        """Whether the email is, or may be, unlinked from its previous deal but not yet relinked."""
        previous_deal_id = self.previous_deal[0] if self.previous_deal else None
        return self.unlinked or (previous_deal_id is not None and self.last_op is not None)


def _no_rows() -> dict[Status, int]:
    return dict.fromkeys(Status, 0)


@dataclass(slots=True)
class LedgerState:
    """State of a run as recorded by its ledger.

    Memory: a byte per row, plus the rows that were in flight, are in doubt or will be retried.

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
        rows: the highest row number of the run.
        digest: length and SHA-256 of the ledger's whole lines.
        states: code of each row's status, with a bit for a row to be retried; 0 without a result.
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
    rows: int = MAX_ROWS
    digest: LedgerDigest = field(default_factory=LedgerDigest)
    states: RowArray = field(init=False)
    _retry_attempts: dict[int, int] = field(default_factory=dict, init=False)
    _retry_counts: dict[Status, int] = field(default_factory=_no_rows, init=False)
    _in_doubt_attempts: dict[int, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.states = RowArray("B", self.rows)

    def status(self, row: int) -> Status | None:
        """Return the status of a row; None if it has no result."""
        return _STATUSES[self.states[row] & _STATUS_MASK]

    def is_unfinished(self, row: int) -> bool:
        """Return whether a row has no result, is in flight, or will be retried."""
        state = self.states[row]
        return not state or state & _RETRY_BIT != 0 or row in self.open_rows

    def select_open_rows(self) -> str:
        """Return a text with `1` at the position of each open row, and `0` at any other.

        Rows beyond its end have its last digit.
        """
        rows = bytearray(b"0" * (max(self.open_rows, default=0) + 2))
        for row in self.open_rows:
            rows[row] = ord("1")
        return rows.decode()

    def select_unfinished_rows(self, excluded: Collection[int]) -> str:
        """Return a text with `1` at the position of each row without a result, or to be retried.

        Rows beyond its end have its last digit.

        Args:
            excluded: rows that have `0`, as all others have.
        """
        known = self.states.numbers.tobytes().translate(_UNFINISHED)
        rows = bytearray(known.ljust(max(excluded, default=0) + 1, b"1") + b"1")
        for row in excluded:
            rows[row] = ord("0")
        return rows.decode()

    def is_retry(self, row: int) -> bool:
        """Return whether a row with a result will be retried."""
        return self.states[row] & _RETRY_BIT != 0

    def are_untouched(self, rows: Iterable[int]) -> bool:
        """Return whether none of these unfinished rows has a call, a snapshot or a result."""
        if not self.open_rows and not self._retry_attempts:
            return True
        return not any(self.states[row] or row in self.open_rows for row in rows)

    @property
    def retry_count(self) -> int:
        """Number of rows with a result that will be retried."""
        return len(self._retry_attempts)

    @property
    def final_counts(self) -> dict[Status, int]:
        """Rows of each status, without those that will be retried."""
        return {status: count - self._retry_counts[status] for status, count in self.counts.items()}

    def earlier_attempts(self, row: int) -> int:
        """Return the number of write calls that included a row to be retried."""
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
            status: status of the result.
            retry: whether the row will be retried.
            attempts: write calls that included it.
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
        self.states[row] = _STATUSES.index(status) | (_RETRY_BIT if retry else 0)
        self.open_rows.pop(row, None)
        self.not_put_back.pop(row, None)
        self._retry_attempts.pop(row, None)
        self._in_doubt_attempts.pop(row, None)
        if retry:
            self._retry_attempts[row] = attempts
        if status is Status.IN_DOUBT and attempts:
            self._in_doubt_attempts[row] = attempts

    def record_done(self, rows: Sequence[int]) -> None:
        """Record that untouched rows are done.

        Raises:
            RuntimeError: if one of them has a result, which would be a bug in bulklink.
        """
        self.states.reserve(max(rows, default=0))
        states = self.states.numbers
        for row in rows:
            if states[row]:
                raise RuntimeError(f"row {row} was settled twice")
            states[row] = DONE_STATE
        self.counts[Status.DONE] += len(rows)

    def record_done_again(self, rows: Sequence[int]) -> None:
        """Record that rows are done, whatever they were before."""
        for row in rows:
            if self.states[row] != DONE_STATE or row in self.open_rows:
                self.record_result(row, Status.DONE)

    def open_row(self, row: int) -> OpenRow:
        """Return the state of a row since its last result, new if there is none."""
        if row not in self.open_rows:
            if not 1 <= row <= self.rows:
                raise InvalidLineError
            attempts = self._in_doubt_attempts.get(row, 0)
            self.open_rows[row] = OpenRow(
                attempts=attempts or self.earlier_attempts(row), may_have_changed=attempts > 0
            )
        return self.open_rows[row]


def repair_torn_line(path: Path, torn_path: Path) -> None:
    """Move a torn last line, left by a kill or a full disk, to another file.

    Args:
        path: a file whose lines are within the length limit; a missing one is not created.
        torn_path: the file to which the torn line is appended.

    Raises:
        RunDirError: if one of the files is not a regular file, or has several names.
        LedgerError: if one of the files cannot be written.
    """
    try:
        with open_to_repair(path) as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - MAX_LINE_BYTES - 1)
            file.seek(start)
            tail = file.readall()
            whole_length = tail.rfind(b"\n") + 1
            if whole_length == len(tail):
                return
            if start and not whole_length:
                raise LedgerError(
                    f"The last line is longer than {MAX_LINE_BYTES >> 20} MiB.",
                    where=str(path),
                    advice="bulklink does not write such lines: restore the file from a backup.",
                )
            with os.fdopen(open_to_append(torn_path), "wb") as torn_file:
                torn_file.write(tail[whole_length:] + b"\n")
            file.truncate(start + whole_length)
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    except OSError as error:
        raise LedgerError(
            f"Cannot repair the ledger: {error.strerror or error}.",
            where=str(path),
            advice="Check that you may write there and that the disk has space, then resume.",
        ) from None
