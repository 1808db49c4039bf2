"""Invisible characters at the ends of a header or a cell.

Spreadsheets, web pages and editors leave them: white space of any width, zero-width characters,
writing direction marks, soft hyphens, byte order marks.
"""

from __future__ import annotations

_RANGES = (
    *((0x09, 0x0D), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0xAD, 0xAD), (0x034F, 0x034F)),
    *((0x061C, 0x061C), (0x115F, 0x1160), (0x1680, 0x1680), (0x180B, 0x180E), (0x2000, 0x200F)),
    *((0x2028, 0x202F), (0x205F, 0x206F), (0x2800, 0x2800), (0x3000, 0x3000), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF9, 0xFFFB)),
)
IGNORABLE = "".join(chr(code) for first, last in _RANGES for code in range(first, last + 1))
_WITHOUT = dict.fromkeys(map(ord, IGNORABLE))


def strip_ignorable(text: str) -> str:
    """Return a text without ignorable characters at its ends."""
    return text.strip(IGNORABLE)


def remove_ignorable(text: str) -> str:
    """Return a text without any ignorable characters, including spaces."""
    return text.translate(_WITHOUT)
