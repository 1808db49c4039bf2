"""Exact CSV reader: records as written, with their lines."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, NamedTuple

from bulklink.counts import count_of
from bulklink.mapping.faults import BAD_ENCODING, BROKEN_RECORD, USE_APOSTROPHE_QUOTE
from bulklink.mapping.input.dialect import Dialect
from bulklink.mapping.input.encodings import UTF8, decode_lossy, invalid_bytes, may_be_cp1252
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.shell import format_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulklink.mapping.input.lines import LineReader, PhysicalLine

#: Bytes that are kept of an overlong record.
MAX_RAW_BYTES = 1000


class BrokenRecord(NamedTuple):
    """A record that cannot be used.

    Args:
        reason: fault code.
        message: the problem in words.
        raw: the record as in the file.
        unclosed_quote: whether a quote is never closed; nothing after it can be read.
    """

    reason: str
    message: str
    raw: str
    unclosed_quote: bool = False


def record_text(content: bytes) -> str:
    """Decode a record for display, without its line end."""
    return decode_lossy(content).removesuffix("\n").removesuffix("\r")


def record_too_long(content: bytes) -> BrokenRecord:
    """Build the fault of an overlong record."""
    return BrokenRecord(
        BROKEN_RECORD,
        f"the record is longer than {MAX_RECORD_BYTES // 1024} KiB",
        record_text(content[:MAX_RAW_BYTES]),
    )


def record_not_text(content: bytes, encoding: str) -> BrokenRecord:
    """Build the fault of a record that is not text, with its invalid bytes."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        bad_bytes = invalid_bytes(content, error.start).hex(" ")
        encoding_name = "UTF-8" if encoding == UTF8 else encoding
        message = f"the record is not {encoding_name} text (bytes {bad_bytes})"
        if encoding == UTF8 and may_be_cp1252(content):
            message += "; if the file is CP1252, use --encoding cp1252"
    else:
        message = "the record holds half a surrogate pair, which is not text"
    return BrokenRecord(BAD_ENCODING, message, record_text(content))


DEFAULT_DIALECT = Dialect()


class _RecordTooLongError(Exception):
    """Raised when a quoted cell exceeds the maximum size of a record."""


class _RecordLines:
    """Feeds the csv module the lines of one record, and keeps them.

    Blank lines between records, and lines of empty cells, are skipped; inside a quoted cell they
    are part of it.
    """

    __slots__ = (
        "_blank",
        "_bytes",
        "_dialect",
        "_lines",
        "_padding",
        "at_end",
        "first_line",
        "invalid_utf8",
        "record_lines",
        "truncated",
    )

    def __init__(self, lines: LineReader, dialect: Dialect) -> None:
        self._lines = iter(lines)
        self._dialect = dialect
        self._blank = dialect.blank_bytes
        self._padding = _Padding(dialect) if dialect.quote else None
        self.start_record()

    def start_record(self) -> None:
        """Start a record."""
        self.first_line = 0
        self.record_lines: list[bytes] = []
        self._bytes = 0
        self.invalid_utf8 = self.truncated = self.at_end = False

    def __iter__(self) -> _RecordLines:
        return self

    def __next__(self) -> str:
        line = self._next_line()
        self.record_lines.append(line.content)
        self._bytes += len(line.content)
        if len(self.record_lines) > 1 and (line.truncated or self._bytes > MAX_RECORD_BYTES):
            raise _RecordTooLongError
        if line.truncated:
            self.truncated = True
            return ""
        try:
            text = line.content.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            text = line.content.decode("utf-8", "replace")
        if self._padding is None or len(self.record_lines) > 1:
            return text
        return self._padding.remove(text)

    def _next_line(self) -> PhysicalLine:
        for line in self._lines:
            if self.record_lines:
                return line
            if line.content.strip(self._blank) or not self._dialect.is_blank(line.content):
                self.first_line = line.number
                return line
        self.at_end = True
        raise StopIteration

    @property
    def raw(self) -> bytes:
        """The record as in the file."""
        return b"".join(self.record_lines)


class _Padding:
    """Removes the spaces between delimiters and quotes, as in `1, "a, b" ,2`.

    A line is changed only if each cell either is quoted completely within the line or does not
    begin with a quote: then there is only one way to read it.
    """

    __slots__ = ("_line", "_marks", "_quoted_cell")

    def __init__(self, dialect: Dialect) -> None:
        delimiter, quote = re.escape(dialect.delimiter), re.escape(dialect.quote or "")
        escape = re.escape(dialect.escape or "")
        spaces = "[ \t]*+" if dialect.delimiter != "\t" else " *+"
        escaped = f"|{escape}." if escape else ""
        quoted = f"{quote}(?:[^{quote}{escape}]|{quote}{quote}{escaped})*+{quote}"
        end = rf"(?={delimiter}|[\r\n]*\Z)"
        unquoted = rf"(?!{spaces}{quote})[^{delimiter}\r\n]*+"
        cell = f"(?:{spaces}{quoted}{spaces}{end}|{unquoted})"
        self._marks = (f" {dialect.quote}", f"{dialect.quote} ")
        self._line = re.compile(rf"{cell}(?:{delimiter}{cell})*+[\r\n]*")
        self._quoted_cell = re.compile(f"(^|{delimiter}){spaces}({quoted}){spaces}{end}")

    def remove(self, line: str) -> str:
        """Return a line without the spaces."""
        if any(mark in line for mark in self._marks) and self._line.fullmatch(line):
            return self._quoted_cell.sub(r"\1\2", line)
        return line


class CsvRecords:
    """Records of a CSV file, the header first.

    Args:
        lines: physical lines of the file.
        dialect: dialect of the file.
    """

    __slots__ = ("_dialect", "_reader", "_record_lines", "lines")

    def __init__(self, lines: LineReader, dialect: Dialect = DEFAULT_DIALECT) -> None:
        # The csv module has one limit for the whole process.
        csv.field_size_limit(MAX_RECORD_BYTES + 1)
        self.lines = lines
        self._dialect = dialect
        lines.skip(dialect.lines_before_header)
        self._record_lines = _RecordLines(lines, dialect)
        self._restart()

    def _restart(self) -> None:
        dialect = self._dialect
        self._reader = csv.reader(
            self._record_lines,
            delimiter=dialect.delimiter,
            quotechar=dialect.quote,
            quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
            escapechar=dialect.escape,
            strict=True,
        )

    def read_record(self) -> tuple[int, list[str] | BrokenRecord] | None:
        """Read one record.

        Returns:
            The number of its first physical line, and its cells or its fault; None at the end of
            the file.
        """
        record_lines = self._record_lines
        record_lines.start_record()
        try:
            cells = next(self._reader)
        except StopIteration:
            return None
        except _RecordTooLongError:
            self._restart()
            return record_lines.first_line, self._unclosed_quote()
        except csv.Error:
            if record_lines.at_end:
                return record_lines.first_line, self._unclosed_quote()
            if not record_lines.invalid_utf8:
                return record_lines.first_line, self._text_after_quote()
        if record_lines.truncated:
            return record_lines.first_line, record_too_long(record_lines.raw)
        if record_lines.invalid_utf8:
            return record_lines.first_line, record_not_text(record_lines.raw, self.lines.encoding)
        return record_lines.first_line, cells

    def read_remaining(self, cell_count: int) -> Iterator[tuple[int, list[str] | BrokenRecord]]:
        """Read the remaining records, up to a quote that is never closed.

        Spreadsheets leave out the last cells of a record if they are empty; others write more.

        Args:
            cell_count: cells of the header; a record with more is broken unless they are empty.

        Yields:
            The number of the first physical line of a record, and its cells or its fault.
        """
        while (record := self.read_record()) is not None:
            line, content = record
            if isinstance(content, BrokenRecord):
                yield record
                if content.unclosed_quote:
                    return
            else:
                yield line, self._fit_header(content, cell_count)

    def _fit_header(self, cells: list[str], cell_count: int) -> list[str] | BrokenRecord:
        if len(cells) == cell_count:
            return cells
        raw = self._record_lines.raw
        if not raw.strip(b"\0\r\n"):
            return _only_nul(raw)
        if any(cell.strip() for cell in cells[cell_count:]):
            message = f"the record has {count_of(len(cells), 'cell')}, the header has {cell_count}"
            if any(cell.startswith("'") for cell in cells):
                message += f"; {USE_APOSTROPHE_QUOTE}"
            return BrokenRecord(BROKEN_RECORD, message, record_text(raw))
        return cells[:cell_count] + [""] * (cell_count - len(cells))

    def _unclosed_quote(self) -> BrokenRecord:
        first_line = self._record_lines.record_lines[0]
        return BrokenRecord(
            BROKEN_RECORD,
            "a quote opens here and is never closed: nothing after it can be read"
            + self._quoting_advice(first_line),
            record_text(first_line),
            unclosed_quote=True,
        )

    def _text_after_quote(self) -> BrokenRecord:
        raw = self._record_lines.raw
        message = "the record cannot be read: text follows a closing quote"
        return BrokenRecord(BROKEN_RECORD, message + self._quoting_advice(raw), record_text(raw))

    def _quoting_advice(self, raw: bytes) -> str:
        quote = (self._dialect.quote or "").encode()
        if b"\\" + quote in raw and not self._dialect.escape:
            option = format_command("--escape", "\\")
            return f"; if a backslash escapes quotes in this file, use {option}"
        return "; if quotes are ordinary characters in this file, use --quote none"


def _only_nul(raw: bytes) -> BrokenRecord:
    message = (
        f"the record is {raw.count(0):,} NUL bytes: the file was not written or copied completely;"
        " export it again, or delete them"
    )
    return BrokenRecord(BROKEN_RECORD, message, "")
