"""The first snapshot of each row, found again by where it stands in the ledger."""

from __future__ import annotations

from array import array
from io import FileIO
from pathlib import Path
from typing import Self

import msgspec

_SPARE_ROWS = 1 << 16
_BLOCK = 1024


class Snapshot(msgspec.Struct, frozen=True):
    """A `snapshot` line: the deal that an email was on, None for no deal."""

    event: str
    row: int = 0
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None


class FirstSnapshots:
    """What each row was on before a run changed it: a retry takes other snapshots later.

    Memory: eight bytes a row. A torn last line does not count; damaged ones are `replay`'s to tell.

    Args:
        path: the ledger.
    """

    def __init__(self, path: Path) -> None:
        # The place of the row's line, one added: 0 is a row without a snapshot.
        self._places = array("Q")
        self._decode = msgspec.json.Decoder(Snapshot).decode
        self._file: FileIO = path.open("rb", buffering=0)
        place = 1
        with path.open("rb") as file:
            for line in file:
                if b'"snapshot"' in line[:32] and line.endswith(b"\n"):
                    self._note(self._decode(line).row, place)
                place += len(line)

    def _note(self, row: int, place: int) -> None:
        missing = row + 1 - len(self._places)
        if missing > 0:
            self._places.frombytes(bytes(8 * (missing + _SPARE_ROWS)))
        self._places[row] = self._places[row] or place

    def of(self, row: int) -> Snapshot | None:
        """Return the first snapshot of a row, None where none was taken."""
        if row >= len(self._places) or not self._places[row]:
            return None
        self._file.seek(self._places[row] - 1)
        line = self._file.read(_BLOCK)
        while b"\n" not in line and (more := self._file.read(_BLOCK)):
            line += more
        return self._decode(line.partition(b"\n")[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
