"""Check of a COQL condition that the user wrote, before it becomes part of a query.

The condition is put between brackets of ours, so it must not be able to close them, nor to begin
another clause. Whether fields and operators exist is for the CRM to decide.

Zoho documents two escapes for a quote inside quotes: a backslash before it, and the quote doubled
(Kaizen 171). A doubled quote needs no rule, as it ends one string and begins the next. For the
backslash, a condition must be safe both where it escapes and where it is an ordinary character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress

import msgspec

MAX_CONDITION_LENGTH = 10_000
"""Maximum characters of a condition; COQL allows 25 comparisons."""
MAX_DEPTH = 100
"""Maximum brackets inside each other."""
_OTHER_CLAUSES = frozenset({"SELECT", "FROM", "WHERE", "HAVING", "UNION", "LIMIT", "OFFSET"})
_BEFORE_BY = frozenset({"ORDER", "GROUP"})
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, halves of surrogate pairs, separators of lines and paragraphs."""
_TOKEN = re.compile(
    r"""\s+
    |\d*(?P<word>\w+)
    |(?P<symbol>--|/\*|\*/|.)""",
    re.VERBOSE | re.DOTALL,
)
_FORBIDDEN = {
    ";": "A semicolon",
    "`": "A backquote",
    "\\": "A backslash outside quotes",
    **dict.fromkeys(("--", "/*", "*/", "#"), "A comment"),
}


class ConditionError(ValueError):
    """Raised when a condition cannot become part of a query.

    Args:
        message: what is wrong, one sentence for the user.
        position: the character it concerns, from 0.

    Attributes:
        message: see above.
        position: see above.
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (character {position + 1})")
        self.message = message
        self.position = position


class Condition(msgspec.Struct, frozen=True):
    """A condition that can stand between brackets in a query.

    Args:
        text: the condition as the user wrote it, without spaces around it.
    """

    text: str


def parse_condition(text: str) -> Condition:
    """Check the form of a condition, such as `Stage = 'Qualification' and Amount > 1000`.

    Args:
        text: the part of a COQL query after `where`.

    Raises:
        ConditionError: if it is empty or too long, has quotes or brackets that are not closed, or
            has anything that does not belong into a condition: another clause, a semicolon, a
            comment, a control character.
    """
    if not text.strip():
        raise ConditionError("The condition is empty", 0)
    if len(text) > MAX_CONDITION_LENGTH:
        raise ConditionError(
            f"The condition is longer than {MAX_CONDITION_LENGTH:,} characters",
            MAX_CONDITION_LENGTH,
        )
    _check_characters(text)
    _check_structure(_outside_quotes(text, backslash_escapes=True))
    # A server for which the last quote stays open sees no end of the query, and refuses it.
    with suppress(_OpenQuoteError):
        _check_structure(list(_outside_quotes(text, backslash_escapes=False)))
    return Condition(text.strip())


class _OpenQuoteError(ConditionError):
    """Raised when a quote is not closed."""


def _check_characters(text: str) -> None:
    for position, character in enumerate(text):
        if unicodedata.category(character) in _FORBIDDEN_CATEGORIES:
            raise ConditionError(
                f"The condition has a control character (U+{ord(character):04X})", position
            )


def _outside_quotes(text: str, *, backslash_escapes: bool) -> Iterator[tuple[int, str]]:
    """Yield the parts of a condition outside quotes, each with its position.

    Raises:
        _OpenQuoteError: if a quote is not closed.
    """
    start = position = 0
    while position < len(text):
        if text[position] not in "'\"":
            position += 1
            continue
        yield start, text[start:position]
        start = position = _end_of_string(text, position, backslash_escapes=backslash_escapes)
    yield start, text[start:]


def _end_of_string(text: str, start: int, *, backslash_escapes: bool) -> int:
    """Return the position after the string that begins at `start`."""
    quote, position = text[start], start + 1
    while position < len(text):
        if text[position] == quote:
            return position + 1
        position += 2 if backslash_escapes and text[position] == "\\" else 1
    raise _OpenQuoteError("A quote is not closed", start)


def _check_structure(parts: Iterable[tuple[int, str]]) -> None:
    """Check brackets and words outside quotes.

    Raises:
        ConditionError: if the condition could close our brackets or begin another clause.
    """
    open_brackets: list[int] = []
    for start, part in parts:
        _check_ascii(part, start)
        previous_word = ""
        for match in _TOKEN.finditer(part):
            position = start + match.start()
            if match["word"]:
                _check_word(match["word"].upper(), previous_word, position)
            elif match["symbol"]:
                _check_symbol(match["symbol"], position, open_brackets)
            if not match[0].isspace():
                previous_word = (match["word"] or "").upper()
    if open_brackets:
        raise ConditionError("A bracket is not closed", open_brackets[-1])


def _check_ascii(part: str, start: int) -> None:
    """Refuse letters and spaces of which it is unknown how the CRM reads them."""
    for offset, character in enumerate(part):
        if not character.isascii():
            raise ConditionError(f"{character!r} is only allowed inside '…'", start + offset)


def _check_symbol(symbol: str, position: int, open_brackets: list[int]) -> None:
    if symbol in _FORBIDDEN:
        raise ConditionError(f"{_FORBIDDEN[symbol]} cannot be part of a condition", position)
    if symbol == "(":
        if len(open_brackets) >= MAX_DEPTH:
            raise ConditionError(f"More than {MAX_DEPTH} brackets are open", position)
        open_brackets.append(position)
    elif symbol == ")":
        if not open_brackets:
            raise ConditionError("A bracket is closed that was not opened", position)
        open_brackets.pop()


def _check_word(word: str, previous_word: str, position: int) -> None:
    if word == "BY" and previous_word in _BEFORE_BY:
        word = f"{previous_word} BY"
    elif word not in _OTHER_CLAUSES:
        return
    raise ConditionError(
        f"`{word.lower()}` cannot be part of a condition; put a field of that name in quotes",
        position,
    )
