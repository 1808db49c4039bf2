"""Reading a ledger: where each row stands, what was in flight, how many calls were made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bulklink.errors import LedgerError
from bulklink.ledger.records import broken_line
from bulklink.ledger.row_array import RowArray
from bulklink.models import Status

PUT_BACK_FAILED = "put-back-failed"
"""Code of a relink that is off the deal it was on, and could be neither linked nor put back."""
NOT_APPLIED = "not-applied"
"""Code of a message that was answered with success, and that the canary's read shows elsewhere:
a second result of its row, which corrects the first."""
_STATES: tuple[Status | None, ...] = (None, *Status)
_AGAIN = 0x08
_STATE = 0x07
_FOR_GOOD = (Status.DONE, Status.UNCHANGED, Status.REJECTED, Status.DUPLICATE)
_NAMED = 20
_SAMPLE = 1000
_TAIL = 1 << 20


class Calls(msgspec.Struct, frozen=True):
    """HTTP requests sent, by kind; `retried` of them were a second or later try."""

    link: int = 0
    unlink: int = 0
    read: int = 0
    lookup: int = 0
    retried: int = 0


class OpenRow(msgspec.Struct):
    """A row that was worked on and has no result since.

    `asked` is the op of the last write call that carried it, None if none did since its last
    `step`; `call` is the number of that call. `unlinked` tells that it is between the halves of a
    relink. `previous` is (id, name) of the deal that its snapshot told, (None, None) for no deal;
    None without a snapshot. `before` is (asked, call, attempts) as they were before that call.
    `doubt` tells that a call before the snapshot may have changed it.
    """

    asked: str | None = None
    call: int | None = None
    attempts: int = 0
    unlinked: bool = False
    previous: tuple[str | None, str | None] | None = None
    before: tuple[str | None, int | None, int] = (None, None, 0)
    doubt: bool = False

    @property
    def torn(self) -> bool:
        """Whether it is, or may be, off the deal it was on and not yet on the wanted one."""
        was_on = self.previous[0] if self.previous else None
        return self.unlinked or (was_on is not None and self.asked is not None)


class _States:
    """The state of each row, half a byte each: its status and whether it is to be sent again."""

    def __init__(self) -> None:
        self._packed = RowArray("B")

    def __getitem__(self, row: int) -> int:
        place, high = divmod(row, 2)
        return self._packed[place] >> 4 if high else self._packed[place] & 0x0F

    def __setitem__(self, row: int, state: int) -> None:
        place, high = divmod(row, 2)
        other = self._packed[place] & (0x0F if high else 0xF0)
        self._packed[place] = other | (state << 4 if high else state)


class Replay:
    """What a ledger says, row by row.

    Memory: half a byte a row, the rows that were in flight or are in doubt, and those that are to
    be sent again.

    Attributes:
        open: rows that were worked on and have no result since.
        calls: requests by kind.
        counts: the rows of each status; the last result of a row is its state.
        next_call: the number of the next call.
        not_put_back: rows that ended as put-back-failed, with the deal that each was on.
        last: `ts` of the last line, empty if there is none.
        sample: message ids of the first rows with a result, to know the plan by.
        worked: kinds of call that were answered with success, or shown to have been applied.
        settled_twice: the first rows that got another result though nothing could change it.
    """

    def __init__(self) -> None:
        self.open: dict[int, OpenRow] = {}
        self.calls = Calls()
        self.counts = dict.fromkeys(Status, 0)
        self.next_call = 1
        self.not_put_back: dict[int, str | None] = {}
        self.last = ""
        self.sample: dict[int, str] = {}
        self.worked: set[str] = set()
        self.settled_twice: list[int] = []
        self._states = _States()
        self._attempts: dict[int, int] = {}
        self._again = dict.fromkeys(Status, 0)
        self._doubted: dict[int, int] = {}

    def status(self, row: int) -> Status | None:
        """Return the status of a row, None while it has no result."""
        return _STATES[self._states[row] & _STATE]

    def is_to_do(self, row: int) -> bool:
        """Tell whether a row has no result, was in flight since, or is to be sent again."""
        state = self._states[row]
        return not state or state & _AGAIN != 0 or row in self.open

    def is_again(self, row: int) -> bool:
        """Tell whether a row that has a result is to be sent again."""
        return self._states[row] & _AGAIN != 0

    @property
    def any_again(self) -> bool:
        """Whether any row that has a result is to be sent again."""
        return bool(self._attempts)

    @property
    def again(self) -> int:
        """How many rows that have a result are to be sent again."""
        return len(self._attempts)

    @property
    def standing(self) -> dict[Status, int]:
        """The rows of each status, without those that are to be sent again."""
        return {status: count - self._again[status] for status, count in self.counts.items()}

    def earlier_attempts(self, row: int) -> int:
        """Return the write calls that carried a row which is to be sent again."""
        return self._attempts.get(row, 0)

    def mark(
        self,
        row: int,
        status: Status,
        *,
        again: bool = False,
        attempts: int = 0,
        corrects: bool = False,
    ) -> None:
        """Note a result.

        Args:
            row: that is settled.
            status: of the result.
            again: whether the row is to be sent again.
            attempts: write calls that carried it.
            corrects: whether it corrects that the row was done.
        """
        before = self.status(row)
        if before is not None:
            self.counts[before] -= 1
            corrected = corrects and before is Status.DONE
            if before in _FOR_GOOD and not corrected and len(self.settled_twice) < _NAMED:
                self.settled_twice.append(row)
            self._again[before] -= self.is_again(row)
        self.counts[status] += 1
        self._again[status] += again
        self._states[row] = _STATES.index(status) | (_AGAIN if again else 0)
        self.open.pop(row, None)
        self.not_put_back.pop(row, None)
        self._attempts.pop(row, None)
        self._doubted.pop(row, None)
        if again:
            self._attempts[row] = attempts
        if status is Status.IN_DOUBT and attempts:
            self._doubted[row] = attempts

    def open_row(self, row: int) -> OpenRow:
        """Return what is known of a row since its last result, if it has one."""
        if row not in self.open:
            attempts = self._doubted.get(row, 0)
            self.open[row] = OpenRow(
                attempts=attempts or self.earlier_attempts(row), doubt=attempts > 0
            )
        return self.open[row]


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
    path: Path, again: Callable[[Status, str | None], bool] = lambda status, code: False
) -> Replay:
    """Read a ledger; a torn last line, of a run that was killed, does not count.

    Args:
        path: the ledger; a missing one is empty.
        again: tells by status and code which rows are to be sent again.

    Raises:
        LedgerError: if a line is damaged.
    """
    told = Replay()
    calls = dict.fromkeys(Calls.__struct_fields__, 0)
    for line in _lines(path):
        told.last = line.ts
        match line.event:
            case "result" if line.status is not None:
                repeated = again(line.status, line.code)
                told.mark(
                    line.row,
                    line.status,
                    again=repeated,
                    attempts=line.attempts,
                    corrects=line.code == NOT_APPLIED,
                )
                if line.status is Status.DONE:
                    told.worked.add("unlink" if line.op == "unlink" else "link")
                if line.code == PUT_BACK_FAILED:
                    told.not_put_back[line.row] = line.previous_deal_id
                if len(told.sample) < _SAMPLE and line.message_id is not None:
                    told.sample[line.row] = line.message_id
            case "call" if line.call is not None and line.op in calls:
                told.next_call = max(told.next_call, line.call + 1)
                calls[line.op] += 1
                calls["retried"] += line.attempt > 1
                _note_call(told, line)
            case "unsent" if line.op in calls:
                calls[line.op] -= 1
                calls["retried"] -= line.attempt > 1
                _take_back_call(told, line)
            case "snapshot":
                row = told.open_row(line.row)
                row.previous = (line.previous_deal_id, line.previous_deal_name)
                told.worked.add("read")
            case "step":
                told.worked.add("unlink")
                row = told.open_row(line.row)
                row.unlinked, row.asked = True, None
    told.calls = Calls(**calls)
    return told


def mend(path: Path, torn: Path) -> None:
    """Cut off a torn last line, as a kill or a full disk leaves it, and keep it in another file.

    Raises:
        LedgerError: if that cannot be written.
    """
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - _TAIL)
            file.seek(start)
            tail = file.read()
            whole = tail.rfind(b"\n") + 1
            if whole == len(tail):
                return
            with os.fdopen(
                os.open(torn, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb"
            ) as kept:
                kept.write(tail[whole:] + b"\n")
            file.truncate(start + whole)
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


def _note_call(told: Replay, line: _Line) -> None:
    if line.op not in ("link", "unlink"):
        return
    for number in line.rows:
        row = told.open_row(number)
        row.before = (row.asked, row.call, row.attempts)
        row.asked, row.call = line.op, line.call
        row.attempts += 1


def _take_back_call(told: Replay, line: _Line) -> None:
    """Let rows stand as they stood before a call that did not leave."""
    if line.op not in ("link", "unlink"):
        return
    for number in line.rows:
        row = told.open.get(number)
        if row is None or row.call != line.call:
            continue
        row.asked, row.call, row.attempts = row.before
        if row.asked is None and not row.unlinked and row.previous is None:
            del told.open[number]


def _lines(path: Path) -> Iterator[_Line]:
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
                    raise broken_line(path, number, error) from None
