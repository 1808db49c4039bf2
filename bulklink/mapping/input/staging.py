"""Staging files: exactly read records in a form that DuckDB cannot misread.

One line is one record: physical line, fault code, message and raw text of a broken record, then the
cells. The unit separator delimits them; it and a few other characters are escaped as SOH and a
letter. Cells at the end of a line may be left out.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import BrokenRecord, CsvRecords, record_too_long
from bulklink.mapping.input.json_reader import json_records
from bulklink.mapping.input.jsonl_reader import json_cell_text, jsonl_records
from bulklink.mapping.input.lines import LineReader
from bulklink.mapping.input.parquet_reader import ParquetRows
from bulklink.spreadsheet_cells import has_escaped_cells, unescape_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO, TextIO

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.input.dialect import Dialect
    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions

CELL_SEPARATOR = "\x1f"
ESCAPE_CHAR = "\x01"
NULL_CELL = ESCAPE_CHAR + "n"
LEADING_COLUMNS = ("line", "reason", "message", "raw")
#: Line of a record of a format that has no lines.
NO_LINE = 0
#: Letters after `ESCAPE_CHAR` and what they stand for; unescaped in this order, itself last.
ESCAPES = {"b": "\n", "c": "\r", "d": CELL_SEPARATOR, "e": "\0", "a": ESCAPE_CHAR}
#: Maximum number of columns. More keys of JSON objects than this are values used as keys.
MAX_COLUMNS = 1000

_ESCAPE_TABLE = {ord(character): ESCAPE_CHAR + letter for letter, character in ESCAPES.items()}
_ESCAPED = re.compile("[\x00\x01\n\r\x1f]")
_ESCAPED_BUT_SEPARATOR = re.compile("[\x00\x01\n\r]")
NO_FAULT = CELL_SEPARATOR + CELL_SEPARATOR.join((NULL_CELL, NULL_CELL, NULL_CELL)) + CELL_SEPARATOR
_CHECK_EVERY = 1000


class UnclosedQuote(msgspec.Struct, frozen=True):
    """Position of a quote that is never closed.

    Args:
        record: number of the record in its file, from 1.
        line: physical line, from 1.
    """

    record: int
    line: int


class StagedFile(msgspec.Struct, frozen=True):
    """Result of writing a staging file.

    Args:
        headers: headers of the input.
        records: number of records.
        unclosed_quote: position of a quote that is never closed.
        readable_records: number of records that are not broken.
    """

    headers: tuple[str, ...]
    records: int
    unclosed_quote: UnclosedQuote | None = None
    readable_records: int = 0


def escape_staged_cell(text: str) -> str:
    """Escape a cell for a staging file."""
    return text.translate(_ESCAPE_TABLE) if _ESCAPED.search(text) else text


def stage_csv(
    content: InputContent, target: Path, dialect: Dialect, stop: PlanningStop
) -> StagedFile:
    """Read a CSV file exactly and write it to a staging file."""
    with content.path.open("rb") as file, create_staging_file(target) as out:
        records = CsvRecords(LineReader(file, content.encoding), dialect)
        header_record = records.read_record()
        headers = header_record[1] if header_record else []
        if isinstance(headers, BrokenRecord):
            raise TypeError("a header that was read before cannot be read again")
        has_escapes = has_escaped_cells(headers)
        if has_escapes:
            headers = list(map(unescape_cell, headers))
        count = readable = 0
        for line, record in records.read_remaining(len(headers)):
            count += 1
            if count % _CHECK_EVERY == 0:
                stop.check()
                stop.report_position(file.tell())
            if not isinstance(record, BrokenRecord):
                readable += 1
                cells = list(map(unescape_cell, record)) if has_escapes else record
                out.write(f"{line}{NO_FAULT}{cells_text(cells)}\n")
                continue
            out.write(fault_line(line, record))
            if record.unclosed_quote:
                return StagedFile(tuple(headers), count, UnclosedQuote(count, line), readable)
    return StagedFile(tuple(headers), count, None, readable)


def create_staging_file(target: Path) -> TextIO:
    """Create a staging file."""
    return target.open("x", encoding="utf-8", newline="", buffering=1 << 20)


def cells_text(cells: list[str]) -> str:
    """Format the cells of a record that are all texts."""
    joined = CELL_SEPARATOR.join(cells)
    no_separator_in_cells = joined.count(CELL_SEPARATOR) == len(cells) - 1
    if no_separator_in_cells and not _ESCAPED_BUT_SEPARATOR.search(joined):
        return joined
    return CELL_SEPARATOR.join(map(escape_staged_cell, cells))


def fault_line(line: int, record: BrokenRecord) -> str:
    """Format the line of a broken record."""
    parts = (str(line), record.reason, record.message, record.raw)
    return CELL_SEPARATOR.join(map(escape_staged_cell, parts)) + "\n"


def stage_jsonl(
    content: InputContent, target: Path, options: MappingOptions, stop: PlanningStop
) -> StagedFile:
    """Read a JSONL file exactly and write it to a staging file; its keys become columns."""
    with content.path.open("rb") as file:
        lines = LineReader(file, content.encoding)
        lines.skip(options.skip_lines)
        return _stage_objects(_reporting(jsonl_records(lines), file, stop), content, target)


def stage_json(
    content: InputContent, target: Path, options: MappingOptions, stop: PlanningStop
) -> StagedFile:
    """Read a JSON document exactly and write it to a staging file; its keys become columns."""
    with closing(json_records(content, options, stop)) as records:
        return _stage_objects(records, content, target)


_ObjectRecord: TypeAlias = "tuple[int, dict[str, Any] | BrokenRecord]"


def _reporting(
    records: Iterator[_ObjectRecord], file: BinaryIO, stop: PlanningStop
) -> Iterator[_ObjectRecord]:
    """Yield the records of a file; report the position, and stop on request."""
    for count, record in enumerate(records, 1):
        if count % _CHECK_EVERY == 0:
            stop.check()
            stop.report_position(file.tell())
        yield record


def _stage_objects(
    records: Iterable[_ObjectRecord], content: InputContent, target: Path
) -> StagedFile:
    column_indexes: dict[str, int] = {}
    count = readable = 0
    with create_staging_file(target) as out:
        for line, record in records:
            count += 1
            if isinstance(record, BrokenRecord):
                out.write(fault_line(line, record))
                continue
            readable += 1
            out.write(f"{line}{NO_FAULT}{_object_cells(record, column_indexes)}\n")
            if len(column_indexes) > MAX_COLUMNS:
                raise BadFileError(
                    f"The objects have more than {MAX_COLUMNS:,} different keys.",
                    where=f"{content.source.name}, line {line}",
                    advice="Use the same keys in every line, and keep what varies in the values.",
                )
    return StagedFile(tuple(column_indexes), count, None, readable)


def stage_parquet(
    content: InputContent, target: Path, memory: str, stop: PlanningStop
) -> StagedFile:
    """Read a Parquet file and write it to a staging file; its records have no lines."""
    with (
        closing(ParquetRows(content, target.parent, memory, stop)) as rows,
        create_staging_file(target) as out,
    ):
        kinds = [column.cell_kind for column in rows.columns]
        if len(kinds) > MAX_COLUMNS:
            raise BadFileError(
                f"The table has more than {MAX_COLUMNS:,} columns.",
                where=content.source.name,
                advice="Write only the columns of the mapping.",
            )
        count = readable = 0
        for count, cells in enumerate(rows, 1):
            if count % _CHECK_EVERY == 0:
                stop.check()
            if cells is None:
                out.write(fault_line(NO_LINE, record_too_long(b"")))
                continue
            readable += 1
            texts = map(_kind_cell, kinds, cells)
            out.write(f"{NO_LINE}{NO_FAULT}{CELL_SEPARATOR.join(texts)}\n")
    headers = tuple(column.name for column in rows.columns)
    return StagedFile(headers, count, None, readable)


def _kind_cell(kind: str, text: str | None) -> str:
    if text is None:
        return NULL_CELL
    return (ESCAPE_CHAR + kind if kind else "") + escape_staged_cell(text)


def _object_cells(record: dict[str, Any], column_indexes: dict[str, int]) -> str:
    """Format the values of an object in the order of the columns, new ones at the end."""
    for key in record:
        column_indexes.setdefault(key, len(column_indexes))
    cells = [NULL_CELL] * len(column_indexes)
    for key, value in record.items():
        cells[column_indexes[key]] = _json_cell(value)
    return CELL_SEPARATOR.join(cells)


def _json_cell(value: Any) -> str:
    if value is None:
        return NULL_CELL
    return _kind_cell(*json_cell_text(value))
