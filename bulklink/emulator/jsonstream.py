"""Reads one large JSON object piece by piece, so that a million emails need no second copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TextIO

import msgspec

_CHUNK = 1 << 18
_LONGEST_PIECE = 1 << 22
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class BrokenJsonError(ValueError):
    """Raised when the text is not the JSON object it should be; says the line."""


class Piece(msgspec.Struct, frozen=True):
    """A member of the object; of a list, one item.

    Args:
        key: the member's name.
        index: the place in the list, from 0; None where the member is no list.
        value: the value, decoded.
    """

    key: str
    index: int | None
    value: object


def pieces(source: TextIO) -> Iterator[Piece]:
    """Yield the members of the JSON object in `source`, lists item by item.

    Raises:
        BrokenJsonError: where the text is not one JSON object.
    """
    reader = _Reader(source)
    reader.take("{")
    if reader.peek() != "}":
        yield from _members(reader)
    reader.take("}")
    if reader.peek():
        raise reader.broken("there is text after the end of the object")


def _members(reader: _Reader) -> Iterator[Piece]:
    while True:
        key = reader.value()
        if not isinstance(key, str):
            raise reader.broken("a name in double quotes was expected")
        reader.take(":")
        if reader.peek() == "[":
            yield from _items(reader, key)
        else:
            yield Piece(key, None, reader.value())
        if reader.peek() != ",":
            return
        reader.take(",")


def _items(reader: _Reader, key: str) -> Iterator[Piece]:
    reader.take("[")
    index = 0
    while reader.peek() != "]":
        if index:
            reader.take(",")
        yield Piece(key, index, reader.value())
        index += 1
    reader.take("]")


class _Reader:
    """The text not yet decoded, a chunk at a time."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._text = ""
        self._at = 0
        self._lines_before = 1

    def broken(self, why: str) -> BrokenJsonError:
        line = self._lines_before + self._text.count("\n", 0, self._at)
        return BrokenJsonError(f"line {line}: {why}")

    def peek(self) -> str:
        """Return the next character that is no white space, or nothing at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise self.broken(f"{wanted!r} was expected")
        self._at += 1

    def value(self) -> object:
        """Decode one value; a value that ends where the chunk ends may go on in the next."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _LONGEST_PIECE or not self._more():
                    raise self.broken(error.msg) from None
                continue
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        chunk = self._source.read(_CHUNK)
        if chunk:
            self._lines_before += self._text.count("\n", 0, self._at)
            self._text = self._text[self._at :] + chunk
            self._at = 0
        return bool(chunk)
