"""The last results of a ledger by op and status, and its failures by code with an example each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from bulklink.ledger.index import Outcomes
from bulklink.ledger.records import Result, broken_line, code_of
from bulklink.ledger.row_array import RowArray
from bulklink.models import Op, Status

OTHERS = "other codes"
_FAILED = (Status.FAILED, Status.IN_DOUBT)
_MOST_CODES = 200


class Counted(msgspec.Struct, frozen=True):
    """A code, how many rows ended with it, and one of them."""

    code: str
    count: int
    example: Result


class Tally(msgspec.Struct, frozen=True):
    """Rows of each op and status, and those that failed or are in doubt, the commonest first.

    The op is None for a refused row whose op is not known.
    """

    rows: dict[tuple[Op | None, Status], int]
    failures: list[Counted]


class _Line(Result, frozen=True, kw_only=True):
    event: str


class _Other(msgspec.Struct):
    event: str


_Class = tuple[Op | None, Status, str]


class _Classes:
    """The class of each row, a byte each: its op, its status and, of a failure, its code."""

    def __init__(self) -> None:
        self.names: list[_Class] = []
        self.counts: list[int] = []
        self.examples: list[Result] = []
        self._numbers: dict[_Class, int] = {}
        self._rows = RowArray("B")

    def add(self, result: Result) -> None:
        """Count a row in the class of its result, and no more in the one that it had."""
        row, number = result.row, self._number(result)
        if before := self._rows[row]:
            self.counts[before - 1] -= 1
        self._rows[row] = number + 1
        self.counts[number] += 1

    def _number(self, result: Result) -> int:
        status = result.status
        code = code_of(result) if status in _FAILED else ""
        number = self._numbers.get((result.op, status, code))
        if number is None:
            if len(self.names) >= _MOST_CODES and code:
                code = OTHERS
            number = self._numbers.setdefault((result.op, status, code), len(self.names))
            if number == len(self.names):
                self.names.append((result.op, status, code))
                self.counts.append(0)
                self.examples.append(result)
        return number

    def row_of(self, number: int) -> int:
        """Return the first row of a class: its example, while that row is still of the class."""
        row = self.examples[number].row
        return row if self._rows[row] == number + 1 else self._rows.find(number + 1)


def tally(path: Path, *, without: Callable[[int], bool] = lambda row: False) -> Tally:
    """Count the last results of a ledger as it is now, in one look.

    Memory: a byte a row. A torn last line, of a run that was killed, does not count.

    Args:
        path: the ledger; a missing one is empty.
        without: tells which rows do not count.

    Raises:
        LedgerError: if a line is damaged.
    """
    classes = _Classes()
    line_of = msgspec.json.Decoder(_Line).decode
    other_of = msgspec.json.Decoder(_Other).decode
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    if line.startswith(b'{"event":"result"') or other_of(line).event == "result":
                        result = line_of(line)
                        if not without(result.row):
                            classes.add(result)
                except msgspec.DecodeError as error:
                    raise broken_line(path, number, error) from None
    except FileNotFoundError:
        pass
    return Tally(_by_op(classes), _failures(classes, path))


def _by_op(classes: _Classes) -> dict[tuple[Op | None, Status], int]:
    rows: dict[tuple[Op | None, Status], int] = {}
    for (op, status, _), count in zip(classes.names, classes.counts, strict=True):
        if count:
            rows[op, status] = rows.get((op, status), 0) + count
    return rows


def _failures(classes: _Classes, path: Path) -> list[Counted]:
    """Return what failed by code, over all ops and both statuses."""
    numbers: dict[str, list[int]] = {}
    for number, (_, _, code) in enumerate(classes.names):
        if code and classes.counts[number]:
            numbers.setdefault(code, []).append(number)
    found = [
        Counted(code, sum(classes.counts[n] for n in of), _example(classes, of[0], path))
        for code, of in numbers.items()
    ]
    return sorted(found, key=lambda one: (-one.count, one.code))


def _example(classes: _Classes, number: int, path: Path) -> Result:
    example = classes.examples[number]
    row = classes.row_of(number)
    if row == example.row:
        return example
    # The first row of this code has gone another way since, by a retry: look up another.
    with Outcomes(path) as outcomes:
        return outcomes.of(row) or example
