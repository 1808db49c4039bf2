"""Rows of a worksheet, streamed from its XML: cells, hidden rows, merged ranges, formulas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bulklink.mapping.input.plain_elements import shorten_cells, split_elements
from bulklink.mapping.input.shared_strings import unescape_text
from bulklink.mapping.input.xml_parts import (
    MAX_TEXT_CHARS,
    NAMESPACE_SEPARATOR,
    XmlHandler,
    XmlPartError,
    parse_part,
)
from bulklink.spreadsheet_grid import SHEET_COLUMNS, SHEET_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Maximum characters of a formula that are kept, and digits of a shared string's number.
_MAX_FORMULA_CHARS, _MAX_INDEX_CHARS = 1000, 20
#: Maximum number of merged ranges, which are held in memory.
_MAX_MERGED = 100_000
_MAIN = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)
_ROW, _CELL, _VALUE, _FORMULA, _TEXT, _PHONETIC, _MERGED = range(7)
_ELEMENTS = {
    f"{namespace}{NAMESPACE_SEPARATOR}{name}": element
    for namespace in _MAIN
    for name, element in {
        "row": _ROW,
        "c": _CELL,
        "v": _VALUE,
        "f": _FORMULA,
        "t": _TEXT,
        "rPh": _PHONETIC,
        "mergeCell": _MERGED,
    }.items()
}
_TRUE = ("1", "true", "on")
_DIGITS = "0123456789"
_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?([0-9]{1,7}):\$?([A-Z]{1,3})\$?([0-9]{1,7})")


#: A cell with content: column from 0; type as in the file, such as `s` for a shared string, None
#: for a number; style, value and formula as in the file, None if missing. A plain tuple, as there
#: are millions of cells.
SheetCell: TypeAlias = "tuple[int, str | None, str | None, str | None, str | None]"


class SheetRow(NamedTuple):
    """A row that has cells.

    Args:
        number: its number in the sheet, from 1.
        hidden: whether the sheet hides it.
        cells: its cells, from left to right.
    """

    number: int
    hidden: bool
    cells: list[SheetCell]


class MergedRange(NamedTuple):
    """A range of merged cells: rows from 1 and columns from 0, the last ones included."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


class _ColumnNumbers(dict[str, int]):
    """Numbers of columns by their letters, for as many columns as a sheet can have."""

    def __missing__(self, letters: str) -> int:
        number = 0
        for letter in letters:
            number = number * 26 + ord(letter) - ord("A") + 1
        if not (1 <= number <= SHEET_COLUMNS and letters.isascii() and letters.isalpha()):
            raise XmlPartError(f"it has a cell in column {letters[:10]!r}")
        self[letters] = number - 1
        return number - 1


def _is_hidden(attributes: dict[str, str]) -> bool:
    """Return whether a row is hidden: by hand, by a filter or in a group, or without height."""
    if attributes.get("hidden") in _TRUE:
        return True
    height = attributes.get("ht")
    try:
        return height is not None and float(height) <= 0
    except ValueError:
        return False


class _SheetHandler(XmlHandler):
    """Collects the rows of a sheet.

    Attributes:
        rows: rows that are complete.
        merged: merged ranges, known at the end.
    """

    __slots__ = (
        *(
            "_cells",
            "_column",
            "_columns",
            "_formula",
            "_free_chars",
            "_hidden",
            "_in_cell",
            "_number",
        ),
        *("_phonetic", "_style", "_type", "_value", "merged", "rows"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[SheetRow] = []
        self.merged: list[MergedRange] = []
        self._columns = _ColumnNumbers()
        self._number = 0
        self._column = -1
        self._free_chars = MAX_TEXT_CHARS
        self._cells: list[SheetCell] = []
        self._hidden = self._in_cell = self._phonetic = False
        self._type: str | None = None
        self._style: str | None = None
        self._value: str | None = None
        self._formula: str | None = None

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Receive a start tag; most are those of cells and their values."""
        self.depth += 1
        element = _ELEMENTS.get(name)
        if element is None:
            return
        if element == _CELL:
            self._take_plain_cells()
            self._start_cell(attributes)
        elif element in (_VALUE, _FORMULA) or (element == _TEXT and not self._phonetic):
            if self._in_cell:
                self.start_text()
        elif element == _ROW:
            self._start_row(attributes)
        elif element == _PHONETIC:
            self._phonetic = True
        elif element == _MERGED:
            self._add_merged(attributes.get("ref", ""))

    def _start_cell(self, attributes: dict[str, str]) -> None:
        get = attributes.get
        reference = get("r")
        if reference is None:
            column = self._column + 1
        else:
            column = self._columns[reference.rstrip(_DIGITS)]
            if column <= self._column:
                raise XmlPartError(f"cell {reference[:20]} is out of order")
        if column >= SHEET_COLUMNS:
            raise XmlPartError(f"row {self._number} has too many cells")
        self._column = column
        self._type, self._style = get("t"), get("s")
        self._value = self._formula = None
        self._in_cell = True

    def _start_row(self, attributes: dict[str, str]) -> None:
        reference = attributes.get("r")
        number = self._number + 1 if reference is None else _row_number(reference)
        if not self._number < number <= SHEET_ROWS:
            raise XmlPartError(f"row {number} is out of order")
        self._number = number
        self.texts.clear()
        self._column = -1
        self._cells = []
        self._free_chars = MAX_TEXT_CHARS
        self._hidden = _is_hidden(attributes)

    def end(self, name: str) -> None:
        """Receive an end tag."""
        self.depth -= 1
        element = _ELEMENTS.get(name)
        if element is None:
            return
        if element == _VALUE:
            self._value = self.end_text() if self.in_text else None
        elif element == _CELL:
            self._end_cell()
        elif element == _TEXT and self.in_text:
            text = self.end_text()
            self._value = (self._value + text)[:MAX_TEXT_CHARS] if self._value else text
        elif element == _FORMULA:
            self._formula = self.end_text() if self.in_text else None
        elif element == _ROW:
            self._take_plain_cells()
            if self._cells:
                self.rows.append(SheetRow(self._number, self._hidden, self._cells))
            self._cells = []
        elif element == _PHONETIC:
            self._phonetic = False

    def end_block(self) -> None:
        """Take the plain cells so far."""
        if not self._in_cell:
            self._take_plain_cells()
        super().end_block()

    def _take_plain_cells(self) -> None:
        """Take the cells that `shorten_cells` turned into text of their row."""
        if not self.texts:
            return
        text = "".join(self.texts)
        self.texts.clear()
        for letters, style, cell_type, text_value, inline, _ in split_elements(text):
            column = self._columns[letters]
            if column <= self._column:
                raise XmlPartError(f"cell {letters}{self._number} is out of order")
            self._column = column
            value = self._kept_text(text_value or inline, cell_type)
            self._cells.append((column, cell_type or None, style or None, value, None))

    def _kept_text(self, value: str, cell_type: str | None) -> str:
        """Return a value, cut where its row becomes too long for a record."""
        if cell_type == "s":
            return value[:_MAX_INDEX_CHARS]
        value = unescape_text(value)[: self._free_chars]
        self._free_chars -= len(value)
        return value

    def _end_cell(self) -> None:
        value, formula = self._value, self._formula
        if (value is not None or formula is not None) and self._in_cell:
            value = self._kept_text(value, self._type) if value else value
            formula = formula[:_MAX_FORMULA_CHARS] if formula else formula
            self._cells.append((self._column, self._type, self._style, value, formula))
        self._in_cell = False
        self.texts.clear()

    def _add_merged(self, reference: str) -> None:
        match = _RANGE.fullmatch(reference)
        if match is None:
            return
        columns = self._columns[match[1]], self._columns[match[3]]
        rows = int(match[2]), int(match[4])
        merged = MergedRange(min(rows), min(columns), max(rows), max(columns))
        if merged[:2] == merged[2:]:
            return
        self.merged.append(merged)
        if len(self.merged) > _MAX_MERGED:
            raise XmlPartError(f"it has more than {_MAX_MERGED:,} merged ranges")


def _row_number(reference: str) -> int:
    if not (reference.isascii() and reference.isdecimal() and len(reference) <= len("1048576")):
        raise XmlPartError(f"it has a row {reference[:20]!r}")
    return int(reference)


class WorksheetRows:
    """Rows of one worksheet, streamed once.

    Args:
        blocks: the part of the worksheet, in small blocks.

    Attributes:
        position: number of bytes read of the part.
    """

    __slots__ = ("_blocks", "_handler", "position")

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = blocks
        self._handler = _SheetHandler()
        self.position = 0

    def __iter__(self) -> Iterator[SheetRow]:
        handler = self._handler
        for _ in parse_part(shorten_cells(self._counted_blocks()), handler):
            rows, handler.rows = handler.rows, []
            yield from rows

    def _counted_blocks(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.position += len(block)
            yield block

    @property
    def merged(self) -> list[MergedRange]:
        """Merged ranges, complete when all rows were read."""
        return self._handler.merged
