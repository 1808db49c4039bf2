"""Escaping of untrusted text for display in a terminal or a page.

A mapping, a file name, an option or an answer of a server can contain control characters that clear
a screen, set its title, colour text, begin a line or reverse the text that follows. Such characters
are shown as escapes.
"""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Characters that join letters and parts of emoji, with no effect on other text."""
_ACTING_CATEGORIES = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def escape_controls(text: str) -> str:
    r"""Return a text as a single line, with control characters as escapes like `\x1b`.

    Control and format characters (line breaks, tabs, bidirectional marks, zero-width characters),
    line and paragraph separators, and lone surrogates are escaped.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) else _escape(c) for c in text)


def escape_json_controls(json: str) -> str:
    r"""Return equivalent JSON with control characters as escapes like `\u009b`.

    Args:
        json: valid JSON, with line breaks only between its values.
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
