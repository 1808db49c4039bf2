"""Writing a table: it appears whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias, cast

import orjson

from bulklink.atomic_files import atomic_replace, write_error
from bulklink.errors import UsageError
from bulklink.spreadsheet_cells import ESCAPED_HEADER, escape_cell
from bulklink.tables.formats import FileType, TableColumn, TableFormat

Cell: TypeAlias = str | int | None
_BOM = b"\xef\xbb\xbf"
_BUFFER = 1 << 20
#: Higher levels take several times as long for a few percent.
_GZIP_LEVEL = 6


class Table(Protocol):
    """What rows are given to."""

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write some rows; each has a cell for every column, None where there is no value."""
        ...


def check_file_path(path: Path) -> None:
    """Refuse a file that has no folder to be in, or is one, or is a device or a pipe.

    Raises:
        UsageError: if it is so.
    """
    if not path.parent.is_dir():
        raise UsageError(
            "There is no such folder.", where=str(path.parent), advice="Make it, or name another."
        )
    if path.is_dir():
        raise UsageError("It is a folder.", where=str(path), advice="Name a file.")
    if path.exists() and not path.is_file():
        raise UsageError(
            "It is a device or a pipe, which a file would take the place of.",
            where=str(path),
            advice="Write to standard output, by -o -, and send that there.",
        )


@contextmanager
def write_table(
    path: Path, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    """Write a table to a file that only its owner can read, and that is there when all is well.

    Args:
        path: the file; one that is there is replaced at the end.
        table_format: how it is written.
        columns: its columns.

    Raises:
        UsageError: if there is no such folder, or the rows do not fit into the format.
        RunDirError: if it cannot be written.
    """
    check_file_path(path)
    with atomic_replace(path) as temporary:
        if table_format.file_type is FileType.XLSX:
            from bulklink.tables.xlsx import xlsx_table  # noqa: PLC0415 - heavy, seldom needed

            with xlsx_table(temporary, columns) as table:
                yield table
        elif table_format.file_type is FileType.PARQUET:
            from bulklink.tables.parquet import parquet_table  # noqa: PLC0415 - heavy, seldom needed

            with parquet_table(temporary, columns) as table:
                yield table
        else:
            with (
                temporary.open("wb", buffering=_BUFFER) as file,
                _gzip_or_text_table(file, table_format, columns) as table,
            ):
                yield table


@contextmanager
def stream_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    """Write a table of texts, CSV or JSONL, to a stream, which stays open.

    Raises:
        RunDirError: if it cannot be written; a reader that went away is left to the caller.
    """
    try:
        with _gzip_or_text_table(stream, table_format, columns) as table:
            yield table
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise write_error(Path("standard output"), error) from None


@contextmanager
def _gzip_or_text_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    if table_format.gzip:
        with (
            gzip.GzipFile(
                filename="", mode="wb", fileobj=stream, compresslevel=_GZIP_LEVEL, mtime=0
            ) as gzip_file,
            _text_table(cast("BinaryIO", gzip_file), table_format, columns) as table,
        ):
            yield table
    else:
        with _text_table(stream, table_format, columns) as table:
            yield table


def _text_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> AbstractContextManager[Table]:
    return (
        _jsonl_table(stream, columns)
        if table_format.file_type is FileType.JSONL
        else _csv_table(stream, table_format, columns)
    )


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
        self._writer = csv.writer(text)
        self._writer.writerow([column.header for column in columns])

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        self._writer.writerows(rows)


class _SpreadsheetCsvTable:
    """CSV whose cells a spreadsheet neither runs nor rounds; the last column tells that."""

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


@contextmanager
def _jsonl_table(stream: BinaryIO, columns: Sequence[TableColumn]) -> Iterator[Table]:
    yield JsonlTable(stream, [column.name for column in columns])


class JsonlTable:
    """One JSON object a line.

    Args:
        stream: where it goes.
        names: the keys of its objects.
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream = stream
        self._names = names

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write some rows."""
        for row in rows:
            line = dict(zip(self._names, row, strict=True))
            self._stream.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
