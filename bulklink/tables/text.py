"""CSV and JSONL writers."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import BinaryIO, cast

import orjson

from bulklink.spreadsheet_cells import ESCAPED_HEADER, escape_cell
from bulklink.tables.formats import Cell, FileType, Table, TableColumn, TableFormat

_ROWS_AT_ONCE = 1000
_BOM = b"\xef\xbb\xbf"
#: Higher levels take several times as long for a few percent.
_GZIP_LEVEL = 6


@contextmanager
def text_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    """Write CSV or JSONL to a stream, which stays open.

    Args:
        stream: destination.
        table_format: CSV or JSONL, compressed or not.
        columns: columns of the table.
    """
    if table_format.gzip:
        with (
            gzip.GzipFile(
                filename="", mode="wb", fileobj=stream, compresslevel=_GZIP_LEVEL, mtime=0
            ) as gzip_file,
            _plain_text_table(cast("BinaryIO", gzip_file), table_format, columns) as table,
        ):
            yield table
    else:
        with _plain_text_table(stream, table_format, columns) as table:
            yield table


def _plain_text_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> AbstractContextManager[Table]:
    if table_format.file_type is FileType.JSONL:
        return nullcontext(JsonlTable(stream, [column.name for column in columns]))
    return _csv_table(stream, table_format, columns)


@contextmanager
def _csv_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    if table_format.spreadsheet:
        stream.write(_BOM)
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield (
            _SpreadsheetCsvTable(text, columns)
            if table_format.spreadsheet
            else _CsvTable(text, columns)
        )
    finally:
        text.detach()


class _CsvTable:
    def __init__(self, text: io.TextIOWrapper, columns: Sequence[TableColumn]) -> None:
        self._text = text
        self._writer = csv.writer(text)
        self._writer.writerow([column.header for column in columns])

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        iterator = iter(rows)
        while batch := list(islice(iterator, _ROWS_AT_ONCE)):
            plain_text = _plain_csv(batch)
            if plain_text is None:
                self._writer.writerows(batch)
            else:
                self._text.write(plain_text)


def _plain_csv(rows: Sequence[Sequence[Cell]]) -> str | None:
    """Return rows as `csv.writer` writes them, in a third of the time; None if a cell is quoted."""
    columns = len(rows[0])
    lines = [",".join(["" if cell is None else f"{cell}" for cell in row]) for row in rows]
    text = "\r\n".join([*lines, ""])
    needs_quotes = (
        columns < 2  # a row with only an empty cell is quoted
        or text.count(",") != len(rows) * (columns - 1)
        or text.count("\r") != len(rows)
        or text.count("\n") != len(rows)
        or '"' in text
    )
    return None if needs_quotes else text


class _SpreadsheetCsvTable:
    """CSV whose cells a spreadsheet neither runs nor rounds, marked by its last column."""

    def __init__(self, text: io.TextIOWrapper, columns: Sequence[TableColumn]) -> None:
        self._writer = csv.writer(text)
        self._is_id = [column.is_id for column in columns]
        self._writer.writerow([*(escape_cell(column.header) for column in columns), ESCAPED_HEADER])

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        self._writer.writerows(self._disarm(row) for row in rows)

    def _disarm(self, row: Sequence[Cell]) -> list[Cell]:
        cells: list[Cell] = [
            escape_cell(cell, is_id=is_id) if isinstance(cell, str) else cell
            for cell, is_id in zip(row, self._is_id, strict=True)
        ]
        return [*cells, "yes"]


class JsonlTable:
    """Writer of one JSON object per line.

    Args:
        stream: destination.
        names: keys of the objects.
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream = stream
        self._names = names

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write rows, one line each."""
        for row in rows:
            line = dict(zip(self._names, row, strict=True))
            self._stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
