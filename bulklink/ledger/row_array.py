"""Array with one number per row, which grows as rows are set."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from bulklink.models import MAX_ROWS

_SPARE_ROWS = 1 << 16


class InvalidLineError(ValueError):
    """Raised when a line does not belong to its run; the reader of the ledger adds its number."""


class RowArray:
    """A number for each row, 0 until it is set.

    Args:
        typecode: type of the numbers, as for `array.array`; `B` takes one byte per row.
        rows: the highest row; the array is never longer.

    Attributes:
        numbers: the numbers by row; rows beyond its end have none.
    """

    __slots__ = ("_rows", "numbers")

    def __init__(self, typecode: str, rows: int = MAX_ROWS) -> None:
        self.numbers = array(typecode)
        self._rows = rows

    def __len__(self) -> int:
        """Return one more than the highest row that may have a number."""
        return len(self.numbers)

    def __getitem__(self, row: int) -> int:
        try:
            return self.numbers[row]
        except IndexError:
            return 0

    def __setitem__(self, row: int, number: int) -> None:
        try:
            self.numbers[row] = number
        except IndexError:
            self.reserve(row)
            self.numbers[row] = number

    def reserve(self, row: int) -> None:
        """Extend `numbers` to a row.

        Raises:
            InvalidLineError: if it is higher than the highest.
        """
        if row >= len(self.numbers):
            if row > self._rows:
                raise InvalidLineError
            length = min(row + _SPARE_ROWS, self._rows) + 1
            missing = length - len(self.numbers)
            self.numbers.frombytes(bytes(self.numbers.itemsize * missing))

    def values(self, rows: Sequence[int]) -> list[int]:
        """Return the numbers of some rows."""
        try:
            return list(map(self.numbers.__getitem__, rows))
        except IndexError:
            return [self[row] for row in rows]

    def find(self, number: int) -> int:
        """Return the first row with a number; -1 if there is none."""
        try:
            return self.numbers.index(number)
        except ValueError:
            return -1
