""".xlsx writer in constant memory: one sheet, every text a text cell (ECMA-376, part 1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZipFile

from bulklink.blocking import blocks
from bulklink.errors import UsageError
from bulklink.spreadsheet_grid import SHEET_COLUMNS, SHEET_ROWS, column_letters
from bulklink.tables.formats import Cell, Table, TableColumn

MAX_SHEET_ROWS = SHEET_ROWS - 1
"""Rows of a sheet below its header."""
_MAX_TEXT_LENGTH = 32_767
#: What cannot be in a text as it is: markup, characters that XML 1.0 excludes or normalises, what
#: looks like an escape, and space at either end, which is lost unless it is to be preserved.
_SPECIAL = re.compile(r"[&<>\x00-\x08\x0b-\x1f\ufffe\uffff]|_x[0-9A-Fa-f]{4}_|\A\s|\s\Z")
_ESCAPED = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")

_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_SHEET = "xl/worksheets/sheet1.xml"
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels"'
    ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/{_SHEET}" ContentType="{_TYPE}.worksheet+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1"'
    f' Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="Sheet1" sheetId="1" r:id="rId1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    "</Relationships>",
}


@contextmanager
def xlsx_table(path: Path, columns: Sequence[TableColumn]) -> Iterator[Table]:
    """Write an .xlsx file.

    Args:
        path: file to write.
        columns: columns of the table.

    Raises:
        UsageError: if the table does not fit into a sheet.
    """
    blocks("writing a workbook")
    if len(columns) > SHEET_COLUMNS:
        raise sheet_limit_error(path, f"A sheet has no more than {SHEET_COLUMNS:,} columns.")
    with ZipFile(path, "w", ZIP_DEFLATED) as book:
        for name, content in _PARTS.items():
            book.writestr(name, _HEAD + content)
        with book.open(_SHEET, "w", force_zip64=True) as part:
            part.write(f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
            sheet = _SheetTable(part, path, list(map(column_letters, range(len(columns)))))
            sheet.write([[column.header for column in columns]])
            yield sheet
            part.write(b"</sheetData></worksheet>")


class _SheetTable:
    def __init__(self, part: IO[bytes], path: Path, letters: Sequence[str]) -> None:
        self._part = part
        self._path = path
        self._letters = letters
        self._rows = 0

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        self._part.write("".join(map(self._row, rows)).encode())

    def _row(self, row: Sequence[Cell]) -> str:
        check_row_count(self._path, self._rows)
        number = self._rows + 1
        cells = []
        for letters, cell in zip(self._letters, row, strict=True):
            if isinstance(cell, int):
                cells.append(f'<c r="{letters}{number}"><v>{cell}</v></c>')
            elif cell:
                text = f">{cell}" if _SPECIAL.search(cell) is None else _special_text(cell)
                cells.append(f'<c r="{letters}{number}" t="inlineStr"><is><t{text}</t></is></c>')
                if len(cell) > _MAX_TEXT_LENGTH:
                    raise sheet_limit_error(
                        self._path,
                        f"A cell of row {self._rows} has more than {_MAX_TEXT_LENGTH:,} characters,"
                        " which no sheet can hold.",
                    )
        self._rows = number
        return f'<row r="{number}">{"".join(cells)}</row>'


def _special_text(text: str) -> str:
    """Return the end of the tag `t` of a text, and the text escaped (ST_Xstring)."""
    escaped = _ESCAPED.sub(lambda match: f"_x{ord(match[0]):04X}_", text)
    escaped = escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f' xml:space="preserve">{escaped}'


def check_row_count(path: Path, rows: int) -> None:
    """Check that a sheet has room for the rows, below its header.

    Raises:
        UsageError: if there are too many.
    """
    if rows > MAX_SHEET_ROWS:
        raise sheet_limit_error(path, f"A sheet has no more than {MAX_SHEET_ROWS:,} rows.")


def sheet_limit_error(path: Path, message: str) -> UsageError:
    """Return the error for a table that does not fit into a sheet."""
    return UsageError(
        message,
        where=path.name.removesuffix(".partial"),
        advice="Write .csv, .jsonl or .parquet, or fewer rows per file.",
    )
