"""The last result of each row, found again by where it stands in the ledger."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from bulklink.errors import LedgerError
from bulklink.ledger.records import Result, broken_line

_SPARE_ROWS = 1 << 16
_BLOCK = 4096


class Outcome(Result, frozen=True, kw_only=True):
    """A `result` line: what became of a row, and when that was so."""

    ts: str


class _Head(msgspec.Struct):
    event: str
    row: int = 0


class Outcomes:
    """The last result of each row of a ledger as it is now; close it when done.

    Memory: eight bytes a row. What is added to the ledger later is not seen, and a torn last line,
    of a run that was killed, does not count.

    Args:
        path: the ledger; a missing one is empty.

    Raises:
        LedgerError: if a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # The place of the row's line, one added: 0 is a row without a result.
        self._places = array("Q")
        self._decoder = msgspec.json.Decoder(Outcome)
        self._file: FileIO | None = None
        try:
            self._file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return
        try:
            self._look_through()
        except BaseException:
            self._file.close()
            raise

    def _look_through(self) -> None:
        decode = msgspec.json.Decoder(_Head).decode
        place = 1
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    head = decode(line)
                except msgspec.DecodeError as error:
                    raise broken_line(self._path, number, error) from None
                if head.event == "result":
                    self._note(head.row, place)
                place += len(line)

    def _note(self, row: int, place: int) -> None:
        missing = row + 1 - len(self._places)
        if missing > 0:
            self._places.frombytes(bytes(8 * (missing + _SPARE_ROWS)))
        self._places[row] = place

    def __contains__(self, row: int) -> bool:
        return row < len(self._places) and self._places[row] != 0

    def rows(self, first: int, last: int | None = None) -> Iterator[int]:
        """Yield the rows with a result, in order.

        Args:
            first: the first row that is of interest.
            last: the last; None goes on to the end.
        """
        end = len(self._places) if last is None else min(last + 1, len(self._places))
        for row in range(first, end):
            if self._places[row]:
                yield row

    def of(self, row: int) -> Outcome | None:
        """Return the last result of a row, None while it has none.

        Raises:
            LedgerError: if the line is damaged.
        """
        if self._file is None or row not in self:
            return None
        self._file.seek(self._places[row] - 1)
        line = self._file.read(_BLOCK)
        while b"\n" not in line and (more := self._file.read(_BLOCK)):
            line += more
        try:
            return self._decoder.decode(line.partition(b"\n")[0])
        except msgspec.DecodeError as error:
            raise LedgerError(
                f"The result of row {row} cannot be read: {error}.",
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
