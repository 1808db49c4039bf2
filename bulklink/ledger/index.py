"""Index of a ledger by row: the last result and the first snapshot of each, by file offset.

Memory: eight bytes a row. What is added to the ledger later is not seen, and a torn last line, of
a run that was killed, does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import msgspec

from bulklink.errors import LedgerError
from bulklink.ledger.records import Result, damaged_line_error
from bulklink.ledger.row_array import RowArray

_BLOCK = 4096


class RecordedResult(Result, frozen=True, kw_only=True):
    """A `result` line: what became of a row, and when that was so."""

    ts: str


class Snapshot(msgspec.Struct, frozen=True):
    """A `snapshot` line: the deal that an email was on, None for no deal."""

    event: str
    row: int = 0
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None


_Line = TypeVar("_Line", RecordedResult, Snapshot)


class _LineHeader(msgspec.Struct):
    event: str
    row: int = 0


class _LineIndex(Generic[_Line]):
    """One line of a ledger for each row, found again by its offset; close it when done.

    Args:
        path: the ledger; a missing one is empty.

    Raises:
        LedgerError: if a line is damaged.
    """

    def __init__(self, path: Path, line_type: type[_Line]) -> None:
        self._path = path
        # The offset of the row's line, one added: 0 is a row without a line.
        self._offsets = RowArray("Q")
        self._decode: Callable[[bytes], _Line] = msgspec.json.Decoder(line_type).decode
        self._file: FileIO | None = None
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        try:
            self._scan()
        except BaseException:
            self._file.close()
            raise

    def _add(self, event: str, row: int, offset: int) -> None:
        """Index a line if it is of the kind that is looked for."""
        raise NotImplementedError

    def _scan(self) -> None:
        decode = msgspec.json.Decoder(_LineHeader).decode
        offset = 1
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    head = decode(line)
                except msgspec.DecodeError as error:
                    raise damaged_line_error(self._path, number, error) from None
                self._add(head.event, head.row, offset)
                offset += len(line)

    def __contains__(self, row: int) -> bool:
        return self._offsets[row] != 0

    def of(self, row: int) -> _Line | None:
        """Return the line of a row, None while it has none.

        Raises:
            LedgerError: if the line is damaged.
        """
        if self._file is None or row not in self:
            return None
        self._file.seek(self._offsets[row] - 1)
        line = self._file.read(_BLOCK)
        while b"\n" not in line and (more := self._file.read(_BLOCK)):
            line += more
        try:
            return self._decode(line.partition(b"\n")[0])
        except msgspec.DecodeError as error:
            raise LedgerError(
                f"The line of row {row} cannot be read: {error}.",
                where=str(self._path),
                advice="Put the file back from a copy.",
            ) from None

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
    """The last result of each row."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, RecordedResult)

    def _add(self, event: str, row: int, offset: int) -> None:
        if event == "result":
            self._offsets[row] = offset

    def rows(self, first: int, last: int | None = None) -> Iterator[int]:
        """Yield the rows with a result, in order.

        Args:
            first: the first row that is of interest.
            last: the last; None goes on to the end.
        """
        end = len(self._offsets) if last is None else min(last + 1, len(self._offsets))
        for row in range(first, end):
            if row in self:
                yield row


class SnapshotIndex(_LineIndex[Snapshot]):
    """What each row was on before a run changed it: a retry takes other snapshots later."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Snapshot)

    def _add(self, event: str, row: int, offset: int) -> None:
        if event == "snapshot" and row not in self:
            self._offsets[row] = offset
