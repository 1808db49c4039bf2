"""Detection of a CSV file's dialect, and of the line that holds its headers."""

from __future__ import annotations

import codecs
import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import BrokenRecord, CsvRecords
from bulklink.mapping.input.dialect import (
    DETECTED_DELIMITERS,
    Dialect,
    dialect_options,
    format_delimiter,
    is_delimiter,
    parse_delimiter,
)
from bulklink.mapping.input.lines import LineReader
from bulklink.mapping.schema import KNOWN_COLUMNS, normalize_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bulklink.mapping.schema import MappingOptions

_SEP_LINE = re.compile(rb'("?)sep=([^\r\n])\1[\r\n]*', re.IGNORECASE)
_MAX_SEP_LINE_BYTES = 16
_FIRST_RECORDS = 20
#: Lines that are searched for headers if the first line has none.
_FIRST_LINES = 100
#: Known headers that make a line the header.
MIN_KNOWN_HEADERS = 2
_APOSTROPHE = "'"
_QUOTED_BY_APOSTROPHES = rb"'(?:[^']|'')*+'"


class _Fit(NamedTuple):
    """Fit of a delimiter: number of known headers, then of records as wide as the header."""

    known: int
    records: int


def detect_dialect(path: Path, name: str, options: MappingOptions) -> Dialect:
    """Detect the dialect of a CSV file from its header and first records.

    Args:
        path: the file, as UTF-8.
        name: the file as the user named it.
        options: options for reading the mapping; what they set is not detected.

    Raises:
        BadFileError: if several delimiters fit equally well.
        UsageError: if the options set an invalid dialect.
    """
    dialect = dialect_options(options)
    sep_delimiter = _read_sep_line(path)
    if sep_delimiter is not None:
        dialect = msgspec.structs.replace(dialect, has_sep_line=True)
    if options.delimiter is None:
        delimiter = sep_delimiter or _detect_delimiter(path, name, options)
        dialect = msgspec.structs.replace(dialect, delimiter=delimiter)
    if options.quote is None and _has_apostrophes(path, dialect):
        dialect = msgspec.structs.replace(dialect, quote=_APOSTROPHE)
    return dialect


def _read_sep_line(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(_MAX_SEP_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
    match = _SEP_LINE.match(start)
    delimiter = match[2].decode("latin-1") if match and match[0].endswith((b"\n", b"\r")) else ""
    return delimiter if is_delimiter(delimiter) else None


def _known_headers(options: MappingOptions) -> set[str]:
    names = {normalize_header(column) for column in KNOWN_COLUMNS}
    return names | {normalize_header(header) for _, header in options.columns}


def _count_known(cells: Iterable[str], names: set[str]) -> int:
    return len({name for cell in cells if (name := normalize_header(_unquoted(cell))) in names})


def _unquoted(cell: str) -> str:
    return cell.strip().strip("\"'")


def _detect_delimiter(path: Path, name: str, options: MappingOptions) -> str:
    names = _known_headers(options)
    dialect = dialect_options(options)
    fits = {
        delimiter: _fit(path, msgspec.structs.replace(dialect, delimiter=delimiter), names)
        for delimiter in DETECTED_DELIMITERS
        if delimiter not in (dialect.quote, dialect.escape)
    }
    best = max((fit for fit in fits.values() if fit), default=None)
    candidates = [delimiter for delimiter, fit in fits.items() if fit == best]
    if best is None:
        return ","
    if len(candidates) > 1:
        _refuse_ambiguous(name, candidates)
    return candidates[0]


def _fit(path: Path, dialect: Dialect, names: set[str]) -> _Fit | None:
    """Rate one delimiter; return None if it does not occur in the header."""
    with path.open("rb") as file:
        first_records = _first_records(LineReader(file), dialect)
        header = next(first_records, None)
        if header is None or isinstance(header, BrokenRecord) or len(header) < 2:
            return None
        whole_records = sum(
            not isinstance(cells, BrokenRecord) and len(cells) == len(header)
            for cells in first_records
        )
        return _Fit(_count_known(header, names), whole_records)


def _first_records(lines: LineReader, dialect: Dialect) -> Iterator[list[str] | BrokenRecord]:
    records = CsvRecords(lines, dialect)
    for _, cells in islice(iter(records.read_record, None), _FIRST_RECORDS + 1):
        yield cells


def _has_apostrophes(path: Path, dialect: Dialect) -> bool:
    """Return whether `'` is around every cell of the header, or of the first record."""
    cells = rb"(?:%b%b)+" % (re.escape(dialect.delimiter.encode()), _QUOTED_BY_APOSTROPHES)
    line_pattern = re.compile(_QUOTED_BY_APOSTROPHES + cells)
    with path.open("rb") as file:
        lines = LineReader(file)
        lines.skip(dialect.lines_before_header)
        first_lines = islice((line for line in lines if line.content.strip()), 2)
        return any(line_pattern.fullmatch(line.content.strip()) for line in first_lines)


def has_known_headers(path: Path, options: MappingOptions) -> bool:
    """Return whether the first line that is not skipped holds known headers."""
    return lines_above_headers(path, options, at_most=options.skip_lines) == options.skip_lines


def lines_above_headers(
    path: Path, options: MappingOptions, *, at_most: int = _FIRST_LINES
) -> int | None:
    """Return the number of lines above the first one with known headers; None if there is none.

    Args:
        path: the file, as UTF-8.
        options: options for reading the mapping; lines that they skip are not searched.
        at_most: maximum number of lines above the headers.
    """
    names = _known_headers(options)
    delimiter_option = options.delimiter
    delimiters = (
        DETECTED_DELIMITERS if delimiter_option is None else (parse_delimiter(delimiter_option),)
    )
    with path.open("rb") as file:
        lines = LineReader(file)
        lines.skip(options.skip_lines)
        for line in islice(lines, at_most + 1 - options.skip_lines):
            text = line.content.decode("utf-8", "replace")
            if any(
                _count_known(text.split(delimiter), names) >= MIN_KNOWN_HEADERS
                for delimiter in delimiters
            ):
                return line.number - 1
    return None


def _refuse_ambiguous(name: str, candidates: list[str]) -> NoReturn:
    raise BadFileError(
        f"Several delimiters fit: {' or '.join(map(format_delimiter, candidates))}.",
        where=name,
        advice=Advice(
            f"Use {' or '.join(['{}'] * len(candidates))}.",
            *(Keyword("delimiter", "tab" if c == "\t" else c) for c in candidates),
        ),
    )
