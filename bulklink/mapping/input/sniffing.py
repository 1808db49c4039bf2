"""Finding out what parts the cells of a CSV file, from its header and its first records."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from bulklink.errors import BadFileError
from bulklink.mapping.headers import simple
from bulklink.mapping.input.csv_reader import CsvRecords
from bulklink.mapping.input.dialect import COMMON, Dialect, delimiter_of, is_delimiter, shown
from bulklink.mapping.input.records import BOM, Broken, Lines
from bulklink.mapping.schema import KNOWN_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.schema import Reading

_TELLS = re.compile(rb'("?)sep=([^\r\n])\1\r?\n?', re.IGNORECASE)
_FIRST_LINE = 16
_FIRST_RECORDS = 20


class _Fit(NamedTuple):
    """How well a delimiter fits: headers it makes that are known, records as wide as the header."""

    known: int
    records: int


def dialect_of(path: Path, name: str, reading: Reading) -> Dialect:
    """Find out how a CSV file is written.

    Args:
        path: the file, as UTF-8.
        name: what the user calls it.
        reading: `delimiter` is taken for granted; the names of columns tell the header.

    Raises:
        BadFileError: if several delimiters fit equally well.
    """
    told = _told(path)
    if reading.delimiter is not None:
        return Dialect(delimiter_of(reading.delimiter), told is not None)
    return Dialect(told, told=True) if told else Dialect(_found(path, name, reading))


def _told(path: Path) -> str | None:
    with path.open("rb") as file:
        first = file.readline(_FIRST_LINE).removeprefix(BOM)
    tells = _TELLS.fullmatch(first)
    told = tells[2].decode("latin-1") if tells else ""
    return told if is_delimiter(told) else None


def _found(path: Path, name: str, reading: Reading) -> str:
    names = {simple(column) for column in KNOWN_COLUMNS}
    names |= {simple(header) for _, header in reading.columns}
    fits = {delimiter: _fit(path, delimiter, names) for delimiter in COMMON}
    best = max((fit for fit in fits.values() if fit), default=None)
    found = [delimiter for delimiter, fit in fits.items() if fit == best]
    if best is None:
        return ","
    if len(found) > 1:
        _refuse_ambiguous(name, found)
    return found[0]


def _fit(path: Path, delimiter: str, names: set[str]) -> _Fit | None:
    """Try one delimiter; None if it parts nothing in the header."""
    with path.open("rb") as file:
        records = CsvRecords(Lines(file), Dialect(delimiter))
        first = records.next()
        if first is None or isinstance(first[1], Broken) or len(first[1]) < 2:
            return None
        header = first[1]
        following = islice(records.rest(len(header)), _FIRST_RECORDS)
        whole = sum(not isinstance(found, Broken) for _, found in following)
        return _Fit(sum(simple(cell) in names for cell in header), whole)


def _refuse_ambiguous(name: str, found: list[str]) -> NoReturn:
    raise BadFileError(
        "It cannot be told what parts its cells: " + " or ".join(map(shown, found)) + ".",
        where=name,
        advice="Give " + " or ".join(f"--delimiter {shown(one)}" for one in found) + ".",
    )
