"""Exact CSV reader: records as written, with their lines; detection of the delimiter."""

from __future__ import annotations

import csv
import re
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn

from bulklink.errors import BadFileError
from bulklink.mapping.faults import BAD_ENCODING, BROKEN_RECORD
from bulklink.mapping.input.dialect import (
    DETECTED_DELIMITERS,
    Dialect,
    format_delimiter,
    is_delimiter,
    parse_delimiter,
)
from bulklink.mapping.input.encodings import UTF8, decode_lossy, invalid_bytes, may_be_cp1252
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.schema import KNOWN_COLUMNS, normalize_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.schema import MappingOptions

BOM = b"\xef\xbb\xbf"
#: Bytes that are kept of a record that is too long.
MAX_RAW_BYTES = 1000


class BrokenRecord(NamedTuple):
    """A record that cannot be used.

    Args:
        reason: fault code.
        message: the problem in words.
        raw: the record as in the file.
        unclosed_quote: whether a quote is never closed, so that nothing after it can be read.
    """

    reason: str
    message: str
    raw: str
    unclosed_quote: bool = False


class PhysicalLine(NamedTuple):
    """A physical line of a file.

    Args:
        number: its number, from 1.
        content: its bytes, with the line end.
        truncated: whether it is longer than a record may be, and cut.
    """

    number: int
    content: bytes
    truncated: bool


class LineReader:
    """Physical lines of a file, numbered from 1, bounded in length.

    Args:
        file: the file, opened in binary mode.
        encoding: encoding of its text before it was recoded.
    """

    __slots__ = ("_file", "encoding", "number", "offset")

    def __init__(self, file: BinaryIO, encoding: str = UTF8) -> None:
        self._file = file
        self.encoding = encoding
        self.number = 0
        self.offset = 0

    def __iter__(self) -> Iterator[PhysicalLine]:
        read = self._file.readline
        while content := read(MAX_RECORD_BYTES + 1):
            self.number += 1
            self.offset += len(content)
            truncated = len(content) > MAX_RECORD_BYTES and not content.endswith(b"\n")
            if truncated:
                self._skip_rest()
            if self.number == 1:
                content = content.removeprefix(BOM)
            yield PhysicalLine(self.number, content, truncated)

    def _skip_rest(self) -> None:
        while chunk := self._file.readline(MAX_RECORD_BYTES):
            self.offset += len(chunk)
            if chunk.endswith(b"\n"):
                return


def record_text(content: bytes) -> str:
    """Decode a record for display, without its line end."""
    return decode_lossy(content).removesuffix("\n").removesuffix("\r")


def record_too_long(content: bytes) -> BrokenRecord:
    """Build the fault of a record that is longer than a record may be."""
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
            message += "; if the file is CP1252, give --encoding cp1252"
    else:
        message = "the record holds half a surrogate pair, which is not text"
    return BrokenRecord(BAD_ENCODING, message, record_text(content))


DEFAULT_DIALECT = Dialect()


class _RecordTooLongError(Exception):
    """Raised when a quoted cell goes on beyond the longest record."""


class _RecordLines:
    """Feed the csv module the lines of one record and keep them.

    Blank lines between records are skipped; inside a quoted cell they are part of it.
    """

    __slots__ = (
        "_blank",
        "_bytes",
        "_lines",
        "at_end",
        "first_line",
        "invalid_utf8",
        "record_lines",
        "truncated",
    )

    def __init__(self, lines: LineReader, blank: bytes) -> None:
        self._lines = iter(lines)
        self._blank = blank
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
            return line.content.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            return line.content.decode("utf-8", "replace")

    def _next_line(self) -> PhysicalLine:
        for line in self._lines:
            if self.record_lines:
                return line
            if line.content.strip(self._blank):
                self.first_line = line.number
                return line
        self.at_end = True
        raise StopIteration

    @property
    def raw(self) -> bytes:
        """The record as in the file."""
        return b"".join(self.record_lines)


class CsvRecords:
    """Records of a CSV file, the header first.

    Args:
        lines: physical lines of the file.
        dialect: delimiter of the file.
    """

    __slots__ = ("_delimiter", "_reader", "_record_lines", "lines")

    def __init__(self, lines: LineReader, dialect: Dialect = DEFAULT_DIALECT) -> None:
        # The csv module has one limit for the whole process.
        csv.field_size_limit(MAX_RECORD_BYTES + 1)
        self.lines = lines
        self._delimiter = dialect.delimiter
        if dialect.has_sep_line:
            next(iter(lines), None)
        self._record_lines = _RecordLines(lines, dialect.blank_bytes)
        self._restart()

    def _restart(self) -> None:
        self._reader = csv.reader(self._record_lines, delimiter=self._delimiter, strict=True)

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
            return record_lines.first_line, _unclosed_quote(record_lines)
        except csv.Error as error:
            if record_lines.at_end:
                return record_lines.first_line, _unclosed_quote(record_lines)
            if not record_lines.invalid_utf8:
                return record_lines.first_line, _broken(record_lines, str(error))
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
            message = f"the record has {len(cells)} cells, the header has {cell_count}"
            return BrokenRecord(BROKEN_RECORD, message, record_text(raw))
        return cells[:cell_count] + [""] * (cell_count - len(cells))


def _only_nul(raw: bytes) -> BrokenRecord:
    message = (
        f"there are {raw.count(0):,} NUL bytes and nothing else: the file was not written to its"
        " end, or not copied whole; export it again, or delete them"
    )
    return BrokenRecord(BROKEN_RECORD, message, "")


def _unclosed_quote(record_lines: _RecordLines) -> BrokenRecord:
    return BrokenRecord(
        BROKEN_RECORD,
        "a quote opens here that is never closed: nothing behind it can be read",
        record_text(record_lines.record_lines[0]),
        unclosed_quote=True,
    )


def _broken(record_lines: _RecordLines, error: str) -> BrokenRecord:
    detail = "a line ends in the middle of a cell"
    if "expected after" in error:
        detail = "text follows a closing quote"
    return BrokenRecord(
        BROKEN_RECORD, f"the record cannot be read: {detail}", record_text(record_lines.raw)
    )


_SEP_LINE = re.compile(rb'("?)sep=([^\r\n])\1\r?\n?', re.IGNORECASE)
_MAX_SEP_LINE_BYTES = 16
_FIRST_RECORDS = 20


class _Fit(NamedTuple):
    """How well a delimiter fits: known headers, then records as wide as the header."""

    known: int
    records: int


def detect_dialect(path: Path, name: str, options: MappingOptions) -> Dialect:
    """Detect the delimiter of a CSV file from its header and first records.

    Args:
        path: the file, as UTF-8.
        name: the file as the user named it.
        options: options for reading the mapping; a given `delimiter` is not detected.

    Raises:
        BadFileError: if several delimiters fit equally well.
    """
    sep_delimiter = _read_sep_line(path)
    if options.delimiter is not None:
        return Dialect(parse_delimiter(options.delimiter), sep_delimiter is not None)
    return (
        Dialect(sep_delimiter, has_sep_line=True)
        if sep_delimiter
        else Dialect(_detect_delimiter(path, name, options))
    )


def _read_sep_line(path: Path) -> str | None:
    with path.open("rb") as file:
        first_line = file.readline(_MAX_SEP_LINE_BYTES).removeprefix(BOM)
    match = _SEP_LINE.fullmatch(first_line)
    delimiter = match[2].decode("latin-1") if match else ""
    return delimiter if is_delimiter(delimiter) else None


def _detect_delimiter(path: Path, name: str, options: MappingOptions) -> str:
    names = {normalize_header(column) for column in KNOWN_COLUMNS}
    names |= {normalize_header(header) for _, header in options.columns}
    fits = {delimiter: _fit(path, delimiter, names) for delimiter in DETECTED_DELIMITERS}
    best = max((fit for fit in fits.values() if fit), default=None)
    candidates = [delimiter for delimiter, fit in fits.items() if fit == best]
    if best is None:
        return ","
    if len(candidates) > 1:
        _refuse_ambiguous(name, candidates)
    return candidates[0]


def _fit(path: Path, delimiter: str, names: set[str]) -> _Fit | None:
    """Try one delimiter; None if it does not occur in the header."""
    with path.open("rb") as file:
        records = CsvRecords(LineReader(file), Dialect(delimiter))
        header_record = records.read_record()
        if (
            header_record is None
            or isinstance(header_record[1], BrokenRecord)
            or len(header_record[1]) < 2
        ):
            return None
        header = header_record[1]
        following = islice(iter(records.read_record, None), _FIRST_RECORDS)
        whole_records = sum(
            not isinstance(cells, BrokenRecord) and len(cells) == len(header)
            for _, cells in following
        )
        return _Fit(sum(normalize_header(cell) in names for cell in header), whole_records)


def _refuse_ambiguous(name: str, candidates: list[str]) -> NoReturn:
    raise BadFileError(
        "It cannot be told what parts its cells: "
        + " or ".join(map(format_delimiter, candidates))
        + ".",
        where=name,
        advice="Give "
        + " or ".join(f"--delimiter {format_delimiter(delimiter)}" for delimiter in candidates)
        + ".",
    )
