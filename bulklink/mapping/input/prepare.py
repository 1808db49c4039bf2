"""Preparation of each input: hash, header, and the choice between DuckDB and an exact reader."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import temporary_path, write_error
from bulklink.errors import BadFileError
from bulklink.mapping.database import memory_bytes
from bulklink.mapping.faults import BAD_ENCODING
from bulklink.mapping.input.content import InputContent, load_content
from bulklink.mapping.input.csv_reader import (
    DEFAULT_DIALECT,
    BrokenRecord,
    CsvRecords,
)
from bulklink.mapping.input.dialect import Dialect
from bulklink.mapping.input.dialect_detection import detect_dialect, lines_above_headers
from bulklink.mapping.input.encodings import UTF8
from bulklink.mapping.input.files import InputFormat, Source, unreadable_file_error
from bulklink.mapping.input.frames import Frame
from bulklink.mapping.input.lines import LineReader
from bulklink.mapping.input.rows import Rows, RowsKind
from bulklink.mapping.input.scan import FileScan, FileScanner, hash_file
from bulklink.mapping.input.sheet_staging import StagedSheet, stage_sheet
from bulklink.mapping.input.staging import (
    StagedFile,
    UnclosedQuote,
    stage_csv,
    stage_dicts,
    stage_json,
    stage_jsonl,
    stage_parquet,
)
from bulklink.mapping.schema import InputFile, MappingOptions
from bulklink.spreadsheet_cells import has_escaped_cells, unescape_cell

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulklink.mapping.interrupt import PlanningStop

#: Files of at least this size are scanned while DuckDB loads them.
_LARGE_BYTES = 1 << 22
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)


READING = "Reading the mapping"
READING_ROWS = "Reading the rows one by one"


class FileHeaders(msgspec.Struct, frozen=True):
    """Headers of one file.

    Args:
        name: the input as the user named it.
        headers: one for each cell of its header.
        readable: False if no record of the file could be read.
        sheet: the sheet with these headers; None for other formats.
        lines_above: number of lines above the known headers, if `headers` are not known; else None.
    """

    name: str
    headers: tuple[str, ...]
    readable: bool = True
    sheet: StagedSheet | None = None
    lines_above: int | None = None

    @property
    def where(self) -> str:
        """The file; for a workbook with several sheets, with the sheet."""
        if self.sheet is None or len(self.sheet.sheets) == 1:
            return self.name
        return f"{self.name}, sheet {self.sheet.name}"


class CsvInput(msgspec.Struct, frozen=True):
    """File that DuckDB's CSV reader loads: the user's own if it is regular, else a staging file.

    Args:
        path: the file.
        staged: whether it is a staging file.
        cells: cells of a record.
        crlf: whether lines end with CR LF.
        delimiter: delimiter of the user's own file.
        skip_lines: lines of the user's own file before its first record.
        sheet_columns: for each cell its column in a sheet, from 0; None for other formats.
    """

    path: Path
    staged: bool
    cells: int
    crlf: bool = False
    delimiter: str = ","
    skip_lines: int = 1
    sheet_columns: tuple[int, ...] | None = None


class PreparedInput(msgspec.Struct, frozen=True):
    """One input, ready to be loaded.

    Args:
        content: its content on disk; None for rows that a program passes.
        input: the input as it was read; the records of a stream are counted when it is loaded.
        headers: its headers.
        table: what DuckDB loads.
        dialect: dialect of a CSV file.
        unclosed_quote: position of a quote that is never closed.
        scanner: scanner of a large file whose start is regular. Until its end, `input` has no
            hash, and the size and records of the start. None once the file is scanned.
    """

    content: InputContent | None
    input: InputFile
    headers: FileHeaders
    table: CsvInput | Frame
    dialect: Dialect = DEFAULT_DIALECT
    unclosed_quote: UnclosedQuote | None = None
    scanner: FileScanner | None = None

    @property
    def file(self) -> InputContent:
        """Its content on disk, if it is a file.

        Raises:
            TypeError: if it is rows.
        """
        if self.content is None:
            raise TypeError("rows are no file")
        return self.content

    @property
    def csv_input(self) -> CsvInput:
        """The file that DuckDB loads.

        Raises:
            TypeError: if it is a frame.
        """
        if isinstance(self.table, Frame):
            raise TypeError("a frame is no file")
        return self.table

    @property
    def has_changed(self) -> bool:
        """Whether its file changed after it was first opened."""
        return self.content is not None and self.content.changed

    def discard(self) -> None:
        """Remove the temporary files of this input."""
        if self.content is not None:
            self.content.discard()
        if not isinstance(self.table, Frame) and self.table.staged:
            self.table.path.unlink(missing_ok=True)


class _CsvHeader(msgspec.Struct, frozen=True):
    cells: tuple[str, ...]
    lines: int
    bytes: int


def prepare_input(
    source: Source,
    options: MappingOptions,
    folder: Path,
    standard_input: BinaryIO,
    stop: PlanningStop,
    memory: str,
) -> PreparedInput:
    """Hash one input, read its header, and stage it if it is not regular.

    Args:
        source: the input.
        options: options for reading the mapping.
        folder: folder for a staging file.
        standard_input: stream that `-` reads.
        stop: stops the work.
        memory: memory limit, such as `512MB`.

    Raises:
        BadFileError: if the input cannot be read as a whole.
    """
    if source.rows is not None:
        return _prepare_rows(source.rows, folder, stop)
    try:
        content = load_content(source, options, folder, standard_input, stop, memory_bytes(memory))
        if content.format is InputFormat.CSV:
            return _prepare_csv(content, options, folder, stop)
        return _prepare_staged(content, options, folder, stop, memory)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise write_error(folder, error) from None
        raise unreadable_file_error(source.name, error) from None


def _prepare_rows(rows: Rows, folder: Path, stop: PlanningStop) -> PreparedInput:
    """Open a frame; write rows that are dicts to a staging file, as those of a JSON file."""
    stop.begin_stage(READING_ROWS)
    if rows.kind is not RowsKind.DICTS:
        frame = Frame(rows)
        _check_names(rows, frame.headers)
        return PreparedInput(
            content=None,
            input=_rows_input(rows, frame.records),
            headers=FileHeaders(rows.name, frame.headers),
            table=frame,
        )
    target = temporary_path(folder)
    try:
        staged = stage_dicts(rows, target, stop)
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise write_error(folder, error) from None
        raise  # it is the iterable's own
    _check_names(rows, staged.headers)
    return PreparedInput(
        content=None,
        input=_rows_input(rows, staged.records),
        headers=FileHeaders(rows.name, staged.headers, staged.is_readable),
        table=CsvInput(target, staged=True, cells=len(staged.headers)),
    )


def _check_names(rows: Rows, headers: Sequence[str]) -> None:
    """Refuse names of columns that UTF-8 cannot hold; a file has none."""
    for header in headers:
        try:
            header.encode()
        except UnicodeEncodeError:
            raise BadFileError(
                f"The name {header!r} of a column holds half a surrogate pair, which is not text.",
                where=rows.name,
                advice="Rename the column.",
            ) from None


def _rows_input(rows: Rows, records: int | None) -> InputFile:
    return InputFile(name=rows.name, sha256=None, bytes=None, records=records or 0)


def _prepare_staged(
    content: InputContent, options: MappingOptions, folder: Path, stop: PlanningStop, memory: str
) -> PreparedInput:
    size = content.path.stat().st_size
    stop.begin_stage(READING, size)
    hashed = hash_file(content.path, stop)
    target = temporary_path(folder)
    sheet: StagedSheet | None = None
    if content.format is InputFormat.XLSX:
        staged, sheet = stage_sheet(content, target, options, stop)
    else:
        is_text = content.format in (InputFormat.JSONL, InputFormat.JSON)
        stop.begin_stage(READING_ROWS, size if is_text else None)
        staged = _stage(content, target, options, stop, memory)
    return PreparedInput(
        content=content,
        input=_input(content, hashed, staged.records),
        headers=FileHeaders(content.source.name, staged.headers, staged.is_readable, sheet),
        table=CsvInput(
            target,
            staged=True,
            cells=len(staged.headers),
            sheet_columns=None if sheet is None else sheet.columns,
        ),
    )


def _stage(
    content: InputContent, target: Path, options: MappingOptions, stop: PlanningStop, memory: str
) -> StagedFile:
    if content.format is InputFormat.JSONL:
        return stage_jsonl(content, target, options, stop)
    if content.format is InputFormat.JSON:
        return stage_json(content, target, options, stop)
    return stage_parquet(content, target, memory, stop)


def _prepare_csv(
    content: InputContent, options: MappingOptions, folder: Path, stop: PlanningStop
) -> PreparedInput:
    dialect = detect_dialect(content.path, content.source.name, options)
    header = _csv_header(content, dialect, options)
    cells = len(header.cells)
    size = content.path.stat().st_size
    stop.begin_stage(READING, size)
    scanner = FileScanner(content.path, header.bytes, cells, stop, dialect)
    skip_lines = 1 + dialect.lines_before_header
    plain_header = header.lines == skip_lines and not has_escaped_cells(header.cells)
    scan = scanner.scan_start() if plain_header and size >= _LARGE_BYTES else None
    may_load = scan is not None and scan.regular and scan.lines > 0
    if scan is None or not may_load:
        scan = scanner.scan_rest()
    above = lines_above_headers(content.path, options)
    prepared = PreparedInput(
        content=content,
        input=_input(content, (scan.sha256, scan.bytes), scan.lines),
        headers=FileHeaders(
            content.source.name, header.cells, lines_above=_hidden_by(above, header.lines)
        ),
        table=CsvInput(
            content.path,
            staged=False,
            cells=cells,
            crlf=scan.crlf,
            delimiter=dialect.delimiter,
            skip_lines=skip_lines,
        ),
        dialect=dialect,
        scanner=scanner if may_load else None,
    )
    regular = scan.regular and plain_header
    return prepared if regular else restage(prepared, folder, stop)


def with_records(prepared: PreparedInput, records: int) -> PreparedInput:
    """Return an input with the number of records that were loaded."""
    return msgspec.structs.replace(
        prepared, input=msgspec.structs.replace(prepared.input, records=records)
    )


def with_scan(prepared: PreparedInput, scan: FileScan) -> PreparedInput:
    """Return an input with the result of its scan, which has ended."""
    return msgspec.structs.replace(
        prepared,
        input=_input(prepared.file, (scan.sha256, scan.bytes), scan.lines),
        scanner=None,
    )


def restage(prepared: PreparedInput, folder: Path, stop: PlanningStop) -> PreparedInput:
    """Read a CSV file with the exact reader."""
    target = temporary_path(folder)
    stop.begin_stage(READING_ROWS, prepared.file.path.stat().st_size)
    staged = stage_csv(prepared.file, target, prepared.dialect, stop)
    return msgspec.structs.replace(
        prepared,
        input=msgspec.structs.replace(prepared.input, records=staged.records),
        table=CsvInput(target, staged=True, cells=len(staged.headers)),
        unclosed_quote=staged.unclosed_quote,
    )


def _hidden_by(lines_above: int | None, header_line: int) -> int | None:
    """Return the lines above other headers, if these are below the header that was read."""
    return lines_above if lines_above is not None and lines_above >= header_line else None


def _input(content: InputContent, hashed: tuple[str, int], records: int) -> InputFile:
    sha256, size = content.sha256_and_size or hashed
    return InputFile(name=content.source.name, sha256=sha256, bytes=size, records=records)


def _csv_header(content: InputContent, dialect: Dialect, options: MappingOptions) -> _CsvHeader:
    name = content.source.name
    with content.path.open("rb") as file:
        lines = LineReader(file, content.encoding)
        record = CsvRecords(lines, dialect).read_record()
        if record is None:
            raise BadFileError(
                "The file has no header.", where=name, advice="Check the export that made it."
            )
        line, cells = record
        if isinstance(cells, BrokenRecord):
            raise BadFileError(
                f"The header cannot be read: {cells.message}.",
                where=f"{name}, line {line}",
                advice=_header_advice(cells, content, options),
            )
        if has_escaped_cells(cells):
            cells = list(map(unescape_cell, cells))
        return _CsvHeader(tuple(cells), lines.number, lines.offset)


def _header_advice(
    record: BrokenRecord, content: InputContent, options: MappingOptions
) -> str | Advice:
    if record.reason == BAD_ENCODING:
        check = Advice("Check {}.", Keyword("encoding"))
        return "Save the file again as UTF-8." if content.encoding == UTF8 else check
    above = lines_above_headers(content.path, options)
    if above is not None and above > options.skip_lines:
        return skip_advice(above)
    return "Fix that line."


def skip_advice(lines: int) -> Advice:
    """Return the advice for a file with lines above its headers."""
    skip = Keyword("skip_lines", lines)
    return Advice("The headers are in line {}: skip the lines above with {}.", lines + 1, skip)
