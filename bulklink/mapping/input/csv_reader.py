"""The exact CSV reader: every record with its true line, broken ones as records of their own."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from bulklink.mapping.input.dialect import Dialect
from bulklink.mapping.input.records import Broken, Line, Lines, not_text, readable, too_long
from bulklink.mapping.input.scan import RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

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
