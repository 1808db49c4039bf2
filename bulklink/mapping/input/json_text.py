"""Text of a JSON document, read piece by piece and split into values by brackets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from bulklink.errors import BadFileError
from bulklink.mapping.input.scan import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from bulklink.mapping.interrupt import PlanningStop

_BLOCK_BYTES = 1 << 20
_WHITE_SPACE = b" \t\r\n"
_SPACES = re.compile(rb"[ \t\r\n]*+")
#: Text without brackets, and whole strings.
_WITHIN = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
#: An object without others in it, within one block.
_FLAT_OBJECT = re.compile(rb'\{(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+\}', re.DOTALL)
_STRING_REST = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_LITERAL = re.compile(rb'[^ \t\r\n,:{}\[\]"]*+')
_QUOTE, _BACKSLASH = b'"', b"\\"
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")


class JsonValue(NamedTuple):
    """A value as written.

    Args:
        line: physical line on which it begins, from 1.
        content: its bytes; its beginning if it is longer than a record may be.
        truncated: whether it is longer.
    """

    line: int
    content: bytes
    truncated: bool


class JsonText:
    """Text of a JSON document, read block by block.

    Args:
        file: the document as UTF-8, at its beginning.
        name: the file as the user named it.
        line: physical line at which it begins.
        stop: stops the work; None if it is not stopped.

    Attributes:
        line: physical line that is read, from 1.
    """

    __slots__ = ("_block", "_file", "_name", "_place", "_stop", "line")

    def __init__(
        self, file: BinaryIO, name: str, line: int = 1, stop: PlanningStop | None = None
    ) -> None:
        self._file = file
        self._name = name
        self._stop = stop
        self._block = b""
        self._place = 0
        self.line = line

    def peek(self) -> bytes:
        """Skip white space and return the next byte; empty at the end."""
        while True:
            byte = self._block[self._place : self._place + 1]
            if byte and byte not in _WHITE_SPACE:
                return byte
            match = _SPACES.match(self._block, self._place)
            self._consume(match.end() if match else self._place)
            if self._place == len(self._block) and not self._read_on():
                return b""

    def take(self, byte: bytes) -> bool:
        """Skip white space and this byte; return False if another one follows."""
        if self.peek() != byte:
            return False
        self._place += 1
        return True

    def take_value(self) -> JsonValue:
        """Take the next value.

        Raises:
            BadFileError: if the document ends within it, or there is none.
        """
        first = self.peek()
        flat = _FLAT_OBJECT.match(self._block, self._place)
        if flat is not None and flat.end() - self._place <= MAX_RECORD_BYTES:
            return JsonValue(self.line, self._consume(flat.end()), truncated=False)
        value = _GrowingValue(self.line)
        if first == _QUOTE:
            self._take_byte(value)
            self._take_rest_of_string(value)
        elif first in _OPENING:
            self._take_nested(value)
        else:
            self._take_literal(value)
        if not value.size:
            raise self.error("a value is missing")
        return JsonValue(value.line, b"".join(value.pieces), value.size > MAX_RECORD_BYTES)

    def error(self, problem: str, line: int | None = None) -> BadFileError:
        """Build the error of a document that is not JSON.

        Args:
            problem: what is wrong.
            line: physical line; None for the one that is read.
        """
        return BadFileError(
            f"The file is not JSON: {problem}.",
            where=f"{self._name}, line {line or self.line}",
            advice="Write the file again with a JSON library, or fix that place.",
        )

    def _take_nested(self, value: _GrowingValue) -> None:
        depth = 0
        while True:
            self._take_match(_WITHIN, value)
            byte = self._take_byte(value)
            if byte == _QUOTE:
                self._take_rest_of_string(value)
            elif byte in _OPENING:
                depth += 1
            elif byte in _CLOSING:
                depth -= 1
                if not depth:
                    return

    def _take_rest_of_string(self, value: _GrowingValue) -> None:
        while True:
            self._take_match(_STRING_REST, value)
            byte = self._take_byte(value)
            if byte == _QUOTE:
                return
            if byte == _BACKSLASH:
                self._take_byte(value)

    def _take_literal(self, value: _GrowingValue) -> None:
        while True:
            self._take_match(_LITERAL, value)
            if self._place < len(self._block) or not self._read_on():
                return

    def _take_match(self, pattern: re.Pattern[bytes], value: _GrowingValue) -> None:
        match = pattern.match(self._block, self._place)
        value.add(self._consume(match.end() if match else self._place))

    def _take_byte(self, value: _GrowingValue) -> bytes:
        if self._place == len(self._block) and not self._read_on():
            raise self.error(
                "the value that begins here does not end; the file is cut off, or a bracket or"
                " quote is missing",
                value.line,
            )
        byte = self._consume(self._place + 1)
        value.add(byte)
        return byte

    def _consume(self, end: int) -> bytes:
        piece = self._block[self._place : end]
        self._place = end
        self.line += piece.count(b"\n")
        if b"\r" in piece:
            self.line += piece.count(b"\r") - piece.count(b"\r\n")
        return piece

    def _read_on(self) -> bool:
        """Read the next block; a CR at its end may be half a line end."""
        block = self._file.read(_BLOCK_BYTES)
        while block.endswith(b"\r") and (byte := self._file.read(1)):
            block += byte
        self._block, self._place = block, 0
        if self._stop is not None:
            self._stop.check()
            self._stop.report_position(self._file.tell())
        return bool(block)


class _GrowingValue:
    """A value that is being read; only the beginning of an overlong one is kept."""

    __slots__ = ("line", "pieces", "size")

    def __init__(self, line: int) -> None:
        self.line = line
        self.size = 0
        self.pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        if piece and self.size <= MAX_RECORD_BYTES:
            self.pieces.append(piece)
        self.size += len(piece)
