""".xlsx writer in constant memory: one sheet, every text a text cell."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from bulklink.blocking import blocks
from bulklink.errors import UsageError
from bulklink.tables.formats import Cell, Table, TableColumn

MAX_SHEET_ROWS = 1_048_575
"""Rows of a sheet below its header."""
_MAX_SHEET_COLUMNS = 16_384
_MAX_TEXT_LENGTH = 32_767


@contextmanager
def xlsx_table(path: Path, columns: Sequence[TableColumn]) -> Iterator[Table]:
    """Write an .xlsx file.

    Args:
        path: file to write.
        columns: columns of the table.

    Raises:
        UsageError: if the table does not fit into a sheet.
    """
    blocks("writing a workbook")
    if len(columns) > _MAX_SHEET_COLUMNS:
        raise sheet_limit_error(path, f"A sheet has no more than {_MAX_SHEET_COLUMNS:,} columns.")
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as folder:
        # By name: the package has no type annotations.
        book: Any = import_module("xlsxwriter").Workbook(
            str(path), {"constant_memory": True, "tmpdir": folder, "use_zip64": True}
        )
        try:
            sheet = _SheetTable(book.add_worksheet(), path)
            sheet.write([[column.header for column in columns]])
            yield sheet
        finally:
            book.close()  # closes its own files, after an error too


class _SheetTable:
    def __init__(self, sheet: Any, path: Path) -> None:
        self._sheet = sheet
        self._path = path
        self._rows = 0

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        for row in rows:
            check_row_count(self._path, self._rows)
            for index, cell in enumerate(row):
                if isinstance(cell, int):
                    self._sheet.write_number(self._rows, index, cell)
                elif cell and self._sheet.write_string(self._rows, index, cell):
                    raise sheet_limit_error(
                        self._path,
                        f"A cell of row {self._rows} has more than {_MAX_TEXT_LENGTH:,} characters,"
                        " which no sheet can hold.",
                    )
            self._rows += 1


def check_row_count(path: Path, rows: int) -> None:
    """Check that a sheet has room for the rows, below its header.

    Raises:
        UsageError: if there are too many.
    """
    if rows > MAX_SHEET_ROWS:
        raise sheet_limit_error(path, f"A sheet has no more than {MAX_SHEET_ROWS:,} rows.")


def sheet_limit_error(path: Path, message: str) -> UsageError:
    """Return the error for a table that does not fit into a sheet."""
    return UsageError(
        message,
        where=path.name.removesuffix(".partial"),
        advice="Write .csv, .jsonl or .parquet, or fewer rows per file.",
    )
