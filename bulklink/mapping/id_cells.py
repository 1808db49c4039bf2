"""Id cells: removal of the characters that exports add, and diagnosis of invalid ids."""

from __future__ import annotations

import re
import unicodedata

from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.schema import id_pattern

_QUOTED = re.compile('="(.*)"', re.DOTALL)
_ALLOWED = {"message_id": re.compile("[0-9A-Za-z]")}
_DIGIT = re.compile("[0-9]")
#: Minimum digits of a record's id in a URL; other numbers there, such as an org's, have fewer.
_MIN_ID_DIGITS = 12
_LONG_NUMBER = re.compile(f"[0-9]{{{_MIN_ID_DIGITS},}}")
_ADDRESS = re.compile(r"https?://[^?#]*/([0-9]+)/?(?:[?#]|$)", re.IGNORECASE)
_SIGNED = re.compile(r"\+\s*([0-9]+)")


def bare_id(cell: str) -> str:
    """Return the text of an id without the characters that exports add.

    The macro `clean_id` of `load` does the same in SQL.
    """
    text = strip_ignorable(strip_ignorable(cell).removeprefix("'"))
    quoted = _QUOTED.fullmatch(text)
    text = strip_ignorable(quoted[1] if quoted else text).removeprefix("'")
    return strip_ignorable(strip_ignorable(text).removeprefix("zcrm_"))


def find_id_inside(cell: str) -> str | None:
    """Return the only id inside a cell, such as a record's URL; None if there is none.

    Digits of other scripts and full-width digits count as their ASCII equivalents.
    """
    text = bare_id(_plain_digits(cell))
    digits = re.compile(id_pattern("contact_id"))
    whole = digits.fullmatch(text) or _SIGNED.fullmatch(text)
    if whole is not None:
        return whole[whole.lastindex or 0]
    address = _ADDRESS.match(text)
    if address is not None:
        return address[1] if digits.fullmatch(address[1]) else None
    numbers = set(_LONG_NUMBER.findall(text))
    return numbers.pop() if len(numbers) == 1 and _is_wrapped(text) else None


def _is_wrapped(text: str) -> bool:
    """Return whether a text is one long number among words, without other digits."""
    return not _DIGIT.search(_LONG_NUMBER.sub("", text))


def _plain_digits(text: str) -> str:
    return "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)


def find_wrong_character(cell: str, column: str) -> int | None:
    """Return the index of the first character that is invalid in an id; None if all are valid.

    Args:
        cell: the cell as in the file.
        column: bulklink's name for its column.
    """
    allowed, bare = _ALLOWED.get(column, _DIGIT), bare_id(cell)
    start = cell.find(bare)
    wrong = (place for place, c in enumerate(bare) if not allowed.fullmatch(c))
    place = next(wrong, None)
    return None if place is None else start + place


def name_character(character: str) -> str:
    """Return a readable name of a character, even if it is invisible."""
    if character.isascii() and character.isprintable() and character != " ":
        return repr(character)
    name = unicodedata.name(character, _CONTROL_NAMES.get(character, "a control character"))
    return f"{name} (U+{ord(character):04X})"


_CONTROL_NAMES = {"\0": "NULL", "\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN"}
