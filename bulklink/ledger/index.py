"""Index of a ledger by row: the last result and the first snapshot of each, read on demand.

Memory: nine bytes per row, and eight more with snapshots; one byte per row if uniform results are
not indexed. Lines appended later are not indexed, and a torn last line, left by a killed run, is
ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from bulklink.decoding import json_decoder
from bulklink.folder_files import line_number, open_to_read
from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint
from bulklink.ledger.line_reader import LineAtReader
from bulklink.ledger.records import Result, RowNumber, damaged_line_error
from bulklink.ledger.replay import LinePositions, replay
from bulklink.ledger.row_array import RowArray
from bulklink.ledger.state import DONE_STATE


class RecordedResult(Result, frozen=True, kw_only=True, gc=False):
    """A `result` line with its timestamp.

    Args:
        ts: when the row was settled, RFC 3339 in UTC.
    """

    ts: str


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """A `snapshot` line: the deal that an email was on before a change.

    Args:
        event: `snapshot`.
        row: row number in the mapping.
        previous_deal_id: the deal; None for no deal.
        previous_deal_name: its name; None if the CRM reported none.
    """

    event: str
    row: RowNumber
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None


_Line = TypeVar("_Line", RecordedResult, Snapshot)
_decode_result = json_decoder(RecordedResult).decode
_decode_snapshot = json_decoder(Snapshot).decode


def _is_result(line: bytes) -> bool:
    """Return whether a line can be read as a result."""
    try:
        _decode_result(line)
    except (ValueError, RecursionError):
        return False
    return True


class LedgerIndex:
    """Last result and first snapshot of each row of a ledger; close it when done.

    Args:
        path: the ledger; a missing one is empty.
        check: called periodically while the ledger is read; may raise to stop.
        checkpoint: start that the ledger must have, and the rows that it may contain.
        uniform: whether to index uniform results; without them, `only_done` tells which rows have
            one, and `result` returns None for these.

    Attributes:
        state: state that the ledger records.

    Raises:
        LedgerError: if a line is damaged, or the ledger does not begin with the checkpoint.
    """

    def __init__(
        self,
        path: Path,
        check: Callable[[], None] = lambda: None,
        checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
        *,
        uniform: bool = True,
    ) -> None:
        rows = checkpoint.rows
        self._path = path
        self._positions = LinePositions(
            RowArray("Q", rows), RowArray("Q", rows), omits=None if uniform else _is_result
        )
        self._file: FileIO | None = None
        with suppress(FileNotFoundError):
            self._file = open_to_read(path)
            self._reader = LineAtReader(self._file)
        read = partial(
            replay, path, checkpoint=checkpoint, check=check, hashed=checkpoint.length is not None
        )
        try:
            self.state = read(positions=self._positions)
            if not uniform and self._lacks_results():
                self._positions = LinePositions(RowArray("Q", rows), RowArray("Q", rows))
                self.state = read(positions=self._positions)
        except BaseException:
            self.close()
            raise

    def _lacks_results(self) -> bool:
        """Return whether a row without an indexed result was called again after a uniform one.

        bulklink does not do so, but the ledger may come from somebody else.
        """
        states, results = self.state.states, self._positions.results
        return any(states[row] == DONE_STATE and not results[row] for row in self.state.open_rows)

    def __contains__(self, row: int) -> bool:
        return self._positions.results[row] != 0

    def rows(self, first: int, last: int | None = None) -> Iterator[int]:
        """Yield the rows with a result, in order.

        Args:
            first: first row of the range.
            last: last row of the range; None for no limit.
        """
        end = len(self._positions.results)
        for row in range(first, end if last is None else min(last + 1, end)):
            if row in self:
                yield row

    def only_done(self, rows: Sequence[int]) -> list[bool]:
        """Return for each row whether it has only a uniform result, which says that it is done.

        Such a row has no snapshot, is not in flight, and its code is none of bulklink's own.

        Args:
            rows: the rows; the index leaves out uniform results.
        """
        lines = (self._positions.results, self._positions.snapshots)
        known = [numbers.values(rows) for numbers in lines if len(numbers)]
        only_done = [state == DONE_STATE for state in self.state.states.values(rows)]
        for positions in known:
            if any(positions):
                only_done = [done and not at for done, at in zip(only_done, positions, strict=True)]
        if self.state.open_rows and not self.state.open_rows.keys().isdisjoint(rows):
            only_done = [
                done and row not in self.state.open_rows
                for row, done in zip(rows, only_done, strict=True)
            ]
        return only_done

    def result(self, row: int) -> RecordedResult | None:
        """Return the last result of a row; None if it has none.

        Raises:
            LedgerError: if the line is damaged.
        """
        return self._read(self._positions.results[row], _decode_result)

    def snapshot(self, row: int) -> Snapshot | None:
        """Return the first snapshot of a row, its deal before the run changed it; None without one.

        Later snapshots, taken by retries, are ignored.

        Raises:
            LedgerError: if the line is damaged.
        """
        return self._read(self._positions.snapshots[row], _decode_snapshot)

    def _read(self, position: int, decode: Callable[[bytes], _Line]) -> _Line | None:
        if self._file is None or not position:
            return None
        try:
            return decode(self._reader.read(position - 1))
        except (ValueError, RecursionError):
            number = line_number(self._path, position - 1)
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
