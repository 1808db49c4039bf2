"""Physical lines of a text file, with any kind of line end."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from bulklink.mapping.input.encodings import UTF8
from bulklink.mapping.input.scan import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_ENDS = (b"\n", b"\r")


class PhysicalLine(NamedTuple):
    """A physical line of a file.

    Args:
        number: its number, from 1.
        content: its bytes, with the line end.
        truncated: whether it was cut, because it is longer than a record may be.
    """

    number: int
    content: bytes
    truncated: bool


class LineReader:
    """Physical lines of a file, numbered from 1, bounded in length; LF, CR LF or CR ends a line.

    Args:
        file: the file, opened in binary mode.
        encoding: encoding of its text before it was recoded.

    Attributes:
        number: number of the last line.
        offset: bytes up to its end.
    """

    __slots__ = ("_file", "_lines", "encoding", "number", "offset")

    def __init__(self, file: BinaryIO, encoding: str = UTF8) -> None:
        self._file = file
        self._lines = self._read_lines()
        self.encoding = encoding
        self.number = 0
        self.offset = 0

    def __iter__(self) -> Iterator[PhysicalLine]:
        return self._lines

    def skip(self, count: int) -> None:
        """Skip the next lines."""
        for _ in range(count):
            next(self._lines, None)

    def _read_lines(self) -> Iterator[PhysicalLine]:
        for content in self._split():
            self.number += 1
            self.offset += len(content)
            truncated = len(content) > MAX_RECORD_BYTES and not content.endswith(_LINE_ENDS)
            text = content.removeprefix(codecs.BOM_UTF8) if self.number == 1 else content
            yield PhysicalLine(self.number, text, truncated)

    def _split(self) -> Iterator[bytes]:
        """Yield whole lines, and the beginning of an overlong line."""
        partial_line = b""
        while content := self._file.readline(MAX_RECORD_BYTES + 1):
            if not partial_line and content.endswith(b"\n") and content.find(b"\r", 0, -2) < 0:
                yield content
                continue
            *lines, partial_line = (partial_line + content).splitlines(keepends=True)
            if partial_line.endswith(b"\n"):
                lines.append(partial_line)
                partial_line = b""
            yield from lines
            # A CR at the end may be half a CR LF.
            if len(partial_line) > MAX_RECORD_BYTES and not partial_line.endswith(b"\r"):
                yield partial_line
                partial_line = self._skip_rest()
        if partial_line:
            yield partial_line

    def _skip_rest(self) -> bytes:
        """Drop the rest of a line; return what was read of the next ones."""
        while chunk := self._file.readline(MAX_RECORD_BYTES):
            rest, *following = chunk.splitlines(keepends=True)
            self.offset += len(rest)
            if rest.endswith(_LINE_ENDS):
                return b"".join(following) or self._skip_line_feed(rest)
        return b""

    def _skip_line_feed(self, line: bytes) -> bytes:
        """Drop the second half of a CR LF, if only its CR was read; return what else was read."""
        byte = self._file.readline(1) if line.endswith(b"\r") else b""
        self.offset += byte == b"\n"
        return byte.removeprefix(b"\n")
