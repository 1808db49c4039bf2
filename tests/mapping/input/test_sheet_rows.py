"""Rows of a worksheet are the same however its part is written and cut into blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.mapping.input.plain_elements import ELEMENT, FIELD_END, shorten_cells
from bulklink.mapping.input.sheet_rows import SheetRow, WorksheetRows
from bulklink.spreadsheet_grid import column_letters
from tests.mapping.input.workbook import MAIN, STRICT_MAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT = st.text("ab 1_x0041\r\n\u00e4\u4e00\uf8fe\uf8ff\U0001f600]", max_size=8)
_ATTRIBUTES = st.sampled_from(["", ' s="4"', ' t="str"', ' s="1" t="s"', ' t="inlineStr"'])
_VALUES = st.sampled_from(
    [
        "<v>{}</v>",
        "<is><t>{}</t></is>",
        '<is><t xml:space="preserve">{}</t></is>',
        "<is><r><t>{}</t></r><rPh><t>x</t></rPh></is>",
        "<f>A1</f><v>{}</v>",
        "<v><![CDATA[{}]]></v>",
        "<v>&lt;{}&#65;</v>",
        "<!-- <c><v>1</v></c> --><v>{}</v>",
    ]
)
_CELL = st.tuples(_ATTRIBUTES, _VALUES, _TEXT)
_ROW = st.lists(st.one_of(st.none(), _CELL), max_size=6)


def _sheet(rows: list[list[tuple[str, str, str] | None]], main: str, space: str) -> bytes:
    text = f'<?xml version="1.0" encoding="UTF-8"?><worksheet xmlns="{main}"><sheetData>'
    for number, row in enumerate(rows, 1):
        text += f'<row r="{number}">{space}'
        for at, cell in enumerate(row):
            if cell is not None:
                attributes, value, inside = cell
                inside = value.format(inside.replace("]]", ""))
                text += f'<c r="{column_letters(at)}{number}"{attributes}>{inside}</c>{space}'
        text += f"</row>{space}"
    return f"{text}</sheetData></worksheet>".encode()


def _blocks(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def _read(content: bytes, size: int) -> list[SheetRow]:
    return list(WorksheetRows(_blocks(content, size)))


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(_ROW, max_size=5),
    main=st.sampled_from([MAIN, STRICT_MAIN]),
    space=st.sampled_from(["", "\n  "]),
    size=st.integers(20, 400),
)
def test_plain_cells_are_read_as_the_parser_reads_them(
    rows: list[list[tuple[str, str, str] | None]], main: str, space: str, size: int
) -> None:
    """A block of a few bytes holds no whole cell, so all cells are left to the parser."""
    content = _sheet(rows, main, space)
    expected = _read(content, 7)
    assert _read(content, len(content)) == expected
    assert _read(content, size) == expected


def test_a_plain_cell_is_left_to_the_parser_if_its_bytes_are_ambiguous() -> None:
    cell = b'<c r="A1"><v>1</v></c>'
    start = f'<worksheet xmlns="{MAIN}">'.encode()
    latin = b'<?xml version="1.0" encoding="ISO-8859-1"?>' + start
    for blocks in (
        [latin, cell],
        [b'<worksheet xmlns="other">', cell],
        [start, b"<v><![CDATA[" + cell],
        [start + b"<v><", b"![CDATA[", cell],
    ):
        assert list(shorten_cells(blocks)) == blocks


def test_private_use_marks_in_a_row_are_damage() -> None:
    """Only a malicious sheet contains them."""
    text = f'<worksheet xmlns="{MAIN}"><row>{ELEMENT}A{FIELD_END}</row></worksheet>'
    try:
        rows = _read(text.encode(), 1 << 16)
    except ValueError:
        return
    assert rows == []
