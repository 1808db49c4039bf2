"""Workbooks for tests, written by hand from the format's own description."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from bulklink.spreadsheet_grid import column_letters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
STRICT_MAIN = "http://purl.oclc.org/ooxml/spreadsheetml/main"
STRICT_OFFICE = "http://purl.oclc.org/ooxml/officeDocument/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/"
DATE, DATE_AND_TIME, DURATION, TIME = "1234"


class Raw(str):
    """Content of a cell as in the file, with attributes before a bar: ` s="1"|<v>1</v>`."""

    __slots__ = ()


def number(digits: str, style: str = "0") -> Raw:
    """Make a cell of a number with these digits in the file."""
    return Raw(f' s="{style}"|<v>{digits}</v>')


def yes() -> Raw:
    """Make a cell that is TRUE."""
    return Raw(' t="b"|<v>1</v>')


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A sheet of a workbook.

    Args:
        name: its name.
        rows: its cells.
        first_row: number of the first of the rows.
        first_column: column of the first cell of each row.
        row_attributes: attributes of rows by their number, such as `hidden="1"`.
        merged: merged ranges, such as `A1:A2`.
        state: `hidden` or `veryHidden`.
        type: type of its relationship.
        numbered: whether cells and rows have references.
        xml: content of the part; built from the rows if None.
    """

    name: str = "Emails"
    rows: Sequence[Sequence[str]] = ()
    first_row: int = 1
    first_column: int = 0
    row_attributes: Mapping[int, str] = field(default_factory=dict)
    merged: Collection[str] = ()
    state: str = ""
    type: str = "worksheet"
    numbered: bool = True
    xml: str | bytes | None = None

    def part(self, main: str) -> str | bytes:
        """Return the part of the sheet."""
        if self.xml is not None:
            return self.xml
        rows = "".join(
            self._row(cells, number) for number, cells in enumerate(self.rows, self.first_row)
        )
        merged = "".join(f'<mergeCell ref="{reference}"/>' for reference in self.merged)
        merged = f"<mergeCells>{merged}</mergeCells>" if merged else ""
        return f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData>{merged}</worksheet>'

    def _row(self, cells: Sequence[str], number: int) -> str:
        inside = "".join(
            _cell(cell, f' r="{column_letters(at)}{number}"' if self.numbered else "")
            for at, cell in enumerate(cells, self.first_column)
            if cell or not self.numbered
        )
        place = f' r="{number}"' if self.numbered else ""
        return f"<row{place} {self.row_attributes.get(number, '')}>{inside}</row>"


def _cell(cell: str, place: str) -> str:
    if isinstance(cell, Raw):
        attributes, _, inside = cell.partition("|")
        return f"<c{place}{attributes}>{inside}</c>"
    if not cell:
        return f"<c{place}/>"
    text = escape(cell.replace("_x", "_x005F_x"), {"\r": "_x000D_"})
    text = f'<is><t xml:space="preserve">{text}</t></is>'
    return f'<c{place} t="inlineStr">{text}</c>'


@dataclass(frozen=True, kw_only=True)
class Book:
    """A workbook.

    Args:
        tabs: its sheets.
        strings: the part with the shared strings.
        properties: elements of the workbook, such as `<workbookPr date1904="1"/>`.
        formats: number formats, by their ids.
        styles: ids of the number formats of the styles.
        strict: whether the namespaces are those of strict OOXML.
        target: the target of a sheet's relationship, with `{}` for its number.
        parts: other parts, or parts that replace those of the book; None leaves one out.
    """

    tabs: Sequence[Tab]
    strings: str | None = None
    properties: str = ""
    formats: Mapping[str, str] = field(default_factory=dict)
    styles: Sequence[str] = ("0", "14", "22", "46", "21")
    strict: bool = False
    target: str = "worksheets/sheet{}.xml"
    parts: Mapping[str, str | bytes | None] = field(default_factory=dict)

    def content(self) -> bytes:
        """Return the file."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, part in {**self._parts(), **self.parts}.items():
                if part is not None:
                    archive.writestr(name, part)
        return out.getvalue()

    def _parts(self) -> dict[str, str | bytes]:
        main = STRICT_MAIN if self.strict else MAIN
        office = STRICT_OFFICE if self.strict else OFFICE
        sheets, relations = (
            "",
            f'<Relationship Id="rS" Type="{office}/styles" Target="styles.xml"/>',
        )
        for at, tab in enumerate(self.tabs, 1):
            state = f' state="{tab.state}"' if tab.state else ""
            sheets += f'<sheet name={quoteattr(tab.name)} sheetId="{at}"{state} r:id="rId{at}"/>'
            target = self.target.format(at)
            relations += (
                f'<Relationship Id="rId{at}" Type="{office}/{tab.type}" Target="{target}"/>'
            )
        relations += f'<Relationship Id="rT" Type="{office}/sharedStrings" Target="sst.xml"/>'
        formats = "".join(
            f"<numFmt numFmtId={quoteattr(key)} formatCode={quoteattr(code)}/>"
            for key, code in self.formats.items()
        )
        styles = "".join(f'<xf numFmtId="{style}"/>' for style in self.styles)
        strings = {} if self.strings is None else {"xl/sst.xml": self.strings}
        return {
            "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}content-types">'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}relationships"><Relationship Id="rId1"'
            f' Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}">'
            f"<sheets>{sheets}</sheets>{self.properties}</workbook>",
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}relationships">'
            f"{relations}</Relationships>",
            "xl/styles.xml": f'<styleSheet xmlns="{main}"><numFmts>{formats}</numFmts>'
            f"<cellXfs>{styles}</cellXfs></styleSheet>",
            **strings,
            **{f"xl/worksheets/sheet{n}.xml": t.part(main) for n, t in enumerate(self.tabs, 1)},
        }


def shared_strings(*items: str) -> str:
    """Return the part of shared strings, each given as the content of its element."""
    strings = "".join(f"<si>{item}</si>" for item in items)
    return f'<sst xmlns="{MAIN}">{strings}</sst>'


_FAR = f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="XFD1"><v>1</v></c></row>'
_FAR += '<row r="1048576"><c r="A1048576"><v>1</v></c></row></sheetData></worksheet>'


def workbook(rows: Iterable[Sequence[str]], *, first_row: int = 1, first_column: int = 0) -> bytes:
    """Write a workbook whose first sheet begins at a cell; empty texts get no cell."""
    first = Tab(rows=tuple(rows), first_row=first_row, first_column=first_column)
    return Book(tabs=(first, Tab(name="Other", xml=_FAR))).content()
