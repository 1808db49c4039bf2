"""Workbooks: one sheet, every text a text cell, in memory that does not grow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from bulklink.errors import UsageError
from bulklink.tables.formats import Column
from bulklink.tables.writer import Cell, Table

MOST_ROWS = 1_048_575
"""Rows of a sheet below its header."""
_MOST_COLUMNS = 16_384
_LONGEST_TEXT = 32_767


@contextmanager
def workbook(path: Path, columns: Sequence[Column]) -> Iterator[Table]:
    """Write an .xlsx file.

    Args:
        path: the file.
        columns: its columns.

    Raises:
        UsageError: if the table does not fit into a sheet.
    """
    if len(columns) > _MOST_COLUMNS:
        raise too_big(path, f"A sheet has no more than {_MOST_COLUMNS:,} columns.")
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as folder:
        # By name: the package says nothing of its types.
        book: Any = import_module("xlsxwriter").Workbook(
            str(path), {"constant_memory": True, "tmpdir": folder, "use_zip64": True}
        )
        try:
            sheet = _Sheet(book.add_worksheet(), path)
            sheet.write([[column.header for column in columns]])
            yield sheet
        finally:
            book.close()  # closes its own files too, also where nothing comes of it


class _Sheet:
    def __init__(self, sheet: Any, path: Path) -> None:
        self._sheet = sheet
        self._path = path
        self._rows = 0

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        for row in rows:
            check_rows(self._path, self._rows)
            for place, cell in enumerate(row):
                if isinstance(cell, int):
                    self._sheet.write_number(self._rows, place, cell)
                elif cell and self._sheet.write_string(self._rows, place, cell):
                    raise too_big(
                        self._path,
                        f"A cell of row {self._rows} has more than {_LONGEST_TEXT:,} characters,"
                        " which no sheet can hold.",
                    )
            self._rows += 1


def check_rows(path: Path, rows: int) -> None:
    """Refuse more rows than a sheet has, below its header.

    Raises:
        UsageError: if there are more.
    """
    if rows > MOST_ROWS:
        raise too_big(path, f"A sheet has no more than {MOST_ROWS:,} rows.")


def too_big(path: Path, message: str) -> UsageError:
    """Say that a table does not fit into a sheet, and what to do."""
    return UsageError(
        message,
        where=path.name.removesuffix(".partial"),
        advice="Write .csv, .jsonl or .parquet; or fewer rows to each file.",
    )
