"""Staging file of a sheet: rows in the columns of the header, marks for cells without a value."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import record_too_long
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.input.staging import (
    CELL_SEPARATOR,
    ESCAPE_CHAR,
    MAX_COLUMNS,
    NO_FAULT,
    StagedFile,
    cells_text,
    create_staging_file,
    escape_staged_cell,
    fault_line,
)
from bulklink.mapping.input.workbook_package import (
    MAX_PART_BYTES,
    too_large_error,
    translate_package_errors,
)
from bulklink.mapping.input.workbook_sheets import passed_over_warning
from bulklink.mapping.input.xlsx_reader import Workbook
from bulklink.mapping.schema import HiddenRows
from bulklink.spreadsheet_cells import has_escaped_cells, unescape_cell
from bulklink.spreadsheet_grid import column_letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.input.sheet_rows import MergedRange, SheetRow
    from bulklink.mapping.input.workbook_sheets import WorkbookSheet
    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions

READING_SHEET = "Reading the rows of the sheet"
#: Kind of a cell that is merged with another, which holds the visible value.
MERGED_KIND = "m"
_MAX_NAMED_ROWS = 5
_CHECK_EVERY = 1000


class SheetHeaders(msgspec.Struct, frozen=True):
    """First row of another sheet of a workbook.

    Args:
        sheet: the sheet.
        headers: its first row.
    """

    sheet: WorkbookSheet
    headers: tuple[str, ...]


class StagedSheet(msgspec.Struct, frozen=True):
    """Facts about a staged sheet.

    Args:
        name: its name.
        columns: for each cell of a record its column in the sheet, from 0.
        hidden: rows that the sheet hides.
        first_hidden: numbers of the first of them in the sheet.
        warning: sentence that names the sheets before it; None if there are none.
        sheets: all sheets of the workbook.
        others: headers of the other tables among them.
    """

    name: str
    columns: tuple[int, ...]
    hidden: int
    first_hidden: tuple[int, ...]
    warning: str | None
    sheets: tuple[WorkbookSheet, ...]
    others: tuple[SheetHeaders, ...]


def stage_sheet(
    content: InputContent,
    target: Path,
    options: MappingOptions,
    stop: PlanningStop,
) -> tuple[StagedFile, StagedSheet]:
    """Read a sheet of a workbook and write it to a staging file.

    Merged ranges come after the rows in the file, so a sheet with some is read twice.
    """
    name = content.source.name
    stop.begin_stage(READING_SHEET)
    with (
        translate_package_errors(name),
        Workbook(content.path, name, options.sheet, target.parent, stop) as workbook,
    ):
        staging = _SheetStaging(workbook, name, options, stop)
        staging.write(target)
        if merged := staging.covering_ranges():
            target.unlink()
            merged_cells = _MergedCells(merged, sorted(staging.places))
            staging = _SheetStaging(workbook, name, options, stop, merged=merged_cells)
            staging.write(target)
        others = tuple(
            SheetHeaders(sheet, tuple(headers))
            for sheet, headers in workbook.other_headers(
                skip_hidden=options.hidden_rows is HiddenRows.SKIP, skip_rows=options.skip_lines
            )
        )
        warning = None
        if options.sheet is None:
            warning = passed_over_warning(workbook.contents, workbook.sheet, name)
    return staging.staged_file, StagedSheet(
        name=workbook.sheet.name,
        columns=tuple(staging.places),
        hidden=staging.hidden,
        first_hidden=tuple(staging.first_hidden),
        warning=warning,
        sheets=workbook.contents.sheets,
        others=others,
    )


class _SheetStaging:
    """One pass over the rows of a sheet.

    Attributes:
        places: index of the cell of each column of the sheet; those of the header first.
        hidden: rows that the sheet hides.
        first_hidden: numbers of the first of them.
    """

    def __init__(
        self,
        workbook: Workbook,
        name: str,
        options: MappingOptions,
        stop: PlanningStop,
        *,
        merged: _MergedCells | None = None,
    ) -> None:
        self._workbook = workbook
        self._name = name
        self._stop = stop
        self._skip_hidden = options.hidden_rows is HiddenRows.SKIP
        self._skip_rows = options.skip_lines
        self._merged = merged
        self._rows = workbook.rows()
        self._headers: list[str] = []
        self._header_row = 0
        self._unescapes = False
        self._records = 0
        self.places: dict[int, int] = {}
        self.hidden = 0
        self.first_hidden: list[int] = []

    @property
    def staged_file(self) -> StagedFile:
        """The file that was written."""
        return StagedFile(tuple(self._headers), self._records, None, self._records)

    def covering_ranges(self) -> list[MergedRange]:
        """Return the merged ranges that reach below the header, within the columns, by row."""
        first, last = min(self.places, default=0), max(self.places, default=-1)
        return sorted(
            merged
            for merged in self._rows.merged
            if merged.last_row > self._header_row > 0
            and merged.first_column <= last
            and merged.last_column >= first
        )

    def write(self, target: Path) -> None:
        """Write the rows to a staging file."""
        self._stop.begin_stage(READING_SHEET, self._workbook.size)
        with create_staging_file(target) as out:
            written_chars = 0
            for row in self._visible_rows():
                if not self._header_row:
                    self._read_header(row)
                elif (line := self._line(row)) is not None:
                    written_chars += out.write(line)
                    self._records += 1
                if written_chars > MAX_PART_BYTES:
                    raise too_large_error(self._name)

    def _visible_rows(self) -> Iterator[SheetRow]:
        for count, row in enumerate(self._rows):
            if count % _CHECK_EVERY == 0:
                self._stop.check()
                self._stop.report_position(self._rows.position)
            if row.number <= self._skip_rows:
                continue
            if not row.hidden:
                yield row
            elif not self._is_blank(row):
                self.hidden += 1
                if self.hidden <= _MAX_NAMED_ROWS:
                    self.first_hidden.append(row.number)
                if not self._skip_hidden:
                    yield row

    def _is_blank(self, row: SheetRow) -> bool:
        return not any(self._workbook.convert(cell)[1].strip() for cell in row.cells)

    def _read_header(self, row: SheetRow) -> None:
        """Read the header from the first to the last filled cell of a row; skip an empty row."""
        texts: dict[int, str] = {}
        size = 0
        for cell in row.cells:
            texts[cell[0]] = text = self._workbook.convert(cell)[1]
            size += len(text)
            if size > MAX_RECORD_BYTES:
                raise self._too_large_error(f"The header in row {row.number} is too long")
        columns = [column for column, text in texts.items() if text.strip()]
        if not columns:
            return
        self._header_row = row.number
        for column in range(columns[0], columns[-1] + 1):
            self._add_column(column, row.number, texts.get(column, ""))
        self._unescapes = has_escaped_cells(self._headers)
        if self._unescapes:
            self._headers = list(map(unescape_cell, self._headers))

    def _add_column(self, column: int, row: int, header: str = "") -> int:
        """Add a column; one without a header holds cells next to the table."""
        if len(self._headers) >= MAX_COLUMNS:
            raise self._too_large_error(
                f"The sheet reaches to cell {column_letters(column)}{row}, more than can be read"
            )
        self.places[column] = len(self._headers)
        self._headers.append(header)
        return self.places[column]

    def _too_large_error(self, problem: str) -> BadFileError:
        return BadFileError(
            f"{problem}.",
            where=f"{self._name}, sheet {self._workbook.sheet.name}",
            advice="Delete the cells far from the table, or save the sheet as CSV.",
        )

    def _line(self, row: SheetRow) -> str | None:
        """Format a record; None for an empty row."""
        convert, places = self._workbook.convert, self.places
        cells = [""] * len(places)
        kinds: list[tuple[int, str]] = []
        is_blank, size = True, 0
        for cell in row.cells:
            kind, text = convert(cell)
            size += len(text)
            if size > MAX_RECORD_BYTES:
                return fault_line(row.number, record_too_long(CELL_SEPARATOR.join(cells).encode()))
            place = places.get(cell[0])
            if text and not text.isspace():
                is_blank = False
                if place is None:
                    place = self._add_column(cell[0], row.number)
                    cells.append("")
            if place is not None:
                cells[place] = unescape_cell(text) if self._unescapes and not kind else text
            if kind and place is not None:
                kinds.append((place, kind))
        if is_blank:
            return None
        if self._merged is not None:
            covered = self._merged.covered_columns(row.number)
            kinds += [(places[c], MERGED_KIND) for c in covered if c in places]
        return _record_line(row.number, cells, kinds)


def _record_line(number: int, cells: list[str], kinds: Sequence[tuple[int, str]]) -> str:
    record = cells_text(cells)
    if kinds:
        cells = list(map(escape_staged_cell, cells))
        for place, kind in dict(kinds).items():
            cells[place] = f"{ESCAPE_CHAR}{kind}{cells[place]}"
        record = CELL_SEPARATOR.join(cells)
    if len(record) * 4 > MAX_RECORD_BYTES and len(record.encode()) > MAX_RECORD_BYTES:
        return fault_line(number, record_too_long(record.encode()))
    return f"{number}{NO_FAULT}{record}\n"


class _MergedCells:
    """Columns that merged ranges cover, row by row; the first cell of a range is not covered.

    Args:
        ranges: the merged ranges, by row.
        columns: the columns of the records, in order.
    """

    def __init__(self, ranges: Sequence[MergedRange], columns: Sequence[int]) -> None:
        self._ranges = ranges
        self._columns = columns
        self._next = 0
        self._last_rows: dict[int, int] = {}

    def covered_columns(self, row: int) -> set[int]:
        """Return the covered columns of a row; call it with ascending rows."""
        first_cells = set()
        while self._next < len(self._ranges) and self._ranges[self._next].first_row <= row:
            merged = self._ranges[self._next]
            first = bisect_left(self._columns, merged.first_column)
            last = bisect_right(self._columns, merged.last_column)
            for column in self._columns[first:last]:
                self._last_rows[column] = max(merged.last_row, self._last_rows.get(column, 0))
            if merged.first_row == row:
                first_cells.add(merged.first_column)
            self._next += 1
        for column in [c for c, last in self._last_rows.items() if last < row]:
            del self._last_rows[column]
        return self._last_rows.keys() - first_cells
