"""Workbooks: choice of the sheet, hidden rows, merged cells, formulas, damaged files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

from bulklink.mapping.schema import HiddenRows, MappingOptions
from bulklink.models import Op
from tests.mapping.cases import COLUMNS, MappingCase
from tests.mapping.input.workbook import MAIN, Book, Raw, Tab, number, shared_strings, yes

ID = "5843104000000424163"
GOOD = [ID, "2", "m", "3"]
NAMES = [*COLUMNS, "owner_name", "deal_name"]
TABLE = [[*COLUMNS], GOOD]
TWO = [[*COLUMNS], GOOD, [ID, "2", "n", "3"]]
COVER = Tab(name="Read me", rows=[["How to use this"]])
CHART = Tab(name="Chart", type="chartsheet", xml=f'<chartsheet xmlns="{MAIN}"/>')


def _options(**options: Any) -> MappingOptions:
    return MappingOptions(op=Op.LINK, **options)


SKIP = _options(hidden_rows=HiddenRows.SKIP)
INCLUDE = _options(hidden_rows=HiddenRows.INCLUDE)


def _book(*tabs: Tab, **book: Any) -> Callable[[], bytes]:
    return Book(tabs=tabs, **book).content


def _case(*tabs: Tab, book: dict[str, Any] | None = None, **case: Any) -> MappingCase:
    return MappingCase(content=_book(*tabs, **(book or {})), name="m.xlsx", **case)


def _rows(*rows: list[str], book: dict[str, Any] | None = None, **case: Any) -> MappingCase:
    return _case(Tab(rows=[[*COLUMNS], *rows]), book=book, **case)


def _cell(cell: str, **case: Any) -> MappingCase:
    """Make a case of one cell as a contact."""
    return _rows([cell, "2", "m", "3"], **case)


def _hidden(attributes: str, *, is_hidden: bool = True) -> MappingCase:
    tab = Tab(rows=TWO, row_attributes={3: attributes})
    if not is_hidden:
        return _case(tab, messages=2)
    return _case(
        tab, error=("hides rows", "1 hidden row (3)", "--hidden-rows skip"), fixed_options=SKIP
    )


def _zip(**parts: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return out.getvalue()


def _ole(entry: str) -> bytes:
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    header[30:32], header[48:52] = (9).to_bytes(2, "little"), (1).to_bytes(4, "little")
    directory = "Root Entry\0".encode("utf-16-le") + bytes(100) + f"{entry}\0".encode("utf-16-le")
    return bytes(header) + bytes(512) + directory + bytes(512)


def _file(content: bytes, *error: str) -> MappingCase:
    return MappingCase(content=content, name="m.xlsx", error=error)


def _sheet_xml(rows: str, **case: Any) -> MappingCase:
    xml = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    return _case(Tab(xml=xml), **case)


_BARE = "".join(f'<c t="inlineStr"><is><t>{column}</t></is></c>' for column in COLUMNS)
_BARE_GOOD = "".join(f'<c t="inlineStr"><is><t>{cell}</t></is></c>' for cell in GOOD)
_PREFIXED = (
    f'<?xml version="1.0"?><x:worksheet xmlns:x="{MAIN}"><x:dimension ref="A1:XFD1048576"/>'
    "<x:sheetData>"
    + "".join(
        "<x:row>"
        + "".join(f'<x:c t="inlineStr"><x:is><x:t>{text}</x:t></x:is></x:c>' for text in cells)
        + "</x:row>"
        for cells in TABLE
    )
    + "</x:sheetData></x:worksheet>"
)
_BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'

CASES = {
    # choice of the sheet
    "cover-sheet": _case(
        COVER,
        Tab(name="July 2026", rows=TABLE),
        error=(
            "no columns",
            "sheet Read me",
            "'July 2026' has these columns",
            "--sheet 'July 2026'",
        ),
        fixed_options=_options(sheet="July 2026"),
    ),
    "cover-sheet-empty": _case(
        Tab(name="Cover"),
        Tab(name="Data", rows=TABLE),
        error=("There are no rows", "use --sheet Data"),
        fixed_options=_options(sheet="2"),
    ),
    "cover-sheet-with-headers-only": _case(
        Tab(name="Template", rows=TABLE[:1]),
        Tab(name="Data", rows=TABLE),
        error=("only a header", "use --sheet Data"),
        fixed_options=_options(sheet="data "),
    ),
    "cover-sheet-and-renamed-headers": _case(
        COVER,
        Tab(name="Data", rows=[["Person", *COLUMNS[1:]], GOOD]),
        options=_options(columns=(("contact_id", "Person"),)),
        error=("There is no header 'Person'", "use --sheet Data"),
        fixed_options=_options(columns=(("contact_id", "Person"),), sheet="Data"),
    ),
    "no-sheet-has-the-headers": _case(
        COVER,
        Tab(name="x", rows=[["y"]], state="hidden"),
        error=("no columns", "'Read me', 'x' (hidden)", "--sheet"),
    ),
    "sheet-without-the-headers-is-named": _case(
        Tab(name="Data", rows=TABLE),
        COVER,
        options=_options(sheet="Read me"),
        error=("use --sheet Data",),
        fixed_options=_options(sheet="1"),
    ),
    "several-sheets-have-the-headers": _case(
        COVER,
        Tab(name="May", rows=TABLE),
        Tab(name="June", rows=TABLE),
        error=("'May' or 'June'", "--sheet May or --sheet June"),
        fixed_options=_options(sheet="June"),
    ),
    "a-second-mapping-is-named-in-a-warning": _case(
        Tab(name="May", rows=TABLE),
        Tab(name="June", rows=TABLE),
        messages=1,
        warns=("only the sheet 'May' was read; 'June' is a mapping too",),
    ),
    "unknown-sheet": _case(
        Tab(name="July 2026", rows=TABLE),
        COVER,
        options=_options(sheet="july-2026"),
        error=("no sheet 'july-2026'", "Did you mean --sheet 'July 2026'?", "'Read me'"),
        fixed_options=_options(sheet="july 2026"),
    ),
    "sheet-number-too-high": _case(
        Tab(rows=TABLE), options=_options(sheet="2"), error=("no sheet '2'", "'Emails'")
    ),
    "sheet-number-zero": _case(
        Tab(rows=TABLE), options=_options(sheet="0"), error=("no sheet '0'",)
    ),
    "a-name-comes-before-a-number": _case(
        Tab(name="2", rows=TABLE), COVER, options=_options(sheet="2"), messages=1
    ),
    "hidden-first-sheet": _case(
        Tab(name="Old", rows=TWO, state="hidden"),
        Tab(name="New", rows=TABLE),
        messages=1,
        warns=("'Old' (hidden) skipped; the mapping is the sheet 'New'",),
    ),
    "very-hidden-first-sheet": _case(
        Tab(name="Old", rows=TWO, state="veryHidden"),
        Tab(name="New", rows=TABLE),
        messages=1,
        warns=("'Old' (hidden)",),
    ),
    "hidden-sheet-by-name": _case(
        Tab(name="New", rows=TABLE),
        Tab(name="Old", rows=TWO, state="hidden"),
        options=_options(sheet="Old"),
        messages=2,
    ),
    "numbers-count-the-tabs-that-are-shown": _case(
        Tab(name="Old", rows=TWO, state="hidden"),
        COVER,
        Tab(name="New", rows=TABLE),
        options=_options(sheet="2"),
        messages=1,
    ),
    "all-sheets-hidden": _case(
        Tab(name="Old", rows=TABLE, state="hidden"),
        error=("has no visible sheet with a table", "'Old' (hidden)", "--sheet"),
        fixed_options=_options(sheet="Old"),
    ),
    "chart-first": _case(CHART, Tab(rows=TABLE), messages=1, warns=("'Chart' (chart) skipped",)),
    "chart-by-number": _case(
        CHART,
        Tab(rows=TABLE),
        options=_options(sheet="1"),
        error=("'Chart' is a chart, not a table", "'Emails'"),
        fixed_options=_options(sheet="2"),
    ),
    "macro-sheet-first": _case(
        Tab(name="M", type="xlMacrosheet", xml="<x/>"),
        Tab(rows=TABLE),
        messages=1,
        warns=("'M' (macro or dialog sheet)",),
    ),
    # hidden rows
    "row-hidden-by-hand": _hidden('hidden="1"'),
    "row-hidden-as-libreoffice-writes-it": _hidden('customFormat="false" hidden="true"'),
    "row-in-a-collapsed-group": _hidden('outlineLevel="1" hidden="1"'),
    "row-without-height": _hidden('ht="0" customHeight="1"'),
    "row-in-an-open-group": _hidden('outlineLevel="1" collapsed="0"', is_hidden=False),
    "row-not-hidden": _hidden('hidden="0" ht="15"', is_hidden=False),
    "hidden-rows-are-counted-and-the-first-named": _case(
        Tab(
            rows=[[*COLUMNS], *([ID, "2", f"m{n}", "3"] for n in range(1200))],
            row_attributes=dict.fromkeys(range(10, 1100), 'hidden="1"'),
        ),
        error=("1,090 hidden rows (10, 11, 12, 13, 14, …)",),
    ),
    "hidden-rows-left-out": _case(
        Tab(rows=TWO, row_attributes={2: 'hidden="1"'}),
        options=SKIP,
        messages=1,
        sent={"message_id": "n", "row": 1},
        warns=("1 hidden row (2) left out",),
    ),
    "hidden-rows-included": _case(
        Tab(rows=TWO, row_attributes={2: 'hidden="1"'}), options=INCLUDE, messages=2
    ),
    "hidden-header": _case(
        Tab(rows=[["field_a", "field_b"], *TABLE], row_attributes={1: 'hidden="1"'}),
        options=SKIP,
        messages=1,
        warns=("1 hidden row (1) left out",),
    ),
    "hidden-and-empty": _case(
        Tab(rows=[*TABLE, ["", " "]], row_attributes={3: 'hidden="1"'}), messages=1
    ),
    "all-rows-hidden": _case(
        Tab(rows=TABLE, row_attributes={2: 'hidden="1"'}),
        options=SKIP,
        error=("only a header", "1 hidden row (2)", "--hidden-rows include"),
    ),
    # merged cells
    "merged-down": _case(
        Tab(rows=[[*COLUMNS], GOOD, ["", "2", "n", "3"]], merged=["A2:A3"]),
        messages=1,
        refused={2: ("merged-cell", "contact_id in cell A3 is merged with another")},
    ),
    "merged-across": _case(
        Tab(rows=[[*COLUMNS], [ID, "", "m", "3"]], merged=["A2:B2"]),
        refused={1: ("merged-cell", "owner_id in cell B2 is merged")},
    ),
    "merged-where-a-default-would-fill": _case(
        Tab(rows=[[*COLUMNS], GOOD, [ID, "", "n", "3"]], merged=["B2:B3"]),
        options=_options(defaults=(("owner_id", "7"),)),
        messages=1,
        refused={2: ("merged-cell", "owner_id in cell B3")},
    ),
    "merged-name": _case(
        Tab(rows=[NAMES, [*GOOD, "Pat", "D"], [ID, "2", "n", "3", "", "D"]], merged=["E2:E3"]),
        messages=1,
        refused={2: ("merged-cell", "owner_name in cell E3")},
    ),
    "merged-column-of-the-users-own": _case(
        Tab(rows=[[*COLUMNS, "Note"], [*GOOD, "x"], [ID, "2", "n", "3"]], merged=["E2:E3"]),
        messages=2,
    ),
    "merged-approval": _case(
        Tab(rows=[[*COLUMNS, "OK"], [*GOOD, "yes"], [ID, "2", "n", "3"]], merged=["E2:E3"]),
        options=_options(only=(("OK", "yes"),)),
        messages=1,
        refused={2: ("broken-record", "OK in cell E3 is merged")},
    ),
    "merged-where-only-leaves-out": _case(
        Tab(rows=[[*COLUMNS, "OK"], [*GOOD, "yes"], ["", "2", "n", "3", "no"]], merged=["A2:A3"]),
        options=_options(only=(("OK", "yes"),)),
        messages=1,
    ),
    "merged-title-far-below": _case(
        Tab(rows=[*TABLE, [], []], merged=["A9:D9", "A1:A1"]), messages=1
    ),
    "merged-to-the-last-row": _case(
        Tab(rows=[[*COLUMNS], GOOD, ["", "2", "n", "3"]], merged=["A2:A1048576"]),
        messages=1,
        refused={2: ("merged-cell", "cell A3")},
    ),
    # formulas
    "formula-never-computed": _cell(
        Raw("|<f>B2&amp;C2</f>"),
        refused={1: ("uncomputed-formula", "contact_id in cell A2 is a formula without a value")},
    ),
    "formula-never-computed-as-openpyxl-writes-it": _cell(
        Raw("|<f>B2</f><v/>"), refused={1: ("uncomputed-formula", "cell A2")}
    ),
    "formula-never-computed-as-xlsxwriter-writes-it": _cell(
        Raw("|<f>B2</f><v>0</v>"),
        book={"properties": '<calcPr calcId="124519" fullCalcOnLoad="1"/>'},
        refused={1: ("uncomputed-formula", "cell A2")},
    ),
    "long-formulas-do-not-cut-the-values": _rows(
        [*[Raw(f' t="str"|<f>{"A" * 400_000}</f><v>{cell}</v>') for cell in GOOD]],
        messages=1,
        sent={"contact_id": ID, "deal_id": "3"},
    ),
    "formula-that-is-zero": _cell(Raw("|<f>B2</f><v>0</v>"), messages=1, sent={"contact_id": "0"}),
    "formula-computed": _cell(
        Raw(f' t="str"|<f>B2</f><v>{ID}</v>'), messages=1, sent={"contact_id": ID}
    ),
    "formula-that-is-an-empty-text": _cell(
        Raw(' t="str"|<f>IF(1,"")</f><v></v>'), refused={1: ("missing-value", "is empty")}
    ),
    "formula-with-an-error": _cell(
        Raw(' t="e"|<f>B2</f><v>#REF!</v>'), refused={1: ("bad-id", "'#REF!'")}
    ),
    "formula-with-an-error-where-a-default-would-fill": _cell(
        Raw(' t="e"|<f>B2</f><v>#N/A</v>'),
        options=_options(defaults=(("contact_id", "7"),)),
        refused={1: ("bad-id", "'#N/A'")},
    ),
    "name-never-computed": _case(
        Tab(rows=[NAMES, [*GOOD, "Pat", Raw("|<f>A1</f>")]]),
        refused={1: ("uncomputed-formula", "deal_name in cell F2")},
    ),
    "approval-never-computed": _case(
        Tab(rows=[[*COLUMNS, "OK"], [*GOOD, Raw("|<f>A1</f>")]]),
        options=_options(only=(("OK", "yes"),)),
        refused={1: ("broken-record", "OK in cell E2 is a formula")},
    ),
    # variants of the format
    "strict": _case(Tab(rows=TABLE), book={"strict": True}, messages=1),
    "absolute-targets": _case(
        Tab(rows=TABLE), book={"target": "/xl/worksheets/sheet{}.xml"}, messages=1
    ),
    "backslashes-and-capitals": _case(
        Tab(rows=TABLE), book={"target": "Worksheets\\Sheet{}.XML"}, messages=1
    ),
    "cells-without-references": _case(Tab(rows=TABLE, numbered=False), messages=1),
    "some-cells-without-references": _sheet_xml(
        f'<row r="5">{_BARE}</row><row>{_BARE_GOOD}</row>', messages=1
    ),
    "prefixed-elements-and-a-huge-dimension": _case(Tab(xml=_PREFIXED), messages=1),
    "utf-16": _case(
        Tab(xml=_PREFIXED.replace("?>", ' encoding="UTF-16"?>', 1).encode("utf-16")), messages=1
    ),
    "shared-strings-in-runs-with-phonetics": _rows(
        [Raw(' t="s"|<v>0</v>'), "2", "m", Raw(' t="s"|<v>1</v>')],
        book={
            "strings": shared_strings(
                "<r><rPr/><t>5843</t></r><r><t>104</t></r><rPh sb='0' eb='1'><t>99</t></rPh>",
                "<t>_x0033_</t>",
            )
        },
        messages=1,
        sent={"contact_id": "5843104", "deal_id": "3"},
    ),
    "inline-string-in-runs": _cell(
        Raw(' t="inlineStr"|<is><r><t>58</t></r><r><t>43</t></r></is>'),
        messages=1,
        sent={"contact_id": "5843"},
    ),
    "iso-date": _cell(
        Raw(' t="d"|<v>2026-07-01T00:00:00</v>'), refused={1: ("bad-id", "'2026-07-01'")}
    ),
    "custom-date": _cell(
        number("45000", "1"),
        book={"formats": {"164": 'yyyy\\-mm"x"'}, "styles": ("0", "164")},
        refused={1: ("bad-id", "'2023-03-15'")},
    ),
    "date-from-1904": _cell(
        number("43538", "1"),
        book={"properties": '<workbookPr date1904="1"/>'},
        refused={1: ("bad-id", "'2023-03-15'")},
    ),
    "coloured-number-is-not-a-date": _cell(
        number("45000", "1"),
        book={"formats": {"164": '[Red]0" days"'}, "styles": ("0", "164")},
        messages=1,
        sent={"contact_id": "45000"},
    ),
    "true": _cell(yes(), refused={1: ("bad-id", "'TRUE'")}),
    "16-digits": _cell(number("5843104000000424"), refused={1: ("rounded-id", "cell A2")}),
    "note-next-to-the-table": _case(Tab(rows=[[*COLUMNS], [*GOOD, "", "", "seen"]]), messages=1),
    "table-in-the-middle": _case(
        Tab(rows=TABLE, first_row=12, first_column=30), messages=1, sent={"contact_id": ID}
    ),
    # damaged
    "shared-string-missing": _cell(
        Raw(' t="s"|<v>7</v>'),
        book={"strings": shared_strings("<t>x</t>")},
        error=("no shared string 7", "save it again"),
    ),
    "shared-string-negative": _cell(
        Raw(' t="s"|<v>-1</v>'),
        book={"strings": shared_strings("<t>x</t>")},
        error=("no shared string",),
    ),
    "endless-header": _case(
        Tab(rows=[[*COLUMNS, *[Raw(' t="s"|<v>0</v>')] * 3], GOOD]),
        book={"strings": shared_strings(f"<t>{'x' * 1_000_000}</t>")},
        error=("header in row 1 is too long",),
    ),
    "rows-out-of-order": _sheet_xml(
        '<row r="5"/><row r="4"/>', error=("row 4 is out of order", "save it again")
    ),
    "cell-beyond-the-last-column": _sheet_xml(
        '<row><c r="XFE1"><v>1</v></c></row>', error=("cell in column 'XFE'",)
    ),
    "entities": _case(
        Tab(xml=f"{_BOMB}<worksheet xmlns='{MAIN}'>&b;</worksheet>"), error=("it has a DTD",)
    ),
    "not-well-formed": _sheet_xml("<row>", error=("not well-formed", "save it again")),
    "sheet-missing": _case(
        Tab(rows=TABLE),
        book={"parts": {"xl/worksheets/sheet1.xml": None}},
        error=("the sheet 'Emails' is missing",),
    ),
    "another-sheet-is-damaged": _case(
        Tab(rows=TABLE),
        Tab(name="x", xml="<row>"),
        Tab(name="y", rows=[[Raw(' t="s"|<v>9</v>')]]),
        messages=1,
    ),
    "too-many-parts": _case(
        Tab(rows=TABLE),
        book={"parts": {f"xl/worksheets/unused/{n:060}": "" for n in range(40_000)}},
        error=("too many files to search",),
    ),
    "no-list-of-sheets": _case(
        Tab(rows=TABLE), book={"parts": {"xl/workbook.xml": None}}, error=("no list of sheets",)
    ),
    # not .xlsx
    "xls": _file(_ole("Workbook"), "an old .xls workbook, which", "save it as .xlsx"),
    "encrypted": _file(_ole("EncryptedPackage"), "protected by a password", "without a password"),
    "word-97": _file(_ole("WordDocument"), "an old Word document"),
    "other-ole": _file(_ole("x"), "an old .xls workbook or one with a password"),
    "xlsb": _file(_zip(xl__workbook_bin="x"), "an .xlsb workbook", "save it as .xlsx"),
    "ods": _file(_zip(mimetype="x", content_xml="x"), "such as .ods", ".xlsx"),
    "docx": _file(_zip(word__document_xml="x"), "a Word document"),
    "web-page": _file(b"\xef\xbb\xbf <html><table>", "an HTML page", "as CSV"),
    "noise": _file(b"\x01\x02" * 300, "neither text nor in a known format"),
}
