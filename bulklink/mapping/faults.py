"""Fault codes of rows and their messages."""

from __future__ import annotations

from bulklink.mapping.schema import GUARD, MAX_ID_LENGTH, MAX_MESSAGE_ID_LENGTH

MISSING_VALUE = "missing-value"
BAD_ID = "bad-id"
ROUNDED_ID = "rounded-id"
BAD_OP = "bad-op"
BROKEN_RECORD = "broken-record"
BAD_ENCODING = "bad-encoding"
CONFLICT = "conflict"
UNKNOWN_DEAL = "unknown-deal"
UNKNOWN_OWNER = "unknown-owner"

#: Other rows of a conflict that a message names.
MAX_NAMED_ROWS = 20
#: Characters of a cell that a message shows.
MAX_CELL_CHARS = 60

_AS_TEXT = "export ids as text, not as numbers"


_ADVICE = {
    MISSING_VALUE: "A cell that is needed is empty: fill it, or give a value for all by --default.",
    BAD_ID: "A cell is no id as Zoho writes them: mend it.",
    ROUNDED_ID: f"A spreadsheet has rounded ids: {_AS_TEXT}.",
    BAD_OP: "The op is missing, or another than the one that is asked for.",
    BROKEN_RECORD: "The record cannot be read: mend its quotes and cells.",
    BAD_ENCODING: "The record is no text in this encoding: name the right one by --encoding.",
    CONFLICT: "Rows want different things of the same email: keep the right one.",
    UNKNOWN_DEAL: "The CRM shows no such deal: correct its id, or leave the row out.",
    UNKNOWN_OWNER: "The CRM shows no such user: correct the id, or leave the row out.",
}


def advice_for_fault(reason: str) -> str:
    """Return what the user can do about a fault code; empty if nothing is known."""
    return _ADVICE.get(reason, "")


def quote_cell(raw: str) -> str:
    """Quote a cell for a message, shortened if it is long."""
    return repr(raw if len(raw) <= MAX_CELL_CHARS else raw[:MAX_CELL_CHARS] + "…")


def explain_fault(reason: str, column: str | None, raw: str, known: str | None) -> str:
    """Explain in plain words what is wrong with one cell.

    Args:
        reason: fault code of this module.
        column: the user's header of the cell.
        raw: the cell as in the file.
        known: bulklink's name of the column, such as `contact_id`.
    """
    if reason == MISSING_VALUE:
        return f"{column or known} is empty"
    if reason == BAD_OP:
        return (
            f"{column or known} is {quote_cell(raw)}; it does not say the operation that is wanted"
        )
    if reason == ROUNDED_ID:
        return f"{column or known} is {quote_cell(raw)}, rounded by a spreadsheet: {_AS_TEXT}"
    if known == GUARD:
        wanted = f"the 1 to {MAX_ID_LENGTH} digits of a deal, or none"
        return f"{column or known} is {quote_cell(raw)}; it must be {wanted}"
    allowed = (
        f"an id of 1 to {MAX_MESSAGE_ID_LENGTH} letters and digits"
        if known == "message_id"
        else f"1 to {MAX_ID_LENGTH} digits"
    )
    return f"{column or known} is {quote_cell(raw)}; it must be {allowed}"


def conflict_message_sql(row: str, others: str, count: str) -> str:
    """Build the message of a conflict: it names the other rows of the same message.

    Args:
        row: SQL of the row number.
        others: SQL of the list of the first rows of the message, perhaps with the row itself.
        count: SQL of the number of all rows of the message.
    """
    named_rows = f"list_filter({others}, lambda other: other <> {row})[1:{MAX_NAMED_ROWS}]"
    more = f"({count} - 1 - len({named_rows}))"
    noun = f"if({count} = 2, 'row', 'rows')"
    return (
        f"concat('the same message is to go elsewhere, or from elsewhere, in ', {noun}, ' ', "
        f"array_to_string({named_rows}, ', '), if({more} > 0, concat(' and ', {more}, ' more'),"
        " ''))"
    )
