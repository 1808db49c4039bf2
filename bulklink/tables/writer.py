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

from bulklink.atomic_files import replacing, unwritable
from bulklink.errors import UsageError
from bulklink.spreadsheet_cells import DISARMED, disarmed
from bulklink.tables.formats import Column, Form, Kind

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


def check_folder(path: Path) -> None:
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
def writing(path: Path, form: Form, columns: Sequence[Column]) -> Iterator[Table]:
    """Write a table to a file that only its owner can read, and that is there when all is well.

    Args:
        path: the file; one that is there is replaced at the end.
        form: how it is written.
        columns: its columns.

    Raises:
        UsageError: if there is no such folder, or the rows do not fit into the format.
        RunDirError: if it cannot be written.
    """
    check_folder(path)
    with replacing(path) as temporary:
        if form.kind is Kind.XLSX:
            from bulklink.tables.xlsx import workbook  # noqa: PLC0415 - heavy, seldom needed

            with workbook(temporary, columns) as table:
                yield table
        elif form.kind is Kind.PARQUET:
            from bulklink.tables.parquet import parquet  # noqa: PLC0415 - heavy, seldom needed

            with parquet(temporary, columns) as table:
                yield table
        else:
            with (
                temporary.open("wb", buffering=_BUFFER) as file,
                _packed(file, form, columns) as table,
            ):
                yield table


@contextmanager
def printing(stream: BinaryIO, form: Form, columns: Sequence[Column]) -> Iterator[Table]:
    """Write a table of texts, CSV or JSONL, to a stream, which stays open.

    Raises:
        RunDirError: if it cannot be written; a reader that went away is left to the caller.
    """
    try:
        with _packed(stream, form, columns) as table:
            yield table
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(Path("standard output"), error) from None


@contextmanager
def _packed(stream: BinaryIO, form: Form, columns: Sequence[Column]) -> Iterator[Table]:
    if form.gzip:
        with (
            gzip.GzipFile(
                filename="", mode="wb", fileobj=stream, compresslevel=_GZIP_LEVEL, mtime=0
            ) as packed,
            _texts(cast("BinaryIO", packed), form, columns) as table,
        ):
            yield table
    else:
        with _texts(stream, form, columns) as table:
            yield table


def _texts(
    stream: BinaryIO, form: Form, columns: Sequence[Column]
) -> AbstractContextManager[Table]:
    return _jsonl(stream, columns) if form.kind is Kind.JSONL else _csv(stream, form, columns)


@contextmanager
def _csv(stream: BinaryIO, form: Form, columns: Sequence[Column]) -> Iterator[Table]:
    if form.spreadsheet:
        stream.write(_BOM)
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield _SpreadsheetCsv(text, columns) if form.spreadsheet else _Csv(text, columns)
    finally:
        text.detach()


class _Csv:
    def __init__(self, text: io.TextIOWrapper, columns: Sequence[Column]) -> None:
        self._writer = csv.writer(text)
        self._writer.writerow([column.header for column in columns])

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        self._writer.writerows(rows)


class _SpreadsheetCsv:
    """CSV whose cells a spreadsheet neither runs nor rounds; the last column tells that."""

    def __init__(self, text: io.TextIOWrapper, columns: Sequence[Column]) -> None:
        self._writer = csv.writer(text)
        self._idents = [column.ident for column in columns]
        self._writer.writerow([*(disarmed(column.header) for column in columns), DISARMED])

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        self._writer.writerows(self._disarmed(row) for row in rows)

    def _disarmed(self, row: Sequence[Cell]) -> list[Cell]:
        cells: list[Cell] = [
            disarmed(cell, ident=ident) if isinstance(cell, str) else cell
            for cell, ident in zip(row, self._idents, strict=True)
        ]
        return [*cells, "yes"]


@contextmanager
def _jsonl(stream: BinaryIO, columns: Sequence[Column]) -> Iterator[Table]:
    yield Jsonl(stream, [column.name for column in columns])


class Jsonl:
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
