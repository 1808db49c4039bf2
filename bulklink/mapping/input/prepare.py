"""What is done to each input before DuckDB reads it: hash it, read its header, choose the way."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.atomic_files import fresh, unwritable
from bulklink.errors import BadFileError
from bulklink.mapping.headers import Headers
from bulklink.mapping.input.csv_reader import COMMAS, Broken, CsvRecords, Lines, dialect_of
from bulklink.mapping.input.dialect import Dialect
from bulklink.mapping.input.encodings import UTF8
from bulklink.mapping.input.files import Content, Format, Source, content_of, unreadable
from bulklink.mapping.input.scan import Survey, survey
from bulklink.mapping.input.staging import Opening, stage_csv, stage_jsonl, stage_sheet
from bulklink.mapping.load import Feed
from bulklink.mapping.schema import InputFile, Reading
from bulklink.spreadsheet_cells import is_disarmed, rearmed

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.interrupt import Stop

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)


READING = "Reading the mapping"
READING_ROWS = "Reading its rows one by one"


class Prepared(msgspec.Struct, frozen=True):
    """One input, ready to be read into the table.

    `first_column` is where the rows of a sheet begin, from 0; None where it is no sheet.
    """

    content: Content
    input: InputFile
    headers: Headers
    feed: Feed
    dialect: Dialect = COMMAS
    unclosed: Opening | None = None
    first_column: int | None = None

    @property
    def source(self) -> Source:
        """The input as the user named it."""
        return self.content.source

    def discard(self) -> None:
        """Remove what was written for this input alone."""
        self.content.discard()
        if self.feed.staged:
            self.feed.path.unlink(missing_ok=True)


class _CsvHeader(msgspec.Struct, frozen=True):
    cells: tuple[str, ...]
    lines: int
    bytes: int


def prepare(
    source: Source, reading: Reading, folder: Path, standard_input: BinaryIO, stop: Stop
) -> Prepared:
    """Hash one input, read its header, and stage it if it is not regular.

    Args:
        source: the input.
        reading: how it is to be read.
        folder: where a staging file is written.
        standard_input: what `-` reads.
        stop: ends the work.

    Raises:
        BadFileError: if the input cannot be read as a whole.
    """
    try:
        content = content_of(source, reading, folder, standard_input, stop)
        if source.format is Format.CSV:
            return _prepare_csv(content, reading, folder, stop)
        return _prepare_staged(content, folder, stop)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise unwritable(folder, error) from None
        raise unreadable(source.name, error) from None


def _prepare_staged(content: Content, folder: Path, stop: Stop) -> Prepared:
    size = content.path.stat().st_size
    stop.begins(READING, size)
    seen = survey(content.path, 0, 1, stop)
    target = fresh(folder)
    sheet = content.source.format is Format.XLSX
    stop.begins(READING_ROWS, None if sheet else size)
    stage = stage_jsonl if content.source.format is Format.JSONL else stage_sheet
    staged = stage(content, target, stop)
    readable = not staged.records or staged.readable > 0
    return Prepared(
        content=content,
        input=_input(content, seen, staged.records),
        headers=Headers(content.source.name, staged.headers, readable),
        feed=Feed(target, staged=True, cells=len(staged.headers)),
        first_column=staged.first_column,
    )


def _prepare_csv(content: Content, reading: Reading, folder: Path, stop: Stop) -> Prepared:
    dialect = dialect_of(content.path, content.source.name, reading)
    header = _csv_header(content, dialect)
    cells = len(header.cells)
    stop.begins(READING, content.path.stat().st_size)
    seen = survey(content.path, header.bytes, cells, stop, dialect.delimiter)
    skipped = 1 + dialect.told
    prepared = Prepared(
        content=content,
        input=_input(content, seen, seen.lines),
        headers=Headers(content.source.name, header.cells),
        feed=Feed(
            content.path,
            staged=False,
            cells=cells,
            crlf=seen.crlf,
            delimiter=dialect.delimiter,
            skipped=skipped,
        ),
        dialect=dialect,
    )
    plain = header.lines == skipped and not is_disarmed(header.cells)
    regular = seen.regular and plain
    return prepared if regular else restage(prepared, folder, stop)


def restage(prepared: Prepared, folder: Path, stop: Stop) -> Prepared:
    """Read a CSV file by the exact reader."""
    target = fresh(folder)
    stop.begins(READING_ROWS, prepared.content.path.stat().st_size)
    staged = stage_csv(prepared.content, target, prepared.dialect, stop)
    return msgspec.structs.replace(
        prepared,
        input=msgspec.structs.replace(prepared.input, records=staged.records),
        feed=Feed(target, staged=True, cells=len(staged.headers)),
        unclosed=staged.unclosed,
    )


def _input(content: Content, seen: Survey, records: int) -> InputFile:
    sha256, size = content.hashed or (seen.sha256, seen.bytes)
    return InputFile(name=content.source.name, sha256=sha256, bytes=size, records=records)


def _csv_header(content: Content, dialect: Dialect) -> _CsvHeader:
    name = content.source.name
    with content.path.open("rb") as file:
        lines = Lines(file, content.encoding)
        first = CsvRecords(lines, dialect).next()
        if first is None:
            raise BadFileError(
                "The file has no header.", where=name, advice="Check the export that made it."
            )
        line, cells = first
        if isinstance(cells, Broken):
            raise BadFileError(
                f"The header cannot be read: {cells.why}.",
                where=f"{name}, line {line}",
                advice=_mend(cells, content),
            )
        if is_disarmed(cells):
            cells = list(map(rearmed, cells))
        return _CsvHeader(tuple(cells), lines.number, lines.offset)


def _mend(header: Broken, content: Content) -> str:
    if header.reason != "bad-encoding":
        return "Mend the first line."
    return "Save it again as UTF-8." if content.encoding == UTF8 else "Check --encoding."
