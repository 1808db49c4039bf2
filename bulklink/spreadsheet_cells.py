"""Escaping of CSV cells for spreadsheets, and its reverse.

A cell that a spreadsheet would interpret as a formula is prefixed with an apostrophe (OWASP's
advice on CSV injection), and a long number is written as `="…"`. An extra column marks such a file,
so that its cells are read back exactly and other files are read unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ESCAPED_HEADER = "bulklink_disarmed"
"""Header of the column that marks a file with escaped cells."""

_FORMULA_STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"'*[{_FORMULA_STARTS}]")
_ESCAPED_FORMULA = re.compile(f"'+[{_FORMULA_STARTS}]")
#: Ids up to the longest text that a formula may contain.
_ID = re.compile("[0-9A-Za-z]{1,255}")
#: Spreadsheets show 12 digits with an exponent, round 16 digits, and drop leading zeros.
_LONG_NUMBER = re.compile("[0-9]{12,255}|0[0-9]{1,254}")
_ESCAPED_NUMBER = re.compile('="([0-9A-Za-z]{1,255})"')


def escape_cell(cell: str, *, is_id: bool = False) -> str:
    """Escape a cell against formulas and rounding.

    Args:
        cell: text of the cell.
        is_id: whether it is in a column of ids, where short numbers are escaped too.
    """
    if (_ID if is_id else _LONG_NUMBER).fullmatch(cell):
        return f'="{cell}"'
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_cell(cell: str) -> str:
    """Reverse `escape_cell`."""
    match = _ESCAPED_NUMBER.fullmatch(cell)
    if match:
        return match[1]
    return cell[1:] if _ESCAPED_FORMULA.match(cell) else cell


def has_escaped_cells(headers: Sequence[str]) -> bool:
    """Return whether the cells of a file with these headers are escaped."""
    return any(header.strip().casefold() == ESCAPED_HEADER for header in headers)
