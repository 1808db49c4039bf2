"""Texts with control characters and markup, and their detection in an output."""

from __future__ import annotations

import re
import unicodedata

HOSTILE_TEXTS = {
    "title": "\x1b]0;owned\x07",
    "clear-screen": "\x1b[2J\x1b[H",
    "colour": "\x1b[31m",
    "hyperlink": "\x1b]8;;https://example.com\x1b\\click\x1b]8;;\x1b\\",
    "c1-csi": "\x9b2J",
    "c1-osc": "\x9d0;owned\x9c",
    "carriage-return": "\rfaked",
    "line-break": "\nerror: faked",
    "next-line": "\x85faked",
    "line-separator": "\u2028faked",
    "vertical-tab": "\x0bfaked",
    "bidi-override": "\u202efdp.exe",
    "bidi-isolate": "\u2066x",
    "bell-and-backspace": "\x07\x08\x7f",
    "zero-width": "\u200b\ufeff\u00ad",
    "tags": "\U000e0041",
    "nul": "\x00",
}
HOSTILE = "".join(HOSTILE_TEXTS.values()) + "[bold red][link=https://example.com]x[/]</script><b>"
"""All of them in one text, with markup."""
_OWN_SEQUENCES = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1A)|\r(?=\x1b\[(?:2K|1A|\?25)|\n)")
"""What colours a line, and what draws the live view in the place of the last one."""
_ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def find_acting_characters(text: str, *, allowed: str = "\n") -> list[str]:
    """Return the control characters of a text, except joiners of letters and `allowed`."""
    return [
        ascii(character)
        for character in text
        if unicodedata.category(character) in _ACTING and character not in allowed + "\u200c\u200d"
    ]


def without_styles(text: str) -> str:
    """Return a text without the sequences of colours and the live view."""
    return _OWN_SEQUENCES.sub("", text)
