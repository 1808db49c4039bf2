"""Staging files: exactly read records in a form that DuckDB cannot misread.

One line is one record: physical line, fault code, message and raw text of a broken record, then the
cells. The unit separator delimits them; it and a few other characters are escaped as SOH and a
letter. Cells at the end of a line may be left out.
"""

from __future__ import annotations

import re
from contextlib import closing
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import (
    BrokenRecord,
    CsvRecords,
    record_not_text,
    record_too_long,
)
from bulklink.mapping.input.encodings import UTF8
from bulklink.mapping.input.json_reader import json_records
from bulklink.mapping.input.jsonl_reader import json_cell_text, jsonl_records
from bulklink.mapping.input.lines import LineReader
from bulklink.mapping.input.parquet_reader import ParquetRows
from bulklink.mapping.input.python_cells import python_cell
from bulklink.mapping.input.rows import describe_type, row_dict
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.spreadsheet_cells import has_escaped_cells, unescape_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO, TextIO

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.input.dialect import Dialect
    from bulklink.mapping.input.rows import Rows
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

    @property
    def is_readable(self) -> bool:
        """Whether a record can be read, or there is none."""
        return not self.records or self.readable_records > 0


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
            cells = _placed_cells(record, map(_json_cell, record.values()), column_indexes)
            out.write(f"{line}{NO_FAULT}{cells}\n")
            if len(column_indexes) > MAX_COLUMNS:
                raise BadFileError(
                    f"The objects have more than {MAX_COLUMNS:,} different keys.",
                    where=f"{content.source.name}, line {line}",
                    advice="Use the same keys in every line, and keep what varies in the values.",
                )
    return StagedFile(tuple(column_indexes), count, None, readable)


def too_many_columns_error(name: str) -> BadFileError:
    """Build the error of a table that is too wide."""
    return BadFileError(
        f"The table has more than {MAX_COLUMNS:,} columns.",
        where=name,
        advice="Use only the columns of the mapping.",
    )


def stage_dicts(rows: Rows, target: Path, stop: PlanningStop) -> StagedFile:
    """Read rows that are dicts and write them to a staging file; their keys become columns.

    Raises:
        BadFileError: if a row is no dict, or has a key or value without a text.
        UsageError: if the rows can be read once, and were.
    """
    column_indexes: dict[str, int] = {}
    count = readable = 0
    with create_staging_file(target) as out:
        for count, value in enumerate(rows.take(), 1):
            if count % _CHECK_EVERY == 0:
                stop.check()
            record = row_dict(value)
            if record is None:
                raise _not_a_row_error(value, rows.name, count)
            cells = _python_cells(record, column_indexes, rows.name, count)
            fault = _find_fault(cells)
            if fault is None:
                readable += 1
                out.write(f"{NO_LINE}{NO_FAULT}{cells}\n")
            else:
                out.write(fault_line(NO_LINE, fault))
    return StagedFile(tuple(column_indexes), count, None, readable)


def _python_cells(
    record: dict[str, Any], column_indexes: dict[str, int], name: str, row: int
) -> str:
    """Format the values of a row in the order of the columns, new ones at the end."""
    if list(record) == list(column_indexes):
        try:
            return cells_text(list(record.values()))
        except TypeError:
            pass  # some are no texts
    for key in record.keys() - column_indexes.keys():
        if not isinstance(key, str):
            raise BadFileError(
                f"Row {row:,} has the key {key!r}, which is not text.",
                where=name,
                advice="Use the names of the columns as keys.",
            )
    cells = [python_staged_cell(value, name, row, key) for key, value in record.items()]
    line = _placed_cells(
        record, (NULL_CELL if cell is None else cell for cell in cells), column_indexes
    )
    if len(column_indexes) > MAX_COLUMNS:
        raise too_many_columns_error(name)
    return line


def python_staged_cell(value: Any, name: str, row: int, header: str) -> str | None:
    """Convert a value to a cell of a staging file; None for a missing value.

    Args:
        value: the value.
        name: name of the rows.
        row: number of its row.
        header: its column.

    Raises:
        BadFileError: if it has no text.
    """
    if type(value) is str:
        return escape_staged_cell(value)
    try:
        cell = python_cell(value)
    except (ValueError, TypeError, RecursionError):  # the latter two of lists and dicts
        raise BadFileError(
            f"The value of {header} in row {row:,} is {describe_type(value)}, which has no text.",
            where=name,
            advice="Convert it to text, or leave the column out.",
        ) from None
    return None if cell is None else _kind_cell(*cell)


def _find_fault(cells: str) -> BrokenRecord | None:
    """Return the fault of a record that is too long, or not text."""
    if len(cells) * 4 > MAX_RECORD_BYTES or not cells.isascii():
        try:
            size = len(cells.encode())
        except UnicodeEncodeError:
            return record_not_text(b"", UTF8)
        if size > MAX_RECORD_BYTES:
            return record_too_long(b"")
    return None


def _not_a_row_error(value: object, name: str, row: int) -> BadFileError:
    advice = "Each row must be a dict whose keys are the names of the columns."
    if isinstance(value, str | PathLike):
        advice = 'If these are paths, pass them in a tuple, such as ("mapping.csv",).'
    elif hasattr(value, "__arrow_c_stream__"):
        advice = "Pass several frames in a tuple."
    return BadFileError(
        f"Row {row:,} is {describe_type(value)}, not a dict.", where=name, advice=advice
    )


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
            raise too_many_columns_error(content.source.name)
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


def _placed_cells(keys: Iterable[str], cells: Iterable[str], column_indexes: dict[str, int]) -> str:
    """Join the cells of an object in the order of the columns, new ones at the end."""
    for key in keys:
        column_indexes.setdefault(key, len(column_indexes))
    placed = [NULL_CELL] * len(column_indexes)
    for key, cell in zip(keys, cells, strict=True):
        placed[column_indexes[key]] = cell
    return CELL_SEPARATOR.join(placed)


def _json_cell(value: Any) -> str:
    if value is None:
        return NULL_CELL
    return _kind_cell(*json_cell_text(value))
