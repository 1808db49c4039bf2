"""First sheet of an .xlsx workbook; numbers as far as they can be trusted."""

from __future__ import annotations

import datetime as dt
import re
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import python_calamine

from bulklink.blocking import blocks
from bulklink.errors import BadFileError
from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.interrupt import PlanningStop

SheetCell = str | float | bool | dt.date | dt.time | dt.timedelta

#: A spreadsheet keeps 15 digits of a number.
_FIRST_ROUNDED = 10**15
#: The reader holds a sheet in memory, from its first cell to its last, at 30 bytes a cell or more.
MAX_CELLS = 20_000_000
_BLOCK_BYTES = 1 << 20
_OVERLAP = 64
_REFERENCE = re.compile(rb"""\sr=["']([A-Z]{0,7})([0-9]{1,19})["']""")
_PROTECTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_RELATION = "{*}Relationship"
_SHEET_ID = re.compile(r"\{.*relationships\}id")


class Sheet:
    """First sheet of a workbook, held in memory.

    Args:
        content: the input.
        stop: stops the work.

    Raises:
        BadFileError: if it is not a workbook, is damaged or protected, or its sheet is too large.
    """

    def __init__(self, content: InputContent, stop: PlanningStop) -> None:
        blocks("loading a workbook")
        self._name = name = content.source.name
        with _translate_errors(name):
            _refuse_protected(content.path, name)
            _refuse_too_large(content.path, name, stop)
            # Of a path, the reader would take only what is UTF-8.
            with content.path.open("rb") as file:
                workbook = python_calamine.CalamineWorkbook.from_filelike(file)
            self._sheet = workbook.get_sheet_by_index(0)

    @property
    def first_column(self) -> int:
        """Index of the column of the first cell of every row, from 0."""
        start = self._sheet.start
        return start[1] if start else 0

    def rows(self) -> Iterator[tuple[int, list[SheetCell]]]:
        """Yield the rows that are not empty, each with its number in the sheet."""
        with _translate_errors(self._name):
            for number, cells in enumerate(self._sheet.iter_rows(), 1):
                if any(not isinstance(cell, str) or cell.strip() for cell in cells):
                    yield number, cells


def column_letters(column: int) -> str:
    """Return the letters of a column, from 0, as in a spreadsheet."""
    name = ""
    while column >= 0:
        column, letter = divmod(column, 26)
        name = chr(ord("A") + letter) + name
        column -= 1
    return name


def sheet_cell_text(cell: SheetCell) -> tuple[str, str]:
    """Convert a cell to its kind, as those of JSON values, and its text."""
    if isinstance(cell, str):
        return "", cell
    if isinstance(cell, bool):
        return OTHER_CELL, str(cell).upper()
    if isinstance(cell, int | float):
        if abs(cell) < _FIRST_ROUNDED and cell == int(cell):
            return "", str(int(cell))
        return FLOAT_CELL, repr(float(cell))
    if isinstance(cell, dt.datetime):
        return OTHER_CELL, cell.isoformat(" ")
    return OTHER_CELL, str(cell)


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except python_calamine.PasswordError:
        raise _protected(name) from None
    except (
        python_calamine.CalamineError,
        zipfile.BadZipFile,
        zlib.error,
        ET.ParseError,
        ValueError,
        KeyError,
        EOFError,
        NotImplementedError,
        RuntimeError,
    ):
        raise _broken(name) from None
    except BaseException as error:
        # A panic of the reader's Rust code is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise _broken(name) from None


def _broken(name: str) -> BadFileError:
    return BadFileError(
        "The workbook cannot be read: it is damaged, or is none.",
        where=name,
        advice="Open it and save it again as .xlsx, or as CSV.",
    )


def _protected(name: str) -> BadFileError:
    return BadFileError(
        "The workbook is protected by a password, or of the old .xls kind.",
        where=name,
        advice="Save it without a password as .xlsx, or as CSV.",
    )


def _refuse_protected(path: Path, name: str) -> None:
    with path.open("rb") as file:
        if file.read(len(_PROTECTED)) == _PROTECTED:
            raise _protected(name)


def _refuse_too_large(path: Path, name: str, stop: PlanningStop) -> None:
    """Refuse a sheet that does not fit into memory, such as one with a stray cell far away."""
    rows, columns = 0, b"A"
    with zipfile.ZipFile(path) as archive:
        for block in _blocks(archive):
            stop.check()
            for column, row in _REFERENCE.findall(block):
                rows = max(rows, int(row))
                columns = max(columns, column, key=lambda name: (len(name), name))
    if rows * _number(columns) > MAX_CELLS:
        raise BadFileError(
            f"The sheet reaches to cell {columns.decode()}{rows}: that is more than can be read.",
            where=name,
            advice="Delete what stands far off, or save it as CSV.",
        )


def _blocks(archive: zipfile.ZipFile) -> Iterator[bytes]:
    """Read the first sheet, or all if it is unknown, in overlapping blocks."""
    for part in _first_sheets(archive):
        with archive.open(part) as sheet:
            carried = b""
            while block := sheet.read(_BLOCK_BYTES):
                yield carried + block
                carried = block[-_OVERLAP:]


def _number(column: bytes) -> int:
    number = 0
    for letter in column:
        number = number * 26 + letter - ord("A") + 1
    return number


def _first_sheets(archive: zipfile.ZipFile) -> list[str]:
    """Return the part of a workbook with its first sheet, or all sheets if it is unknown."""
    parts = archive.namelist()
    if "xl/workbook.xml" in parts and "xl/_rels/workbook.xml.rels" in parts:
        first = _parsed(archive, "xl/workbook.xml").find("{*}sheets/{*}sheet")
        ids = () if first is None else first.items()
        relation_id = next((text for key, text in ids if _SHEET_ID.fullmatch(key)), None)
        for relation in _parsed(archive, "xl/_rels/workbook.xml.rels").iterfind(_RELATION):
            target = relation.get("Target", "")
            part = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            if relation.get("Id") == relation_id and part in parts:
                return [part]
    return [part for part in parts if "/worksheets/" in part and part.endswith(".xml")]


def _parsed(archive: zipfile.ZipFile, part: str) -> ET.Element:
    return ET.fromstring(archive.read(part))  # noqa: S314
