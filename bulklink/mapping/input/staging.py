"""The staging file: what an exact reader read, written so plainly that DuckDB cannot misread it.

One line a record: physical line, reason, message and raw text of a broken record, then the cells.
Cells are parted by the unit separator; it and the few other characters that could hurt are
written as SOH and a letter. Cells at the end of a line may be left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import BrokenRecord, CsvRecords, LineReader, record_too_long
from bulklink.mapping.input.jsonl_reader import json_cell_text, jsonl_records
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.input.xlsx_reader import Sheet, sheet_cell_text
from bulklink.spreadsheet_cells import has_escaped_cells, unescape_cell

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from bulklink.mapping.input.dialect import Dialect
    from bulklink.mapping.input.files import InputContent
    from bulklink.mapping.input.xlsx_reader import SheetCell
    from bulklink.mapping.interrupt import PlanningStop

CELL_SEPARATOR = "\x1f"
ESCAPE_CHAR = "\x01"
NULL_CELL = ESCAPE_CHAR + "n"
LEADING_COLUMNS = ("line", "reason", "message", "raw")
#: Letters behind the mark and what they stand for; the mark itself comes last.
ESCAPES = {"b": "\n", "c": "\r", "d": CELL_SEPARATOR, "e": "\0", "a": ESCAPE_CHAR}
#: Keys of JSON objects become columns; more than this are data, not columns.
MAX_COLUMNS = 1000

_TABLE = {ord(character): ESCAPE_CHAR + letter for letter, character in ESCAPES.items()}
_SPECIAL = re.compile("[\x00\x01\n\r\x1f]")
_SPECIAL_BUT_SEPARATOR = re.compile("[\x00\x01\n\r]")
_NO_FAULT = CELL_SEPARATOR + CELL_SEPARATOR.join((NULL_CELL, NULL_CELL, NULL_CELL)) + CELL_SEPARATOR
_LOOK_EVERY = 1000


class UnclosedQuote(msgspec.Struct, frozen=True):
    """Where a quote opens that is never closed: the record, from 1 in its file."""

    record: int
    line: int


class StagedFile(msgspec.Struct, frozen=True):
    """What was written into a staging file; `first_column` is that of a sheet, from 0."""

    headers: tuple[str, ...]
    records: int
    unclosed_quote: UnclosedQuote | None = None
    readable_records: int = 0
    first_column: int | None = None


def escape_cell(text: str) -> str:
    """Write a cell so that it can stand in a staging file."""
    return text.translate(_TABLE) if _SPECIAL.search(text) else text


def stage_csv(
    content: InputContent, target: Path, dialect: Dialect, stop: PlanningStop
) -> StagedFile:
    """Read a CSV file exactly and write it as a staging file."""
    with content.path.open("rb") as file, _created(target) as out:
        records = CsvRecords(LineReader(file, content.encoding), dialect)
        header_record = records.read_record()
        headers = header_record[1] if header_record else []
        if isinstance(headers, BrokenRecord):
            raise TypeError("a header that was read before cannot be read again")
        disarmed = has_escaped_cells(headers)
        if disarmed:
            headers = list(map(unescape_cell, headers))
        count = readable = 0
        for line, record in records.read_remaining(len(headers)):
            count += 1
            if count % _LOOK_EVERY == 0:
                stop.check()
                stop.report_position(file.tell())
            if not isinstance(record, BrokenRecord):
                readable += 1
                cells = list(map(unescape_cell, record)) if disarmed else record
                out.write(f"{line}{_NO_FAULT}{_cells(cells)}\n")
                continue
            out.write(_fault(line, record))
            if record.unclosed_quote:
                return StagedFile(tuple(headers), count, UnclosedQuote(count, line), readable)
    return StagedFile(tuple(headers), count, None, readable)


def _created(target: Path) -> TextIO:
    return target.open("x", encoding="utf-8", newline="", buffering=1 << 20)


def _cells(cells: list[str]) -> str:
    joined = CELL_SEPARATOR.join(cells)
    plain = joined.count(CELL_SEPARATOR) == len(cells) - 1
    if plain and not _SPECIAL_BUT_SEPARATOR.search(joined):
        return joined
    return CELL_SEPARATOR.join(map(escape_cell, cells))


def _fault(line: int, record: BrokenRecord) -> str:
    parts = (str(line), record.reason, record.message, record.raw)
    return CELL_SEPARATOR.join(map(escape_cell, parts)) + "\n"


def stage_jsonl(content: InputContent, target: Path, stop: PlanningStop) -> StagedFile:
    """Read a JSONL file exactly and write it as a staging file; its keys become columns."""
    column_indexes: dict[str, int] = {}
    count = readable = 0
    with content.path.open("rb") as file, _created(target) as out:
        for line, record in jsonl_records(LineReader(file, content.encoding)):
            count += 1
            if count % _LOOK_EVERY == 0:
                stop.check()
                stop.report_position(file.tell())
            if isinstance(record, BrokenRecord):
                out.write(_fault(line, record))
                continue
            readable += 1
            out.write(f"{line}{_NO_FAULT}{_object_cells(record, column_indexes)}\n")
            if len(column_indexes) > MAX_COLUMNS:
                raise BadFileError(
                    f"The objects have more than {MAX_COLUMNS:,} different keys.",
                    where=f"{content.source.name}, line {line}",
                    advice="Keep what varies in the values, under the same keys in every line.",
                )
    return StagedFile(tuple(column_indexes), count, None, readable)


def stage_sheet(content: InputContent, target: Path, stop: PlanningStop) -> StagedFile:
    """Read the first sheet of a workbook and write it as a staging file."""
    sheet = Sheet(content, stop)
    rows = sheet.rows()
    headers = tuple(sheet_cell_text(cell)[1] for cell in next(rows, (0, ()))[1])
    format_cell = _sheet_cell
    if has_escaped_cells(headers):
        headers, format_cell = tuple(map(unescape_cell, headers)), _rearmed_cell
    count = 0
    with _created(target) as out:
        for count, (number, cells) in enumerate(rows, 1):
            if count % _LOOK_EVERY == 0:
                stop.check()
            record = CELL_SEPARATOR.join(map(format_cell, cells))
            if len(record.encode()) > MAX_RECORD_BYTES:
                out.write(_fault(number, record_too_long(record.encode())))
            else:
                out.write(f"{number}{_NO_FAULT}{record}\n")
    return StagedFile(headers, count, None, count, sheet.first_column)


def _sheet_cell(value: SheetCell) -> str:
    kind, text = sheet_cell_text(value)
    return (ESCAPE_CHAR + kind if kind else "") + escape_cell(text)


def _rearmed_cell(value: SheetCell) -> str:
    """Take back what stood in a CSV file for a spreadsheet, which was saved as a workbook."""
    return _sheet_cell(unescape_cell(value) if isinstance(value, str) else value)


def _object_cells(record: dict[str, Any], column_indexes: dict[str, int]) -> str:
    """Put the values of an object into the order of the columns, with new ones at the end."""
    for key in record:
        column_indexes.setdefault(key, len(column_indexes))
    cells = [NULL_CELL] * len(column_indexes)
    for key, value in record.items():
        cells[column_indexes[key]] = _typed(value)
    return CELL_SEPARATOR.join(cells)


def _typed(value: Any) -> str:
    if value is None:
        return NULL_CELL
    kind, text = json_cell_text(value)
    return (ESCAPE_CHAR + kind if kind else "") + escape_cell(text)
