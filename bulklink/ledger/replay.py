"""Ledger replay: what a ledger records, read in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from bulklink.decoding import json_decoder
from bulklink.errors import LedgerError
from bulklink.folder_files import line_blocks
from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint, LedgerDigest
from bulklink.ledger.records import (
    FIRST_YEAR,
    LAST_YEAR,
    Count,
    RowNumber,
    UtcTime,
    damaged_line_error,
    format_time,
)
from bulklink.ledger.row_array import InvalidLineError, RowArray
from bulklink.ledger.state import (
    DONE_STATE,
    NOT_APPLIED,
    PUT_BACK_FAILED,
    SETTLED_BY_READ,
    CallTotals,
    LedgerState,
    OpenRow,
)
from bulklink.ledger.uniform_results import match_uniform_results
from bulklink.models import Status

_SAMPLE_SIZE = 1000
_CHANGING_OPS = ("link", "unlink")


class ReplayedLine(msgspec.Struct, gc=False):
    """What a replay uses of a line; which fields there are depends on the event."""

    event: str
    ts: UtcTime
    row: RowNumber | None = None
    rows: list[RowNumber] = []
    call: Count | None = None
    op: str | None = None
    attempt: Count = 1
    attempts: Count = 0
    status: Status | None = None
    code: str | None = None
    message_id: str | None = None
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None


@dataclass(slots=True)
class LinePositions:
    """Position of a line of each row, its offset in the ledger plus one; 0 without a line.

    Args:
        results: last `result` line of each row.
        snapshots: first `snapshot` line of each row.
        omits: returns whether to omit the uniform results that begin with a line; None for no.
    """

    results: RowArray
    snapshots: RowArray
    omits: Callable[[bytes], bool] | None = None


class ResultObserver(Protocol):
    """Receiver of the results of a ledger while it is read, in its order."""

    def add(self, line: bytes) -> None:
        """Take a `result` line.

        Raises:
            InvalidLineError: if it is damaged.
        """
        ...

    def add_uniform(self, line: bytes, rows: Sequence[int], message_ids: Sequence[bytes]) -> None:
        """Take results that differ only in their rows and message ids.

        Args:
            line: the first of them.
            rows: row of each.
            message_ids: message id of each, of letters and digits only.

        Raises:
            InvalidLineError: if they are damaged.
        """
        ...


def replay(
    path: Path,
    should_retry: Callable[[Status, str | None], bool] = lambda status, code: False,
    *,
    checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
    check: Callable[[], None] = lambda: None,
    positions: LinePositions | None = None,
    observer: ResultObserver | None = None,
    hashed: bool = True,
) -> LedgerState:
    """Return the state that a ledger records.

    A torn last line, left by a killed run, is ignored.

    Args:
        path: the ledger; a missing one is empty.
        should_retry: whether to retry a row that is not done, by status and code of its result.
        checkpoint: start that the ledger must have, and the rows that it may contain.
        check: called periodically; may raise to abort.
        positions: set to the positions of the lines; None if they are not needed.
        observer: receives the results; None for nobody.
        hashed: whether to hash the lines, and so to compare them with the checkpoint.

    Raises:
        LedgerError: if a line is damaged, or the ledger does not begin with the checkpoint.
    """
    digest = LedgerDigest(path, checkpoint)
    state = LedgerState(rows=checkpoint.rows, digest=digest)
    lines = Replay(state, should_retry, positions, observer)
    try:
        for block in line_blocks(path, error_class=LedgerError):
            start = digest.length
            if hashed:
                digest.add(block)
            else:
                digest.length += len(block)
            lines.apply(block, start)
            check()
    except InvalidLineError:
        raise damaged_line_error(path, lines.number) from None
    digest.end()
    lines.end()
    return state


@dataclass(slots=True)
class Replay:
    """Application of a ledger's lines to a state, in order.

    The rows of a call are usually settled together, so they are not opened one by one: until
    something else is known about one of them, they are marked, and their `call` line is noted.

    Args:
        state: the state, complete after `end`.
        should_retry: whether to retry a row that is not done.
        positions: set to the positions of the lines, if not None.
        observer: receives the results, if not None.

    Attributes:
        number: number of lines begun.
    """

    state: LedgerState
    should_retry: Callable[[Status, str | None], bool]
    positions: LinePositions | None = None
    observer: ResultObserver | None = None
    number: int = field(default=0, init=False)
    _calls: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(CallTotals.__struct_fields__, 0), init=False
    )
    _noted: dict[int, ReplayedLine] = field(default_factory=dict, init=False)

    def apply(self, block: bytes, start: int) -> None:
        """Apply whole lines.

        Args:
            block: the lines.
            start: offset of the block in the ledger.

        Raises:
            InvalidLineError: if line `number` of the ledger is damaged.
        """
        position = 0
        while position < len(block):
            self.number += 1
            raw = block[position : block.index(b"\n", position)]
            try:
                line = _DECODER.decode(raw)
            except (ValueError, RecursionError):
                raise InvalidLineError from None
            if not FIRST_YEAR <= line.ts.year < LAST_YEAR:
                raise InvalidLineError
            end = self._apply_uniform_results(line, raw, block, position, start)
            if not end:
                self._apply_line(line, start + position)
                if self.observer is not None and line.event == "result":
                    self.observer.add(raw)
                end = position + len(raw) + 1
            position = end
        self.state.last_timestamp = format_time(line.ts)
        self._forget_settled_calls()

    def end(self) -> None:
        """Complete the state after the last line."""
        self._open_noted()
        self.state.calls = CallTotals(**self._calls)

    def _apply_uniform_results(
        self, line: ReplayedLine, raw: bytes, block: bytes, position: int, start: int
    ) -> int:
        """Apply the uniform results that begin with a line, if it begins some.

        Returns:
            The offset after them in the block; 0 if there are none.
        """
        if line.event != "result" or line.status is not Status.DONE or line.call is None:
            return 0
        call, state = self._noted.get(line.call), self.state
        if call is None or call.rows[0] != line.row or line.code in _SPECIAL_CODES:
            return 0
        rows, states = call.rows, state.states.numbers
        if set(map(states.__getitem__, rows)) != {_IN_FLIGHT}:
            return 0
        results = match_uniform_results(block, position, raw, rows)
        if results is None:
            return 0
        if self.observer is not None:
            self.observer.add_uniform(raw, rows, results.message_ids)
        for row in rows:
            states[row] = DONE_STATE
        del self._noted[line.call]
        state.counts[Status.DONE] += len(rows)
        state.confirmed_kinds.add("unlink" if line.op == "unlink" else "link")
        if len(state.sample_message_ids) < _SAMPLE_SIZE:
            for row, message_id in zip(rows, results.message_ids, strict=True):
                self._sample(row, message_id.decode())
        positions = self.positions
        if positions is not None and not (positions.omits and positions.omits(raw)):
            positions.results.reserve(max(rows))
            numbers = positions.results.numbers
            for row, line_start in zip(rows, results.starts, strict=True):
                numbers[row] = start + line_start + 1
        self.number += len(rows) - 1
        return results.end

    def _apply_line(self, line: ReplayedLine, offset: int) -> None:
        """Apply one line.

        Raises:
            InvalidLineError: if a field is missing, or its row is outside the run.
        """
        state, calls = self.state, self._calls
        match line.event:
            case "result" if line.status is not None and line.row is not None:
                self._apply_result(line, line.row, line.status)
                if self.positions is not None:
                    self.positions.results[line.row] = offset + 1
            case "call" if line.call is not None and line.op in calls:
                state.next_call = max(state.next_call, line.call + 1)
                calls[line.op] += 1
                calls["retried"] += line.attempt > 1
                if line.op in _CHANGING_OPS and line.rows:
                    self._apply_call(line, line.call)
            case "unsent" if line.op in calls:
                calls[line.op] -= 1
                calls["retried"] -= line.attempt > 1
                if line.op in _CHANGING_OPS:
                    self._revert_call(line)
            case "snapshot" if line.row is not None:
                open_row = self._open_row(line.row)
                open_row.previous_deal = (line.previous_deal_id, line.previous_deal_name)
                state.confirmed_kinds.add("read")
                if self.positions is not None and not self.positions.snapshots[line.row]:
                    self.positions.snapshots[line.row] = offset + 1
            case "step" if line.row is not None:
                open_row = self._open_row(line.row)
                open_row.unlinked, open_row.last_op = True, None
                state.confirmed_kinds.add("unlink")
            case "result" | "call" | "unsent" | "snapshot" | "step":
                raise InvalidLineError

    def _apply_result(self, line: ReplayedLine, row: int, status: Status) -> None:
        state = self.state
        state.record_result(
            row,
            status,
            retry=status is not Status.DONE and self.should_retry(status, line.code),
            attempts=line.attempts,
            is_correction=line.code == NOT_APPLIED,
        )
        if status is Status.DONE:
            state.confirmed_kinds.add("unlink" if line.op == "unlink" else "link")
        if line.code == PUT_BACK_FAILED:
            state.not_put_back[row] = line.previous_deal_id
        if line.message_id is not None:
            self._sample(row, line.message_id)

    def _sample(self, row: int, message_id: str) -> None:
        if len(self.state.sample_message_ids) < _SAMPLE_SIZE:
            self.state.sample_message_ids[row] = message_id

    def _apply_call(self, line: ReplayedLine, call: int) -> None:
        """Note a call for rows about which nothing is known; open the rows of any other."""
        state, rows = self.state, line.rows
        highest = max(rows)
        if highest > state.rows:
            raise InvalidLineError
        state.states.reserve(highest)
        states, open_rows = state.states.numbers, state.open_rows
        if (
            not any(map(states.__getitem__, rows))
            and (not open_rows or open_rows.keys().isdisjoint(rows))
            and len(set(rows)) == len(rows) <= _MAX_NOTED_ROWS
            and call not in self._noted
        ):
            for row in rows:
                states[row] = _IN_FLIGHT
            self._noted[call] = line
            return
        for row in rows:
            self._open_row(row).add_call(line.op, call)

    def _revert_call(self, line: ReplayedLine) -> None:
        """Restore the rows of a call that was not sent."""
        self._open_noted()
        open_rows = self.state.open_rows
        for row in line.rows:
            open_row = open_rows.get(row)
            if open_row is None or open_row.last_call != line.call:
                continue
            open_row.last_op, open_row.last_call, open_row.attempts = open_row.before_last_call
            if open_row.is_untouched:
                del open_rows[row]

    def _open_row(self, row: int) -> OpenRow:
        """Return the state of a row since its last result, new if there is none."""
        if self.state.states[row] == _IN_FLIGHT:
            self._open_noted()
        return self.state.open_row(row)

    def _open_noted(self) -> None:
        """Open the rows of all noted calls that are still in flight."""
        states = self.state.states
        for call, line in self._noted.items():
            for row in line.rows:
                if states[row] == _IN_FLIGHT:
                    states[row] = 0
                    self.state.open_row(row).add_call(line.op, call)
        self._noted.clear()

    def _forget_settled_calls(self) -> None:
        states = self.state.states.numbers
        for call, line in list(self._noted.items()):
            if _IN_FLIGHT not in map(states.__getitem__, line.rows):
                del self._noted[call]
        if len(self._noted) > _MAX_NOTED_CALLS:
            self._open_noted()


_DECODER = json_decoder(ReplayedLine)
_SPECIAL_CODES = (PUT_BACK_FAILED, NOT_APPLIED, SETTLED_BY_READ)
#: State of the rows of noted calls.
_IN_FLIGHT = 0x10
#: Far more than a run has in flight, and rows in a call; they are gone through after each block.
_MAX_NOTED_CALLS, _MAX_NOTED_ROWS = 1000, 100
