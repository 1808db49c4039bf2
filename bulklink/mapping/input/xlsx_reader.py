"""One sheet of an .xlsx workbook, streamed, with marks for inexact numbers."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from itertools import islice
from typing import TYPE_CHECKING, Self

from bulklink.blocking import blocks
from bulklink.errors import BadFileError
from bulklink.mapping.input.jsonl_reader import OTHER_CELL
from bulklink.mapping.input.number_formats import (
    NumberKind,
    StylesHandler,
    date_text,
    number_text,
)
from bulklink.mapping.input.shared_strings import SharedStrings
from bulklink.mapping.input.sheet_rows import WorksheetRows
from bulklink.mapping.input.workbook_package import (
    WorkbookPackage,
    damaged_workbook_error,
    translate_package_errors,
)
from bulklink.mapping.input.workbook_sheets import SheetType, choose_sheet, read_contents
from bulklink.mapping.input.xml_parts import parse_part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.input.sheet_rows import SheetCell
    from bulklink.mapping.input.workbook_sheets import WorkbookSheet
    from bulklink.mapping.interrupt import PlanningStop

#: Kind of a cell with a formula whose value the file does not hold.
UNCOMPUTED_CELL = "u"
#: Maximum number of other sheets whose headers are read, and of blocks read of each.
_MAX_OTHER_SHEETS = 50
_HEADER_BLOCKS = 16
_MAX_HEADER_CHARS = 1000


class Workbook:
    """A workbook and the sheet of it that is the mapping; a context manager.

    Args:
        path: the file.
        name: the file as the user named it.
        wanted: name or number of the sheet; None for the first visible table.
        folder: folder for temporary files.
        stop: stops the work.

    Attributes:
        contents: the sheets of the workbook.
        sheet: the sheet that is the mapping.

    Raises:
        BadFileError: if it is not a workbook, is damaged or protected, or has no such sheet.
    """

    def __init__(
        self, path: Path, name: str, wanted: str | None, folder: Path, stop: PlanningStop
    ) -> None:
        blocks("reading a workbook")
        self._name = name
        with ExitStack() as on_error, translate_package_errors(name):
            self._package = WorkbookPackage(path, name, stop)
            on_error.callback(self._package.close)
            self.contents = read_contents(self._package)
            self.sheet = choose_sheet(self.contents, wanted, name)
            self._strings = SharedStrings(name, folder)
            on_error.callback(self._strings.close)
            if self.contents.strings is not None:
                self._strings.load(self._package.blocks(self.contents.strings))
            self._kinds = self._number_kinds()
            self._on_close = on_error.pop_all()

    def _number_kinds(self) -> dict[str, NumberKind]:
        """Return the styles whose numbers are dates or durations."""
        handler = StylesHandler()
        if self.contents.styles is not None:
            for _ in parse_part(self._package.blocks(self.contents.styles), handler):
                pass
        return {
            str(style): kind
            for style, kind in enumerate(handler.kinds)
            if kind is not NumberKind.NUMBER
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._on_close.close()

    @property
    def size(self) -> int:
        """Size of the sheet's part in bytes."""
        return self._package.size(self.sheet.part) if self.sheet.part else 0

    def rows(self) -> WorksheetRows:
        """Return the rows of the sheet; iterate over them within `translate_package_errors`."""
        if self.sheet.part is None:
            raise damaged_workbook_error(self._name, f"the sheet {self.sheet.name!r} is missing")
        return WorksheetRows(self._package.blocks(self.sheet.part))

    def other_headers(
        self, *, skip_hidden: bool, skip_rows: int
    ) -> Iterator[tuple[WorkbookSheet, list[str]]]:
        """Yield the other tables of the workbook, each with the cells of its first row.

        Args:
            skip_hidden: whether hidden rows are left out.
            skip_rows: rows at the top that are skipped.
        """
        others = [
            sheet
            for sheet in self.contents.sheets
            if sheet.type is SheetType.TABLE and sheet.part and sheet is not self.sheet
        ]
        for sheet in others[:_MAX_OTHER_SHEETS]:
            part = sheet.part or ""
            yield sheet, self._first_row(part, skip_hidden=skip_hidden, skip_rows=skip_rows)

    def _first_row(self, part: str, *, skip_hidden: bool, skip_rows: int) -> list[str]:
        """Return the first row that is not empty; none if the sheet is damaged or begins late."""
        blocks = islice(self._package.blocks(part), _HEADER_BLOCKS)
        with suppress(BadFileError), translate_package_errors(self._name):
            for row in WorksheetRows(blocks):
                texts = [self.convert(cell)[1][:_MAX_HEADER_CHARS] for cell in row.cells]
                is_skipped = row.number <= skip_rows or (skip_hidden and row.hidden)
                if not is_skipped and any(map(str.strip, texts)):
                    return texts
        return []

    def convert(self, cell: SheetCell) -> tuple[str, str]:
        """Convert a cell to its kind, as those of JSON values, and its text."""
        _, cell_type, style, value, formula = cell
        if formula is not None and self._is_uncomputed(value, cell_type):
            return UNCOMPUTED_CELL, f"={formula}"
        if not value:
            return "", ""
        if cell_type == "s":
            return "", self._strings[int(value)]
        if cell_type is None or cell_type == "n":
            kind = self._kinds.get(style) if style is not None else None
            if kind is None:
                return number_text(value)
            return date_text(value, kind, from_1904=self.contents.from_1904)
        if cell_type in ("inlineStr", "str"):
            return "", value
        if cell_type == "b":
            return OTHER_CELL, "FALSE" if value in ("0", "false") else "TRUE"
        if cell_type == "d":
            return OTHER_CELL, value.replace("T", " ").removesuffix(" 00:00:00")
        return OTHER_CELL, value  # an error, such as #REF!

    def _is_uncomputed(self, value: str | None, cell_type: str | None) -> bool:
        """Return whether a formula has no value; an empty text is one."""
        if not value:
            return value is None or cell_type != "str"
        return not self.contents.computed and value == "0" and cell_type in (None, "n")
