"""Streaming parser of one large JSON object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TextIO

import msgspec

_CHUNK_CHARACTERS = 1 << 18
_MAX_VALUE_CHARACTERS = 1 << 22
_WHITESPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class BrokenJsonError(ValueError):
    """Raised when a text is not a single JSON object; the message names the line."""


class JsonMember(msgspec.Struct, frozen=True):
    """A member of the object or, if the member is a list, one item of it.

    Args:
        key: the member's name.
        index: position in the list, counted from 0; None if the member is not a list.
        value: the decoded value.
    """

    key: str
    index: int | None
    value: object


def iter_members(source: TextIO) -> Iterator[JsonMember]:
    """Yield the members of the JSON object in `source`, list items one by one.

    Raises:
        BrokenJsonError: if the text is not a single JSON object.
    """
    reader = _Reader(source)
    reader.expect("{")
    if reader.peek() != "}":
        yield from _read_members(reader)
    reader.expect("}")
    if reader.peek():
        raise reader.syntax_error("there is text after the end of the object")


def _read_members(reader: _Reader) -> Iterator[JsonMember]:
    while True:
        key = reader.read_value()
        if not isinstance(key, str):
            raise reader.syntax_error("expected a name in double quotes")
        reader.expect(":")
        if reader.peek() == "[":
            yield from _read_list_items(reader, key)
        else:
            yield JsonMember(key, None, reader.read_value())
        if reader.peek() != ",":
            return
        reader.expect(",")


def _read_list_items(reader: _Reader, key: str) -> Iterator[JsonMember]:
    reader.expect("[")
    index = 0
    while reader.peek() != "]":
        if index:
            reader.expect(",")
        yield JsonMember(key, index, reader.read_value())
        index += 1
    reader.expect("]")


class _Reader:
    """Reader of JSON text, a chunk at a time."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self._text = ""
        self._position = 0
        self._first_line_number = 1

    def syntax_error(self, message: str) -> BrokenJsonError:
        line = self._first_line_number + self._text.count("\n", 0, self._position)
        return BrokenJsonError(f"line {line}: {message}")

    def peek(self) -> str:
        """Return the next character that is not white space, or "" at the end of the text."""
        while True:
            whitespace = _WHITESPACE.match(self._text, self._position)
            self._position = whitespace.end() if whitespace else self._position
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_chunk():
                return ""

    def expect(self, expected: str) -> None:
        if self.peek() != expected:
            raise self.syntax_error(f"expected {expected!r}")
        self._position += 1

    def read_value(self) -> object:
        """Decode one value, reading on if it may continue in the next chunk."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if (
                    len(self._text) - self._position > _MAX_VALUE_CHARACTERS
                    or not self._read_chunk()
                ):
                    raise self.syntax_error(error.msg) from None
                continue
            if end == len(self._text) and self._read_chunk():
                continue
            self._position = end
            return value

    def _read_chunk(self) -> bool:
        chunk = self._source.read(_CHUNK_CHARACTERS)
        if chunk:
            self._first_line_number += self._text.count("\n", 0, self._position)
            self._text = self._text[self._position :] + chunk
            self._position = 0
        return bool(chunk)
