"""Invalid rows of a synthetic mapping: what is wrong with each, and the code that rejects it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_CONTACT_ID, _OWNER_ID, _MESSAGE_ID = range(3)


class InvalidRow(msgspec.Struct, frozen=True):
    """A way to make a row invalid, so that every operation must reject it.

    Args:
        code: the code that the row is rejected with.
        break_values: modifies the values of a row, given in the order of the mapping's columns.
    """

    code: str
    break_values: Callable[[list[str]], None]


def invalid_row(index: int) -> InvalidRow:
    """Return what is wrong with invalid row number `index` of a mapping; the ways alternate."""
    return INVALID_ROWS[index % len(INVALID_ROWS)]


def _clear_message_id(values: list[str]) -> None:
    values[_MESSAGE_ID] = ""


def _put_letter_in_contact_id(values: list[str]) -> None:
    values[_CONTACT_ID] = "x" + values[_CONTACT_ID][1:]


def _round_owner_id(values: list[str]) -> None:
    """Write the owner id as a spreadsheet that mistakes it for a number would."""
    owner_id = values[_OWNER_ID]
    values[_OWNER_ID] = f"{owner_id[0]}.{owner_id[1:5]}E+{len(owner_id) - 1}"


def _put_hyphen_in_message_id(values: list[str]) -> None:
    values[_MESSAGE_ID] = values[_MESSAGE_ID][:-1] + "-"


INVALID_ROWS = (
    InvalidRow("missing-value", _clear_message_id),
    InvalidRow("bad-id", _put_letter_in_contact_id),
    InvalidRow("rounded-id", _round_owner_id),
    InvalidRow("bad-id", _put_hyphen_in_message_id),
)
