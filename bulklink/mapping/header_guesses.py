"""Likely headers of a column, by their words or as in Zoho's own exports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.schema import normalize_header
from bulklink.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

#: Words for the subject of a column, and for the attribute that it holds.
_SUBJECTS: Mapping[str, frozenset[str]] = {
    "contact": frozenset(("contact", "contacts", "person", "customer")),
    "owner": frozenset(("owner", "owners", "user", "mailbox")),
    "message": frozenset(("message", "messages", "email", "emails", "mail", "msg")),
    "deal": frozenset(("deal", "deals", "potential", "potentials", "opportunity")),
    "op": frozenset(("op", "operation", "action")),
}
_IDS = frozenset(("id", "ids", "key", "number", "no", "nr"))
_NAMES = frozenset(("name", "title"))
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TYPING_ERROR = 0.8
_RECORD = "Record Id"
#: Zoho's headers of lookup fields, by column. `Record Id` is the id of the exported record itself.
ZOHO_HEADERS: Mapping[str, tuple[str, ...]] = {
    "contact_id": ("Contact Name.id", "Contact Id"),
    "owner_id": ("Contact Owner.id", "Email Owner.id", "Owner.id"),
    "deal_id": ("Deal Name.id", "Potential Name.id", "Deal Id"),
    "message_id": ("Message Id", "Email Id"),
    "owner_name": ("Contact Owner", "Email Owner"),
    "deal_name": ("Deal Name", "Potential Name"),
}


def find_zoho_headers(headers: Sequence[str], columns: Collection[str]) -> dict[str, str]:
    """Return the headers of Zoho's own exports, by the column that each stands for.

    `Record Id` is the contact, deal or email, whichever has no other header.

    Args:
        headers: headers of a file.
        columns: the columns to find.
    """
    present = {normalize_header(header): header for header in reversed(headers)}
    headers_by_column = {
        column: present[key]
        for column, names in ZOHO_HEADERS.items()
        for name in reversed(names)
        if (key := normalize_header(name)) in present
    }
    record = present.get(normalize_header(_RECORD))
    carried = {column for column in ZOHO_HEADERS if normalize_header(column) in present}
    for column in ("contact_id", "deal_id", "message_id"):
        if record is not None and column not in headers_by_column and column not in carried:
            headers_by_column[column] = record
            break
    return {column: header for column, header in headers_by_column.items() if column in columns}


def guess_headers(columns: Sequence[str], headers: Iterable[str]) -> dict[str, str]:
    """Return the likeliest header for each column that has one; each header is used once.

    Args:
        columns: the columns without a header.
        headers: the headers that are not used yet.
    """
    free = [header for header in dict.fromkeys(headers) if strip_ignorable(header)]
    scores = sorted(
        (
            (score, -place, column, header)
            for column in columns
            for place, header in enumerate(free)
            if (score := _likeness(column, header))
        ),
        reverse=True,
    )
    guesses: dict[str, str] = {}
    for _, _, column, header in scores:
        if column not in guesses and header not in guesses.values():
            guesses[column] = header
    return guesses


def _likeness(column: str, header: str) -> int:
    """Compare the words of a column and a header; 0 if their subjects differ.

    The last subject in a header counts: `Contact Owner.id` is the id of an owner.
    """
    words = [word.lower() for word in _WORD.findall(header)]
    subject, _, attribute = column.partition("_")
    subjects = [name for word in words for name, names in _SUBJECTS.items() if word in names]
    if not subjects:
        is_typing_error = close_matches(
            column, [header], limit=1, cutoff=_TYPING_ERROR, key=normalize_header
        )
        return 2 if is_typing_error else 0
    if subjects[-1] != subject:
        return 0
    has_id, has_name = any(w in _IDS for w in words), any(w in _NAMES for w in words)
    if attribute == "id":
        return 3 if has_id else 0 if has_name else 1
    return 0 if has_id else 2
