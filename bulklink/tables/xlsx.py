"""Workbooks: one sheet, every text a text cell, in memory that does not grow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from bulklink.errors import UsageError
from bulklink.tables.formats import TableColumn
from bulklink.tables.writer import Cell, Table

MAX_SHEET_ROWS = 1_048_575
"""Rows of a sheet below its header."""
_MAX_SHEET_COLUMNS = 16_384
_MAX_TEXT_LENGTH = 32_767


@contextmanager
def xlsx_table(path: Path, columns: Sequence[TableColumn]) -> Iterator[Table]:
    """Write an .xlsx file.

    Args:
        path: the file.
        columns: its columns.

    Raises:
        UsageError: if the table does not fit into a sheet.
    """
    if len(columns) > _MAX_SHEET_COLUMNS:
        raise sheet_limit_error(path, f"A sheet has no more than {_MAX_SHEET_COLUMNS:,} columns.")
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as folder:
        # By name: the package says nothing of its types.
        book: Any = import_module("xlsxwriter").Workbook(
            str(path), {"constant_memory": True, "tmpdir": folder, "use_zip64": True}
        )
        try:
            sheet = _SheetTable(book.add_worksheet(), path)
            sheet.write([[column.header for column in columns]])
            yield sheet
        finally:
            book.close()  # closes its own files too, also where nothing comes of it


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
    """Refuse more rows than a sheet has, below its header.

    Raises:
        UsageError: if there are more.
    """
    if rows > MAX_SHEET_ROWS:
        raise sheet_limit_error(path, f"A sheet has no more than {MAX_SHEET_ROWS:,} rows.")


def sheet_limit_error(path: Path, message: str) -> UsageError:
    """Say that a table does not fit into a sheet, and what to do."""
    return UsageError(
        message,
        where=path.name.removesuffix(".partial"),
        advice="Write .csv, .jsonl or .parquet; or fewer rows to each file.",
    )
