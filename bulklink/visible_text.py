"""Texts of any origin, made harmless for a terminal or a page.

A mapping, a file name, an option or an answer of a server can hold characters that act where they
are shown: they clear a screen, set its title, colour a text, begin another line or reverse what
follows. Such characters are shown as escapes.
"""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Characters that join letters and parts of emoji, without effect on other text."""
_ACTING_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def escape_controls(text: str) -> str:
    r"""Return a text as one line without characters that act, which become escapes like `\x1b`.

    Escaped are control and format characters (line breaks, tabs, bidirectional marks, what has no
    width), line and paragraph separators, and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) else _escape(c) for c in text)


def escape_json_controls(json: str) -> str:
    r"""Return JSON of the same meaning in which characters that act are escapes like `\u009b`.

    Args:
        json: valid JSON, with line breaks between its values only.
    """
    if json.isprintable():
        return json
    return "".join(c if _is_visible(c) or c in "\n\t" else _escape_json(c) for c in json)


def _is_visible(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in _ACTING_CATEGORIES or character in _JOINERS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _escape_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
