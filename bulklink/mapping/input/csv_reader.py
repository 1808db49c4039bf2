"""CSV records exactly as written, with their lines; detection of the delimiter."""

from __future__ import annotations

import csv
import re
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn

from bulklink.errors import BadFileError
from bulklink.mapping.headers import simple
from bulklink.mapping.input.dialect import COMMON, Dialect, delimiter_of, is_delimiter, shown
from bulklink.mapping.input.encodings import UTF8, legible, may_be_cp1252, stray_bytes
from bulklink.mapping.input.scan import RECORD_BYTES
from bulklink.mapping.schema import KNOWN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.schema import Reading

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


COMMAS = Dialect()


class _EndlessRecordError(Exception):
    """Raised when a quoted cell goes on beyond the longest record."""


class _Feed:
    """Gives the csv module the lines of one record and remembers them.

    Blank lines between records are passed over; inside a quoted cell they are part of it.
    """

    __slots__ = ("_blank", "_bytes", "_lines", "bad", "cut", "ended", "first", "taken")

    def __init__(self, lines: Lines, blank: bytes) -> None:
        self._lines = iter(lines)
        self._blank = blank
        self.begin()

    def begin(self) -> None:
        """Start a record."""
        self.first = 0
        self.taken: list[bytes] = []
        self._bytes = 0
        self.bad = self.cut = self.ended = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._next_line()
        self.taken.append(line.content)
        self._bytes += len(line.content)
        if len(self.taken) > 1 and (line.cut or self._bytes > RECORD_BYTES):
            raise _EndlessRecordError
        if line.cut:
            self.cut = True
            return ""
        try:
            return line.content.decode("utf-8")
        except UnicodeDecodeError:
            self.bad = True
            return line.content.decode("utf-8", "replace")

    def _next_line(self) -> Line:
        for line in self._lines:
            if self.taken:
                return line
            if line.content.strip(self._blank):
                self.first = line.number
                return line
        self.ended = True
        raise StopIteration

    @property
    def raw(self) -> bytes:
        """The record as it stands in the file."""
        return b"".join(self.taken)


class CsvRecords:
    """The records of a CSV file: header first, then one after another.

    Args:
        lines: the physical lines of the file.
        dialect: how it is written.
    """

    __slots__ = ("_delimiter", "_feed", "_reader", "lines")

    def __init__(self, lines: Lines, dialect: Dialect = COMMAS) -> None:
        # The csv module has one limit for the whole process; ours is never above a record's.
        csv.field_size_limit(RECORD_BYTES + 1)
        self.lines = lines
        self._delimiter = dialect.delimiter
        if dialect.told:
            next(iter(lines), None)
        self._feed = _Feed(lines, dialect.blank)
        self._restart()

    def _restart(self) -> None:
        self._reader = csv.reader(self._feed, delimiter=self._delimiter, strict=True)

    def next(self) -> tuple[int, list[str] | Broken] | None:
        """Read one record.

        Returns:
            The number of its first physical line and its cells, or why it is broken; None at
            the end of the file.
        """
        feed = self._feed
        feed.begin()
        try:
            cells = next(self._reader)
        except StopIteration:
            return None
        except _EndlessRecordError:
            self._restart()
            return feed.first, _unclosed(feed)
        except csv.Error as error:
            if feed.ended:
                return feed.first, _unclosed(feed)
            if not feed.bad:
                return feed.first, _broken(feed, str(error))
        if feed.cut:
            return feed.first, too_long(feed.raw)
        if feed.bad:
            return feed.first, not_text(feed.raw, self.lines.encoding)
        return feed.first, cells

    def rest(self, cells: int) -> Iterator[tuple[int, list[str] | Broken]]:
        """Read all further records; each must have as many cells as the header.

        Nothing is read behind a quote that is never closed.
        """
        while (record := self.next()) is not None:
            line, found = record
            if not isinstance(found, Broken):
                if len(found) != cells:
                    raw = readable(self._feed.raw)
                    said = f"the record has {len(found)} cells, the header has {cells}"
                    yield line, Broken("broken-record", said, raw)
                    continue
            elif found.unclosed:
                yield record
                return
            yield record


def _unclosed(feed: _Feed) -> Broken:
    return Broken(
        "broken-record",
        "a quote opens here that is never closed: nothing behind it can be read",
        readable(feed.taken[0]),
        unclosed=True,
    )


def _broken(feed: _Feed, error: str) -> Broken:
    why = "text follows a closing quote" if "expected after" in error else error
    return Broken("broken-record", f"the record cannot be read: {why}", readable(feed.raw))


_TELLS = re.compile(rb'("?)sep=([^\r\n])\1\r?\n?', re.IGNORECASE)
_FIRST_LINE = 16
_FIRST_RECORDS = 20


class _Fit(NamedTuple):
    """How well a delimiter fits: headers it makes that are known, records as wide as the header."""

    known: int
    records: int


def dialect_of(path: Path, name: str, reading: Reading) -> Dialect:
    """Find out how a CSV file is written.

    Args:
        path: the file, as UTF-8.
        name: what the user calls it.
        reading: `delimiter` is taken for granted; the names of columns tell the header.

    Raises:
        BadFileError: if several delimiters fit equally well.
    """
    told = _told(path)
    if reading.delimiter is not None:
        return Dialect(delimiter_of(reading.delimiter), told is not None)
    return Dialect(told, told=True) if told else Dialect(_found(path, name, reading))


def _told(path: Path) -> str | None:
    with path.open("rb") as file:
        first = file.readline(_FIRST_LINE).removeprefix(BOM)
    tells = _TELLS.fullmatch(first)
    told = tells[2].decode("latin-1") if tells else ""
    return told if is_delimiter(told) else None


def _found(path: Path, name: str, reading: Reading) -> str:
    names = {simple(column) for column in KNOWN_COLUMNS}
    names |= {simple(header) for _, header in reading.columns}
    fits = {delimiter: _fit(path, delimiter, names) for delimiter in COMMON}
    best = max((fit for fit in fits.values() if fit), default=None)
    found = [delimiter for delimiter, fit in fits.items() if fit == best]
    if best is None:
        return ","
    if len(found) > 1:
        _refuse_ambiguous(name, found)
    return found[0]


def _fit(path: Path, delimiter: str, names: set[str]) -> _Fit | None:
    """Try one delimiter; None if it parts nothing in the header."""
    with path.open("rb") as file:
        records = CsvRecords(Lines(file), Dialect(delimiter))
        first = records.next()
        if first is None or isinstance(first[1], Broken) or len(first[1]) < 2:
            return None
        header = first[1]
        following = islice(records.rest(len(header)), _FIRST_RECORDS)
        whole = sum(not isinstance(found, Broken) for _, found in following)
        return _Fit(sum(simple(cell) in names for cell in header), whole)


def _refuse_ambiguous(name: str, found: list[str]) -> NoReturn:
    raise BadFileError(
        "It cannot be told what parts its cells: " + " or ".join(map(shown, found)) + ".",
        where=name,
        advice="Give " + " or ".join(f"--delimiter {shown(one)}" for one in found) + ".",
    )
