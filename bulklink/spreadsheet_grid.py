"""Size of a sheet of a workbook, and the letters of its columns."""

from __future__ import annotations

#: Columns and rows of the largest sheet.
SHEET_COLUMNS, SHEET_ROWS = 16_384, 1_048_576


def column_letters(column: int) -> str:
    """Return the letters of a column, from 0, as in a spreadsheet: A to Z, then AA."""
    name = ""
    while column >= 0:
        column, letter = divmod(column, 26)
        name = chr(ord("A") + letter) + name
        column -= 1
    return name
