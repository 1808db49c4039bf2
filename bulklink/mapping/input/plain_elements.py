"""Fast path for the elements that make up nearly all of a sheet.

Most of a sheet consists of cells with only a value, and an XML parser calls its handler six times
for each. Before parsing, one regular expression turns such cells of a whole block into text of
their row, from which the handler reads them. Every other cell, such as one with a character
reference or one that a block cuts in two, is left to the parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Private-use characters; the elements that become text cannot contain them, as the patterns match
#: no character from U+F000 on.
ELEMENT, FIELD_END = "\uf8fe", "\uf8ff"
_TEXT = rb"([^<&\xef]*)"
_START_OF_TEXT = rb'<t(?: xml:space="preserve")?>'
_CELL = re.compile(
    rb'<c r="([A-Z]{1,3})[0-9]{1,7}"(?: s="([0-9]{1,6})")?(?: t="([a-zA-Z]{1,9})")?>'
    rb"(?:<v>" + _TEXT + rb"</v>|<is>" + _START_OF_TEXT + _TEXT + rb"</t></is>)</c>"
)
_STRING = re.compile(rb"<si>" + _START_OF_TEXT + _TEXT + rb"</t></si>")
_MARKS = ELEMENT.encode(), FIELD_END.encode()
_NAMESPACE = re.compile(
    rb'<(?:worksheet|sst)[^<>]* xmlns="http://(?:schemas\.openxmlformats|purl\.oclc)\.org/'
)
_OTHER_ENCODING = re.compile(rb"""<\?xml[^<>]* encoding=["'](?!utf-8["'])""", re.IGNORECASE)
_CDATA = b"<!["


def shorten_cells(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the plain cells of a worksheet into texts: column, style, type, value, inline text."""
    return _shorten(blocks, _CELL)


def shorten_strings(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Turn the plain strings of the part of shared strings into texts."""
    return _shorten(blocks, _STRING)


def _shorten(blocks: Iterable[bytes], pattern: re.Pattern[bytes]) -> Iterator[bytes]:
    is_plain: bool | None = None
    last_bytes = b""
    for block in blocks:
        if is_plain is None:
            is_plain = bool(_NAMESPACE.search(block)) and not _OTHER_ENCODING.search(block)
        # In CDATA an element is text.
        is_plain = is_plain and _CDATA not in last_bytes + block
        last_bytes = block[-len(_CDATA) :]
        yield _replace(pattern, block) if is_plain else block


def _replace(pattern: re.Pattern[bytes], block: bytes) -> bytes:
    """Replace each match by its groups: a mark, then each group followed by a mark."""
    pieces = pattern.split(block)  # faster than `sub`, which expands its template in Python
    marked = [_MARKS[1]] * (2 * len(pieces) - 1)
    marked[::2] = [piece or b"" for piece in pieces]
    marked[1 :: 2 * (pattern.groups + 1)] = [_MARKS[0]] * (len(pieces) // (pattern.groups + 1))
    return b"".join(marked)


def split_elements(text: str) -> Iterator[list[str]]:
    """Yield the fields of each element that became text, and the text after it."""
    for element in text.split(ELEMENT)[1:]:
        yield element.split(FIELD_END)
