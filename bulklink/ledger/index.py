"""Index of a ledger by row: the last result and the first snapshot of each, by file offset.

Memory: eight bytes per row. Lines added later are not seen, and a torn last line, left
by a killed run, is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from bulklink.folder_files import MAX_LINE_BYTES, open_to_read
from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint, LedgerDigest
from bulklink.ledger.records import (
    Result,
    RowNumber,
    UtcTime,
    damaged_line_error,
    decode_lines,
    line_number,
)
from bulklink.ledger.row_array import InvalidLineError, RowArray

_BLOCK = 4096


class RecordedResult(Result, frozen=True, kw_only=True):
    """A `result` line with its timestamp.

    Args:
        ts: when the row was settled, RFC 3339 in UTC.
    """

    ts: str


class Snapshot(msgspec.Struct, frozen=True):
    """A `snapshot` line: the deal that an email was on before a change.

    Args:
        event: `snapshot`.
        row: row number in the mapping.
        previous_deal_id: the deal; None for no deal.
        previous_deal_name: its name, None where the CRM gave none.
    """

    event: str
    row: RowNumber
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None


_Line = TypeVar("_Line", RecordedResult, Snapshot)


class _LineHeader(msgspec.Struct):
    event: str
    ts: UtcTime
    row: RowNumber | None = None


class _LineIndex(Generic[_Line]):
    """One line of a ledger for each row, read again by its offset.

    Args:
        path: the ledger; a missing one is empty.
        check: called from time to time while the ledger is indexed; may raise to stop.
        checkpoint: start that the ledger must have, and the rows that it may contain.

    Raises:
        LedgerError: if a line is damaged, or the ledger does not begin with the checkpoint.
    """

    _line_type: type[_Line]

    def __init__(
        self,
        path: Path,
        check: Callable[[], None] = lambda: None,
        checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
    ) -> None:
        self._path = path
        self._check = check
        self._checkpoint = checkpoint
        # The offset of the row's line plus one: 0 is a row without a line.
        self._positions = RowArray("Q", checkpoint.rows)
        self._decode: Callable[[bytes], _Line] = msgspec.json.Decoder(self._line_type).decode
        self._file: FileIO | None = None
        try:
            self._file = open_to_read(path)
        except FileNotFoundError:
            LedgerDigest(path, checkpoint).end()
            return
        try:
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def _add(self, event: str, row: int, position: int) -> None:
        """Index a line if it is of the indexed kind; its position is its offset plus one."""
        raise NotImplementedError

    def _scan(self) -> None:
        decode = msgspec.json.Decoder(_LineHeader).decode
        digest = LedgerDigest(self._path, self._checkpoint)
        offset = 0
        try:
            for offset, header in decode_lines(self._path, decode, self._check, digest):
                if header.row is not None:
                    self._add(header.event, header.row, offset + 1)
        except InvalidLineError:
            raise damaged_line_error(self._path, line_number(self._path, offset)) from None

    def __contains__(self, row: int) -> bool:
        return self._positions[row] != 0

    def of(self, row: int) -> _Line | None:
        """Return the line of a row; None while it has none.

        Raises:
            LedgerError: if the line is damaged.
        """
        if self._file is None or row not in self:
            return None
        self._file.seek(self._positions[row] - 1)
        line = self._file.read(_BLOCK)
        while (
            b"\n" not in line and len(line) <= MAX_LINE_BYTES and (more := self._file.read(_BLOCK))
        ):
            line += more
        try:
            return self._decode(line.partition(b"\n")[0])
        except (ValueError, RecursionError):
            number = line_number(self._path, self._positions[row] - 1)
            raise damaged_line_error(self._path, number) from None

    def close(self) -> None:
        """Close the ledger."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ResultIndex(_LineIndex[RecordedResult]):
    """Last result of each row of a ledger; close it when done."""

    _line_type = RecordedResult

    def _add(self, event: str, row: int, position: int) -> None:
        if event == "result":
            self._positions[row] = position

    def rows(self, first: int, last: int | None = None) -> Iterator[int]:
        """Yield the rows with a result, in order.

        Args:
            first: the first row to look at.
            last: the last row to look at; None for no limit.
        """
        end = len(self._positions) if last is None else min(last + 1, len(self._positions))
        for row in range(first, end):
            if row in self:
                yield row


class SnapshotIndex(_LineIndex[Snapshot]):
    """First snapshot of each row, its deal before a run changed it; close it when done.

    A retry takes other snapshots later.
    """

    _line_type = Snapshot

    def _add(self, event: str, row: int, position: int) -> None:
        if event == "snapshot" and row not in self:
            self._positions[row] = position
