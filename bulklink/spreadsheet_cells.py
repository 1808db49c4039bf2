"""CSV cells that a spreadsheet neither runs nor rounds, and how they are read back.

A cell that a spreadsheet would take for a formula gets an apostrophe in front (OWASP's advice on
CSV injection), a long number stands as `="…"`. A column of its own tells such a file, so that its
cells come back exactly and other files are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ESCAPED_HEADER = "bulklink_disarmed"
"""Header of the column that tells a file whose cells are written so."""

_FORMULA_STARTS = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"'*[{_FORMULA_STARTS}]")
_ESCAPED_FORMULA = re.compile(f"'+[{_FORMULA_STARTS}]")
#: A formula holds no longer text than this.
_ID = re.compile("[0-9A-Za-z]{1,255}")
#: Twelve digits are shown with an exponent, sixteen are rounded, zeros in front are lost.
_LONG_NUMBER = re.compile("[0-9]{12,255}|0[0-9]{1,254}")
_ESCAPED_NUMBER = re.compile('="([0-9A-Za-z]{1,255})"')


def escape_cell(cell: str, *, is_id: bool = False) -> str:
    """Write a cell so that a spreadsheet leaves it as it is.

    Args:
        cell: its text.
        is_id: whether it stands in a column of ids, which are numbers however short.
    """
    if (_ID if is_id else _LONG_NUMBER).fullmatch(cell):
        return f'="{cell}"'
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescape_cell(cell: str) -> str:
    """Return what `escape_cell` was given."""
    match = _ESCAPED_NUMBER.fullmatch(cell)
    if match:
        return match[1]
    return cell[1:] if _ESCAPED_FORMULA.match(cell) else cell


def has_escaped_cells(headers: Sequence[str]) -> bool:
    """Tell by its headers whether the cells of a file are written so."""
    return any(header.strip().casefold() == ESCAPED_HEADER for header in headers)
