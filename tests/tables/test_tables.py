"""Tables can be read back exactly, in every format."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import stat
import sys
from pathlib import Path
from zipfile import ZipFile

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

from bulklink.errors import RunDirError, UsageError
from bulklink.spreadsheet_cells import ESCAPED_HEADER, escape_cell, has_escaped_cells, unescape_cell
from bulklink.tables import (
    Cell,
    FileType,
    TableColumn,
    TableFile,
    TableFormat,
    format_for,
    stream_table,
    write_table,
    write_tables,
    xlsx,
)

ROUGH = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COLUMNS = (
    TableColumn("message id", is_id=True),
    TableColumn("Note"),
    TableColumn("row", is_number=True),
)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.none() | st.integers(0, 10**9)), max_size=8)


def write_rows(path: Path, rows: list[tuple[Cell, ...]], *, spreadsheet: bool = False) -> Path:
    with write_table(path, format_for(path.name, spreadsheet=spreadsheet), COLUMNS) as table:
        table.write(rows[:1])
        table.write(rows[1:])
    return path


@ROUGH
@given(rows=ROWS, packed=st.booleans())
def test_csv_holds_every_text(
    tmp_path: Path, rows: list[tuple[Cell, ...]], *, packed: bool
) -> None:
    path = write_rows(tmp_path / ("t.csv.gz" if packed else "t.csv"), rows)
    content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    table = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    assert table[0] == ["message id", "Note", "row"]
    assert table[1:] == [["" if c is None else str(c) for c in row] for row in rows]


@ROUGH
@given(rows=ROWS)
def test_jsonl_and_parquet_hold_every_text_and_numbers(
    tmp_path: Path, rows: list[tuple[Cell, ...]]
) -> None:
    lines = write_rows(tmp_path / "t.jsonl", rows).read_bytes().splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == rows
    path = write_rows(tmp_path / "t.parquet", rows)
    with duckdb.connect() as connection:
        cursor = connection.execute("SELECT * FROM read_parquet($1)", [str(path)])
        assert [column[0] for column in cursor.description or []] == ["message id", "Note", "row"]
        assert cursor.fetchall() == rows


@ROUGH
@given(rows=st.lists(st.tuples(TEXT, TEXT, st.integers(0, 10**9)), max_size=8))
def test_a_workbook_has_text_cells(tmp_path: Path, rows: list[tuple[str, str, int]]) -> None:
    rows = [(f"={note}", f"{'0' * 3}{n}", n) for note, _, n in rows if note.isprintable()]
    path = write_rows(tmp_path / "t.xlsx", [*rows])
    table = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()
    assert [tuple(row) for row in table] == [("message id", "Note", "row"), *rows]


@pytest.mark.parametrize(
    ("text", "xml"),
    [
        ("a & <b>", ">a &amp; &lt;b&gt;<"),
        (" a\n", ' xml:space="preserve"> a\n<'),
        ("a\x01b\r\ufffe", ">a_x0001_b_x000D__xFFFE_<"),
        ("_x0041_ _x", ">_x005F_x0041_ _x<"),
        ("tab\tnew\nline", ">tab\tnew\nline<"),
    ],
)
def test_a_text_cell_is_escaped(tmp_path: Path, text: str, xml: str) -> None:
    path = write_rows(tmp_path / "t.xlsx", [(text, "", 1)])
    sheet = ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    assert xml in sheet
    assert CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()


def test_the_columns_of_a_sheet_are_named_by_letters(tmp_path: Path) -> None:
    columns = [TableColumn(f"c{n}", is_number=True) for n in range(703)]
    path = tmp_path / "t.xlsx"
    with write_table(path, format_for(str(path)), columns) as table:
        table.write([range(703)])
    sheet = ZipFile(path).read("xl/worksheets/sheet1.xml").decode()
    for cell in ('"A2"><v>0<', '"Z2"><v>25<', '"AA2"><v>26<', '"ZZ2"><v>701<', '"AAA2"><v>702<'):
        assert cell in sheet
    assert CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()[1][702] == 702


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx"])
def test_a_file_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, suffix: str) -> None:
    path = write_rows(tmp_path / ("n" * (255 - len(suffix)) + suffix), [("a", "b", 1)])
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_private_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    for name in ("t.csv", "t.jsonl.gz", "t.parquet", "t.xlsx"):
        path = write_rows(tmp_path / name, [("a", "b", 1)])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 or sys.platform == "win32"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl.gz", "t.parquet", "t.xlsx"])
def test_an_incomplete_table_leaves_the_existing_file_unchanged(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("as it was")
    with pytest.raises(LookupError), write_table(path, format_for(name), COLUMNS) as table:
        table.write([("a", "b", 1)])
        raise LookupError
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "kind", "spreadsheet"),
    [
        ("t", None, False),
        ("t.txt", None, False),
        ("t.parquet.gz", None, False),
        ("t.xlsx.gz", None, False),
        ("-", "xlsx", False),
        ("t.jsonl", None, True),
    ],
)
def test_a_name_without_a_supported_suffix_is_refused(
    name: str, kind: str | None, *, spreadsheet: bool
) -> None:
    with pytest.raises(UsageError):
        format_for(name, kind, spreadsheet=spreadsheet)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("t.CSV", None, "csv"),
        ("t.csv", "jsonl", "csv"),
        ("t.dat", "jsonl", "jsonl"),
        ("t.gz", "csv", "csv"),
        ("-", None, "csv"),
        ("-", "jsonl", "jsonl"),
    ],
)
def test_the_format_argument_applies_to_a_name_without_a_suffix(
    name: str, kind: str | None, expected: str
) -> None:
    assert format_for(name, kind).file_type == expected


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="no such folder"),
        write_table(tmp_path / "none" / "t.csv", format_for("t.csv"), COLUMNS),
    ):
        pass


def test_a_full_sheet_is_an_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx, "MAX_SHEET_ROWS", 3)
    with pytest.raises(UsageError, match="no more than 3 rows") as refused:
        write_rows(tmp_path / "t.xlsx", [("a", "b", 1)] * 4)
    assert ".csv" in refused.value.advice
    with pytest.raises(UsageError, match="row 1 has more than"):
        write_rows(tmp_path / "t.xlsx", [("a" * 40_000, "b", 1)])


@given(cell=TEXT | st.from_regex(r"'*[-=+@\t\r]?[0-9]{0,20}", fullmatch=True), ident=st.booleans())
def test_an_escaped_cell_is_harmless_and_can_be_unescaped(cell: str, *, ident: bool) -> None:
    safe = escape_cell(cell, is_id=ident)
    assert unescape_cell(safe) == cell
    assert safe == f'="{cell}"' or not safe.startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize(
    ("cell", "ident", "escaped"),
    [
        ("5843104000000424162", False, '="5843104000000424162"'),
        ("00123", False, '="00123"'),
        ("123", False, "123"),
        ("123", True, '="123"'),
        ("8937fb4a", True, '="8937fb4a"'),
        ("=1+1", True, "'=1+1"),
        ("-10 %", False, "'-10 %"),
        ("'=1+1", False, "''=1+1"),
        ("'tis", False, "'tis"),
        ("Müller", False, "Müller"),
    ],
)
def test_a_cell_is_escaped_for_a_spreadsheet(cell: str, escaped: str, *, ident: bool) -> None:
    assert escape_cell(cell, is_id=ident) == escaped


@ROUGH
@given(rows=ROWS)
def test_csv_for_a_spreadsheet_is_marked_and_can_be_read_back(
    tmp_path: Path, rows: list[tuple[Cell, ...]]
) -> None:
    content = write_rows(tmp_path / "t.csv", rows, spreadsheet=True).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    header, *table = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert header[-1] == ESCAPED_HEADER
    assert has_escaped_cells(header)
    restored = [tuple(unescape_cell(cell) for cell in row[:-1]) for row in table]
    assert restored == [tuple("" if c is None else str(c) for c in row) for row in rows]


def test_a_table_is_written_to_a_stream_that_stays_open() -> None:
    stream = io.BytesIO()
    with stream_table(stream, format_for("-"), COLUMNS) as table:
        table.write([("a", None, 1)])
    assert stream.getvalue() == b"message id,Note,row\r\na,,1\r\n"


class _FullDisk(io.BytesIO):
    """A stream to a full disk."""

    def write(self, content: object, /) -> int:
        del content
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["-", "t.csv.gz", "t.jsonl"])
def test_a_stream_that_cannot_be_written_is_a_clear_error(name: str) -> None:
    with (
        pytest.raises(RunDirError, match="No space") as refused,
        stream_table(_FullDisk(), format_for(name), COLUMNS) as table,
    ):
        table.write([("a", "b", 1)])
    assert refused.value.where == "standard output"


def test_several_tables_appear_together_or_not_at_all(tmp_path: Path) -> None:
    """The second one fails at its end, when the first is already complete."""
    columns = (TableColumn("a"),)
    first = TableFile(tmp_path / "a.csv", TableFormat(FileType.CSV), columns)
    second = TableFile(tmp_path / "b.xlsx", TableFormat(FileType.XLSX), columns)
    (tmp_path / "a.csv").write_text("mine")
    with pytest.raises(UsageError), write_tables([first, second]) as (table, sheet):
        table.write([("1",)])
        sheet.write([("x" * 40_000,)])
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "mine"
    with write_tables([first, second]) as (table, sheet):
        table.write([("1",)])
        sheet.write([("2",)])
    assert (tmp_path / "a.csv").read_text().split() == ["a", "1"]
    assert (tmp_path / "b.xlsx").exists()
