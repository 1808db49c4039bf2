"""The staging file: what an exact reader read, written so plainly that DuckDB cannot misread it.

One line a record: physical line, reason, why and raw text of a broken record, then the cells.
Cells are parted by the unit separator; it and the few other characters that could hurt are
written as SOH and a letter. Cells at the end of a line may be left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import Broken, CsvRecords, Lines, too_long
from bulklink.mapping.input.jsonl_reader import cell, jsonl_records
from bulklink.mapping.input.scan import RECORD_BYTES
from bulklink.mapping.input.xlsx_reader import Sheet, cell_text
from bulklink.spreadsheet_cells import is_disarmed, rearmed

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from bulklink.mapping.input.dialect import Dialect
    from bulklink.mapping.input.files import Content
    from bulklink.mapping.input.xlsx_reader import Cell
    from bulklink.mapping.interrupt import Stop

SEPARATOR = "\x1f"
MARK = "\x01"
NULL = MARK + "n"
FRONT = ("line", "reason", "why", "raw")
#: Letters behind the mark and what they stand for; the mark itself comes last.
ESCAPES = {"b": "\n", "c": "\r", "d": SEPARATOR, "e": "\0", "a": MARK}
#: Keys of JSON objects become columns; more than this are data, not columns.
MOST_COLUMNS = 1000

_TABLE = {ord(character): MARK + letter for letter, character in ESCAPES.items()}
_SPECIAL = re.compile("[\x00\x01\n\r\x1f]")
_SPECIAL_BUT_SEPARATOR = re.compile("[\x00\x01\n\r]")
_NO_FAULT = SEPARATOR + SEPARATOR.join((NULL, NULL, NULL)) + SEPARATOR
_LOOK_EVERY = 1000


class Opening(msgspec.Struct, frozen=True):
    """Where a quote opens that is never closed: the record, from 1 in its file."""

    record: int
    line: int


class Staged(msgspec.Struct, frozen=True):
    """What was written into a staging file; `first_column` is that of a sheet, from 0."""

    headers: tuple[str, ...]
    records: int
    unclosed: Opening | None = None
    readable: int = 0
    first_column: int | None = None


def escaped(text: str) -> str:
    """Write a cell so that it can stand in a staging file."""
    return text.translate(_TABLE) if _SPECIAL.search(text) else text


def stage_csv(content: Content, target: Path, dialect: Dialect, stop: Stop) -> Staged:
    """Read a CSV file exactly and write it as a staging file."""
    with content.path.open("rb") as file, _created(target) as out:
        records = CsvRecords(Lines(file, content.encoding), dialect)
        first = records.next()
        headers = first[1] if first else []
        if isinstance(headers, Broken):
            raise TypeError("a header that was read before cannot be read again")
        restored = is_disarmed(headers)
        if restored:
            headers = list(map(rearmed, headers))
        count = readable = 0
        for line, found in records.rest(len(headers)):
            count += 1
            if count % _LOOK_EVERY == 0:
                stop.check()
                stop.reached(file.tell())
            if not isinstance(found, Broken):
                readable += 1
                cells = list(map(rearmed, found)) if restored else found
                out.write(f"{line}{_NO_FAULT}{_cells(cells)}\n")
                continue
            out.write(_fault(line, found))
            if found.unclosed:
                return Staged(tuple(headers), count, Opening(count, line), readable)
    return Staged(tuple(headers), count, None, readable)


def _created(target: Path) -> TextIO:
    return target.open("x", encoding="utf-8", newline="", buffering=1 << 20)


def _cells(cells: list[str]) -> str:
    joined = SEPARATOR.join(cells)
    plain = joined.count(SEPARATOR) == len(cells) - 1
    if plain and not _SPECIAL_BUT_SEPARATOR.search(joined):
        return joined
    return SEPARATOR.join(map(escaped, cells))


def _fault(line: int, found: Broken) -> str:
    parts = (str(line), found.reason, found.why, found.raw)
    return SEPARATOR.join(map(escaped, parts)) + "\n"


def stage_jsonl(content: Content, target: Path, stop: Stop) -> Staged:
    """Read a JSONL file exactly and write it as a staging file; its keys become columns."""
    places: dict[str, int] = {}
    count = readable = 0
    with content.path.open("rb") as file, _created(target) as out:
        for line, found in jsonl_records(Lines(file, content.encoding)):
            count += 1
            if count % _LOOK_EVERY == 0:
                stop.check()
                stop.reached(file.tell())
            if isinstance(found, Broken):
                out.write(_fault(line, found))
                continue
            readable += 1
            out.write(f"{line}{_NO_FAULT}{_object_cells(found, places)}\n")
            if len(places) > MOST_COLUMNS:
                raise BadFileError(
                    f"The objects have more than {MOST_COLUMNS:,} different keys.",
                    where=f"{content.source.name}, line {line}",
                    advice="Keep what varies in the values, under the same keys in every line.",
                )
    return Staged(tuple(places), count, None, readable)


def stage_sheet(content: Content, target: Path, stop: Stop) -> Staged:
    """Read the first sheet of a workbook and write it as a staging file."""
    sheet = Sheet(content, stop)
    rows = sheet.rows()
    headers = tuple(cell_text(cell)[1] for cell in next(rows, (0, ()))[1])
    written = _sheet_cell
    if is_disarmed(headers):
        headers, written = tuple(map(rearmed, headers)), _rearmed_cell
    count = 0
    with _created(target) as out:
        for count, (number, cells) in enumerate(rows, 1):
            if count % _LOOK_EVERY == 0:
                stop.check()
            record = SEPARATOR.join(map(written, cells))
            if len(record.encode()) > RECORD_BYTES:
                out.write(_fault(number, too_long(record.encode())))
            else:
                out.write(f"{number}{_NO_FAULT}{record}\n")
    return Staged(headers, count, None, count, sheet.first_column)


def _sheet_cell(value: Cell) -> str:
    kind, text = cell_text(value)
    return (MARK + kind if kind else "") + escaped(text)


def _rearmed_cell(value: Cell) -> str:
    """Take back what stood in a CSV file for a spreadsheet, which was saved as a workbook."""
    return _sheet_cell(rearmed(value) if isinstance(value, str) else value)


def _object_cells(found: dict[str, Any], places: dict[str, int]) -> str:
    """Put the values of an object into the order of the columns, with new ones at the end."""
    for key in found:
        places.setdefault(key, len(places))
    cells = [NULL] * len(places)
    for key, value in found.items():
        cells[places[key]] = _typed(value)
    return SEPARATOR.join(cells)


def _typed(value: Any) -> str:
    if value is None:
        return NULL
    kind, text = cell(value)
    return (MARK + kind if kind else "") + escaped(text)
