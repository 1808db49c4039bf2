"""Workbooks made to fill memory or disk: read in little memory, or refused first."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.mapping.cases import COLUMNS
from tests.mapping.input.workbook import MAIN, Book, Tab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Memory of a process that reads a workbook, above what it takes to start.
MAX_MEGABYTES = 80
#: Size of the repeated part.
MEGABYTES = 6
_START = f'<worksheet xmlns="{MAIN}"><dimension ref="A1:XFD1048576"/><sheetData><row>' + "".join(
    f'<c t="inlineStr"><is><t>{column}</t></is></c>' for column in COLUMNS
)
_END = "</sheetData></worksheet>"
_NUMBER = "<c><v>1</v></c>"
_GOOD = "<c><v>1</v></c><c><v>2</v></c><c t='s'><v>0</v></c><c><v>3</v></c>"
_STRINGS = f'<sst xmlns="{MAIN}"><si><t>m</t></si>'
_MEGABYTE = 1 << 20
_Pieces = tuple[str, str, str]
_READ = """
import sys, tempfile
from pathlib import Path
from bulklink.errors import BulklinkError
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.input.prepare import prepare_input
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.schema import MappingOptions

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024

before = peak()
source = find_sources([sys.argv[1]])[0]
with tempfile.TemporaryDirectory(dir=Path(sys.argv[1]).parent) as folder:
    try:
        prepared = prepare_input(
            source,
            MappingOptions(op=None),
            Path(folder),
            sys.stdin.buffer,
            PlanningStop(),
            "512MB",
        )
        result = f"{prepared.input.records} records"
    except BulklinkError as error:
        result = str(error).replace("\\n", " ")
    left = len(list(Path(folder).iterdir()))
print(peak() - before, left, result)
"""


def _repeat(text: str, megabytes: int) -> Iterator[bytes]:
    """Yield a text until it fills this many megabytes."""
    block = (text * max(1, _MEGABYTE // len(text))).encode()
    for _ in range(megabytes):
        yield block


def _rows(inside: str) -> list[str]:
    return [f"{_START}</row>", inside, _END]


#: What a sheet and its shared strings begin with, repeat and end with, and what comes of it.
HOSTILE: dict[str, tuple[_Pieces, _Pieces | None, str]] = {
    "empty-cells": ((_START, "<c/>" * 1000 + "</row><row>", "</row>" + _END), None, "0 records"),
    "shared-strings": (
        (_START + "</row><row>", "", _GOOD + "</row>" + _END),
        (_STRINGS, "<si><t>5843104000000424162 and some more</t></si>", "</sst>"),
        "1 records",
    ),
    "empty-shared-strings": (
        (_START + "</row><row>", "", _GOOD + "</row>" + _END),
        (_STRINGS, "<si/>", "</sst>"),
        "1 records",
    ),
    "one-endless-shared-string": (
        (_START + "</row><row>", "", _GOOD + "</row>" + _END),
        (_STRINGS + "<si><t>", "x", "</t></si></sst>"),
        "1 records",
    ),
    "endless-cell": (
        (_START + '</row><row><c t="str"><v>', "x", "</v></c></row>" + _END),
        None,
        "1 records",
    ),
    "deep": ((_START + "</row>", "<a>", ""), None, "nested too deeply"),
    "endless-tag": ((_START + '</row><row x="', "x", '"/>' + _END), None, "overlong tag"),
    "endless-comment": ((_START + "</row><!--", "x", "-->" + _END), None, "overlong"),
    "whitespace": ((_START + "</row><row>", " \n", _NUMBER + "</row>" + _END), None, "1 records"),
    "dtd": (("<!DOCTYPE a [", '<!ENTITY a "x">', "]>" + _START + "</row>" + _END), None, "a DTD"),
    "merged": (
        (_START + f"</row><row>{_NUMBER}</row>", '<mergeCell ref="A1:A2"/>', _END),
        None,
        "more than 100,000 merged ranges",
    ),
    "cells-at-the-edge": (
        (_START + "</row>", '<row><c r="XFD0"><v>1</v></c></row>', _END),
        None,
        "records",
    ),
}  # fmt: skip


def _write(path: Path, sheet: Iterator[bytes], strings: Iterator[bytes] | None) -> None:
    content = Book(tabs=[Tab(xml="")], strings=None).content()
    parts = {"xl/worksheets/sheet1.xml": sheet} | ({"xl/sst.xml": strings} if strings else {})
    with (
        zipfile.ZipFile(io.BytesIO(content)) as template,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name in template.namelist():
            if name not in parts:
                archive.writestr(name, template.read(name))
        for name, blocks in parts.items():
            with archive.open(name, "w", force_zip64=True) as part:
                for block in blocks:
                    part.write(block)


def _pieces(pieces: _Pieces, megabytes: int) -> Iterator[bytes]:
    start, repeated, end = pieces
    yield start.encode()
    if repeated:
        yield from _repeat(repeated, megabytes)
    yield end.encode()


def read_in_a_process(path: Path) -> tuple[int, int, str]:
    """Return the megabytes used to read a workbook, the files left, and the outcome."""
    result = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], capture_output=True, text=True, check=True
    )
    megabytes, left, outcome = result.stdout.strip().split(" ", 2)
    return int(megabytes), int(left), outcome


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as on Linux")
@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_workbook_takes_little_memory(tmp_path: Path, name: str) -> None:
    sheet, strings, outcome = HOSTILE[name]
    path = tmp_path / "hostile.xlsx"
    _write(path, _pieces(sheet, MEGABYTES), _pieces(strings, MEGABYTES) if strings else None)
    megabytes, left, planned = read_in_a_process(path)
    assert outcome in planned
    assert megabytes < MAX_MEGABYTES
    assert left <= 1  # the rows, as they are staged
