"""What both exact readers give: one record after another, broken ones too."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from bulklink.mapping.input.encodings import UTF8, legible, may_be_cp1252, stray_bytes
from bulklink.mapping.input.scan import RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
#: How much is kept of a record that is longer than a record may be.
KEPT_BYTES = 1000


class Broken(NamedTuple):
    """Why a record cannot be used; `unclosed` says that nothing behind it can be read either."""

    reason: str
    why: str
    raw: str
    unclosed: bool = False


class Line(NamedTuple):
    """A physical line that is not blank; `cut` says that it was longer than a record may be."""

    number: int
    content: bytes
    cut: bool


class Lines:
    """The physical lines of a file, from 1, each bounded in length.

    Args:
        file: the file, opened for bytes.
        encoding: what its text was in before it was recoded.
    """

    __slots__ = ("_file", "encoding", "number", "offset")

    def __init__(self, file: BinaryIO, encoding: str = UTF8) -> None:
        self._file = file
        self.encoding = encoding
        self.number = 0
        self.offset = 0

    def __iter__(self) -> Iterator[Line]:
        read = self._file.readline
        while content := read(RECORD_BYTES + 1):
            self.number += 1
            self.offset += len(content)
            cut = len(content) > RECORD_BYTES and not content.endswith(b"\n")
            if cut:
                self._skip_rest()
            if self.number == 1:
                content = content.removeprefix(BOM)
            yield Line(self.number, content, cut)

    def _skip_rest(self) -> None:
        while rest := self._file.readline(RECORD_BYTES):
            self.offset += len(rest)
            if rest.endswith(b"\n"):
                return


def readable(content: bytes) -> str:
    """Show a record as text, whatever its bytes are, without the end of its line."""
    return legible(content).removesuffix("\n").removesuffix("\r")


def too_long(content: bytes) -> Broken:
    """Refuse a record that is longer than a record may be."""
    return Broken(
        "broken-record",
        f"the record is longer than {RECORD_BYTES // 1024} KiB",
        readable(content[:KEPT_BYTES]),
    )


def not_text(content: bytes, encoding: str) -> Broken:
    """Refuse a record that is no text, and say which bytes are not."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        seen = stray_bytes(content, error.start).hex(" ")
        shown = "UTF-8" if encoding == UTF8 else encoding
        why = f"the record is not {shown} text (bytes {seen})"
        if encoding == UTF8 and may_be_cp1252(content):
            why += "; if the file is CP1252, give --encoding cp1252"
    else:
        why = "the record holds half a surrogate pair, which is not text"
    return Broken("bad-encoding", why, readable(content))
