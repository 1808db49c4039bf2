"""Workbooks for tests, written by hand from the format's own description."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from bulklink.mapping.input.xlsx_reader import column_letters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/"
DATE, DATE_AND_TIME, DURATION, TIME = "1234"

_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}content-types">'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>'
    '<sheet name="Emails" sheetId="1" r:id="rId1"/><sheet name="Other" sheetId="2" r:id="rId2"/>'
    "</sheets></workbook>",
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}relationships">'
    f'<Relationship Id="rId2" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet2.xml"/>'
    f'<Relationship Id="rId3" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
    "xl/styles.xml": f'<styleSheet {_MAIN}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
    '<xf numFmtId="22"/><xf numFmtId="46"/><xf numFmtId="21"/></cellXfs></styleSheet>',
    "xl/worksheets/sheet1.xml": f'<worksheet {_MAIN}><sheetData><row r="1"><c r="XFD1"><v>1</v>'
    '</c></row><row r="1048576"><c r="A1048576"><v>1</v></c></row></sheetData></worksheet>',
}


class Raw(str):
    """The inside of a cell as it stands in the file, attributes before a bar: ` s="1"|<v>1</v>`."""

    __slots__ = ()


def number(digits: str, style: str = "0") -> Raw:
    """Make a cell of a number, as its digits stand in the file."""
    return Raw(f' s="{style}"|<v>{digits}</v>')


def yes() -> Raw:
    """Make a cell that is TRUE."""
    return Raw(' t="b"|<v>1</v>')


def workbook(rows: Iterable[Sequence[str]], *, first_row: int = 1, first_column: int = 0) -> bytes:
    """Write a workbook; its first sheet begins at a cell, and empty texts are no cells."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in _PARTS.items():
            archive.writestr(name, part)
        sheet = "".join(_row(cells, at, first_column) for at, cells in enumerate(rows, first_row))
        text = f"<worksheet {_MAIN}><sheetData>{sheet}</sheetData></worksheet>"
        archive.writestr("xl/worksheets/sheet2.xml", text)
    return out.getvalue()


def _row(cells: Sequence[str], number: int, first_column: int) -> str:
    inside = "".join(
        _cell(cell, f"{column_letters(at)}{number}")
        for at, cell in enumerate(cells, first_column)
        if cell
    )
    return f'<row r="{number}">{inside}</row>'


def _cell(cell: str, address: str) -> str:
    if isinstance(cell, Raw):
        attributes, _, inside = cell.partition("|")
        return f'<c r="{address}"{attributes}>{inside}</c>'
    text = escape(cell.replace("_x", "_x005F_x"), {"\r": "_x000D_"})
    text = f'<is><t xml:space="preserve">{text}</t></is>'
    return f'<c r="{address}" t="inlineStr">{text}</c>'
