"""The reasons for which a row is refused, and what each says to a person."""

from __future__ import annotations

from bulklink.mapping.values import GUARD

MISSING_VALUE = "missing-value"
BAD_ID = "bad-id"
ROUNDED_ID = "rounded-id"
BAD_OP = "bad-op"
BROKEN_RECORD = "broken-record"
BAD_ENCODING = "bad-encoding"
CONFLICT = "conflict"
UNKNOWN_DEAL = "unknown-deal"
UNKNOWN_OWNER = "unknown-owner"

#: How many of the other rows of a conflict are named.
NAMED_ROWS = 20
#: How much of a cell is shown in a message.
SHOWN = 60

_AS_TEXT = "export ids as text, not as numbers"


def shown(raw: str) -> str:
    """Shorten a cell so that it fits into a message."""
    return repr(raw if len(raw) <= SHOWN else raw[:SHOWN] + "…")


def explain(reason: str, column: str | None, raw: str, known: str | None) -> str:
    """Say in plain words what is wrong with one cell.

    Args:
        reason: one of the reasons of this module.
        column: the user's header of the cell.
        raw: the cell as it stands in the file.
        known: the column's own name, such as `contact_id`.
    """
    if reason == MISSING_VALUE:
        return f"{column or known} is empty"
    if reason == BAD_OP:
        return f"{column or known} is {shown(raw)}; it does not say the operation that is wanted"
    if reason == ROUNDED_ID:
        return f"{column or known} is {shown(raw)}, rounded by a spreadsheet: {_AS_TEXT}"
    if known == GUARD:
        return (
            f"{column or known} is {shown(raw)}; it must be the 1 to 100 digits of a deal, or none"
        )
    allowed = "an id of 1 to 500 letters and digits" if known == "message_id" else "1 to 100 digits"
    return f"{column or known} is {shown(raw)}; it must be {allowed}"


def explain_conflict(others: list[int], more: int) -> str:
    """Name the other rows that want something else of the same message."""
    named = ", ".join(str(row) for row in others)
    rest = f" and {more} more" if more > 0 else ""
    noun = "row" if len(others) == 1 and not more else "rows"
    return f"the same message is to go elsewhere, or from elsewhere, in {noun} {named}{rest}"
