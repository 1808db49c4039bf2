"""CSV cells that a spreadsheet neither runs nor rounds, and how they are read back.

A cell that a spreadsheet would take for a formula gets an apostrophe in front (OWASP's advice on
CSV injection), a long number stands as `="…"`. A column of its own tells such a file, so that its
cells come back exactly and other files are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

DISARMED = "bulklink_disarmed"
"""Header of the column that tells a file whose cells are written so."""

_RUN = "=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_ARMED = re.compile(f"'*[{_RUN}]")
_DISARMED = re.compile(f"'+[{_RUN}]")
#: A formula holds no longer text than this.
_ID = re.compile("[0-9A-Za-z]{1,255}")
#: Twelve digits are shown with an exponent, sixteen are rounded, zeros in front are lost.
_NUMBER = re.compile("[0-9]{12,255}|0[0-9]{1,254}")
_QUOTED = re.compile('="([0-9A-Za-z]{1,255})"')


def disarmed(cell: str, *, ident: bool = False) -> str:
    """Write a cell so that a spreadsheet leaves it as it is.

    Args:
        cell: its text.
        ident: whether it stands in a column of ids, which are numbers however short.
    """
    if (_ID if ident else _NUMBER).fullmatch(cell):
        return f'="{cell}"'
    return f"'{cell}" if _ARMED.match(cell) else cell


def rearmed(cell: str) -> str:
    """Return what `disarmed` was given."""
    quoted = _QUOTED.fullmatch(cell)
    if quoted:
        return quoted[1]
    return cell[1:] if _DISARMED.match(cell) else cell


def is_disarmed(headers: Sequence[str]) -> bool:
    """Tell by its headers whether the cells of a file are written so."""
    return any(header.strip().casefold() == DISARMED for header in headers)
