"""Fault codes of rows, and their messages."""

from __future__ import annotations

import re

from bulklink.mapping.id_cells import (
    bare_id,
    find_id_inside,
    find_wrong_character,
    name_character,
)
from bulklink.mapping.schema import GUARD, MAX_ID_LENGTH, MAX_MESSAGE_ID_LENGTH

MISSING_VALUE = "missing-value"
BAD_ID = "bad-id"
ROUNDED_ID = "rounded-id"
BAD_OP = "bad-op"
BROKEN_RECORD = "broken-record"
BAD_ENCODING = "bad-encoding"
MERGED_CELL = "merged-cell"
UNCOMPUTED_FORMULA = "uncomputed-formula"
CONFLICT = "conflict"
UNKNOWN_DEAL = "unknown-deal"
UNKNOWN_OWNER = "unknown-owner"

#: Other rows of a conflict that a message names.
MAX_NAMED_ROWS = 20
#: Characters of a cell that a message shows.
MAX_CELL_CHARS = 60

#: Remedy for a CSV file with single quotes around its cells.
USE_APOSTROPHE_QUOTE = """if ' is around cells, use --quote "'\""""

_AS_TEXT = "export ids as text, not as numbers"


_ADVICE = {
    MISSING_VALUE: "A required cell is empty: fill it, or set a value with --default.",
    BAD_ID: "A cell is not a valid Zoho id: correct it.",
    ROUNDED_ID: f"A program read the ids as numbers and rounded them: {_AS_TEXT}.",
    BAD_OP: "The op is not valid or not the requested one: correct it, or remove the row.",
    BROKEN_RECORD: "The record cannot be read: fix its quotes and cells.",
    BAD_ENCODING: "The record is not valid text in this encoding: set another with --encoding.",
    MERGED_CELL: "The cell is merged with another: unmerge them, and fill every cell.",
    UNCOMPUTED_FORMULA: "The file does not hold the value of a formula: open it in a spreadsheet,"
    " let it calculate, and save it.",
    CONFLICT: "Rows contradict each other about the same email: keep the right one.",
    UNKNOWN_DEAL: "The CRM shows no such deal: correct its id, or remove the row.",
    UNKNOWN_OWNER: "The CRM shows no such user: correct the id, or remove the row.",
}


def advice_for_fault(reason: str) -> str:
    """Return the advice for a fault code; empty if there is none."""
    return _ADVICE.get(reason, "")


def quote_cell(raw: str, place: int = 0) -> str:
    """Quote a cell for a message; shorten a long one to the part around one character.

    Args:
        raw: the cell.
        place: index of the character to show.
    """
    first = max(0, min(place - MAX_CELL_CHARS // 2, len(raw) - MAX_CELL_CHARS))
    last = first + MAX_CELL_CHARS
    return repr(("…" if first else "") + raw[first:last] + ("…" if last < len(raw) else ""))


def explain_fault(reason: str, column: str | None, raw: str, known: str | None) -> str:
    """Explain what is wrong with one cell.

    Args:
        reason: fault code of this module.
        column: the user's header of the cell.
        raw: the cell as in the file.
        known: bulklink's name for the column, such as `contact_id`.
    """
    name = column or known
    if reason == MISSING_VALUE:
        if known == "op":
            return f"{name} is empty: fill it in, or choose other rows with --only"
        return f"{name} is empty"
    if reason == BAD_OP:
        return f"{name} is {quote_cell(raw)}; this is not the requested operation"
    if reason == ROUNDED_ID:
        return f"{name} is {quote_cell(raw)}, {_explain_rounded(raw)}"
    return f"{name} is {explain_bad_id(raw, known or '')}"


def _explain_rounded(raw: str) -> str:
    by_number = f"rounded by a program that read ids as numbers: {_AS_TEXT}"
    if not re.fullmatch("[0-9]+", bare_id(raw)):
        return by_number
    return f"in a column that looks {by_number}; if the ids are right, use --allow-round-ids"


def explain_bad_id(raw: str, known: str) -> str:
    """Quote a cell that is not an id, and explain what it must be and where it differs.

    Args:
        raw: the cell as in the file.
        known: bulklink's name for its column.
    """
    id_inside = find_id_inside(raw) if known != "message_id" else None
    if id_inside is not None and len(id_inside) <= MAX_ID_LENGTH:
        return f"{quote_cell(raw)}; write the id alone: {id_inside}"
    if known == GUARD:
        return f"{quote_cell(raw)}; it must be the 1 to {MAX_ID_LENGTH} digits of a deal, or none"
    characters, max_length = "digits", MAX_ID_LENGTH
    if known == "message_id":
        characters, max_length = "letters and digits", MAX_MESSAGE_ID_LENGTH
    requirement = f"it must be 1 to {max_length} {characters}"
    wrong = find_wrong_character(raw, known)
    if wrong is None:
        return f"{quote_cell(raw)}, {len(raw):,} characters long; {requirement}"
    quoted = len(raw) > 1 and raw[0] == raw[-1] == "'"
    advice = f"; {USE_APOSTROPHE_QUOTE}" if quoted else ""
    return f"{quote_cell(raw, wrong)}; {requirement}, without {name_character(raw[wrong])}{advice}"


def unknown_record_message(kind: str, ident: str) -> str:
    """Build the message of a row whose deal or owner the CRM does not show.

    Args:
        kind: `deal` or `owner`.
        ident: SQL of its id.
    """
    return f"concat('The CRM shows no {kind} ', {ident}, '.')"


def conflict_message_sql(row: str, others: str, count: str) -> str:
    """Build the message of a conflict, which names the other rows of the same message.

    Args:
        row: SQL of the row number.
        others: SQL of the list of the first rows of the message, perhaps with the row itself.
        count: SQL of the number of all rows of the message.
    """
    named_rows = f"list_filter({others}, lambda other: other <> {row})[1:{MAX_NAMED_ROWS}]"
    more = f"({count} - 1 - len({named_rows}))"
    noun = f"if({count} = 2, 'row', 'rows')"
    return (
        f"concat('the same message has another op, deal or from_deal_id in ', {noun}, ' ', "
        f"array_to_string({named_rows}, ', '), if({more} > 0, concat(' and ', {more}, ' more'),"
        " ''))"
    )
