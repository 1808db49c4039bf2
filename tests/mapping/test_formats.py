"""All formats: the same rows, reusable rejects, hashes, memory limits."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulklink.errors import BadFileError, RunDirError
from bulklink.mapping.original_rows import load_user_columns, stream_mapping_rows
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.cases.packed import zip_of
from tests.mapping.cases.parquet import parquet_of, parquet_of_cells
from tests.mapping.planner import LINK, MappingPlanner, as_csv, as_jsonl

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COLUMNS = ("contact_id", "owner_id", "message_id", "deal_id", "Note")
ROWS = (
    ("5843104000000424163", "2", "a", "5", 'x, "y"'),
    ("bad", "2", "b", "5", "z"),
    ("5843104000000424164", "2", "c", "5", "line\nbreak"),
    ("", "2", "d", "5", ""),
    ("5843104000000424165", "2", "a", "5", "'"),
)


def _indented(rows: Sequence[Sequence[str]]) -> bytes:
    return json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows], indent=1).encode()


def _parquet(rows: Sequence[Sequence[str]]) -> bytes:
    return parquet_of_cells(COLUMNS, rows)


def _csv(rows: Sequence[Sequence[str]], **dialect: Any) -> bytes:
    return as_csv(COLUMNS, rows, **dialect).encode()


FORMATS: dict[str, tuple[Callable[[Sequence[Sequence[str]]], bytes], MappingOptions]] = {
    "csv": (_csv, LINK),
    "csv-with-cr": (lambda rows: _csv(rows, lineterminator="\r", quoting=csv.QUOTE_ALL), LINK),
    "csv-in-apostrophes": (
        lambda rows: _csv(rows, quotechar="'"),
        MappingOptions(op=Op.LINK, quote="'"),
    ),
    "csv-with-a-title": (
        lambda rows: b"Title\n\n" + _csv(rows),
        MappingOptions(op=Op.LINK, skip_lines=2),
    ),
    "jsonl": (lambda rows: as_jsonl(COLUMNS, rows).encode(), LINK),
    "json": (_indented, LINK),
    "json-in-data": (lambda rows: b'{"data":' + _indented(rows) + b',"info":{}}', LINK),
    "parquet": (_parquet, LINK),
    "zip": (lambda rows: zip_of({"m.csv": _csv(rows)}), LINK),
    "gzip": (lambda rows: gzip.compress(_indented(rows)), LINK),
}
every_format = pytest.mark.parametrize(("encode", "options"), FORMATS.values(), ids=list(FORMATS))


@every_format
def test_refused_rows_of_every_format_are_a_valid_mapping(
    planner: MappingPlanner,
    encode: Callable[[Sequence[Sequence[str]]], bytes],
    options: MappingOptions,
) -> None:
    content = encode(ROWS)
    planned = planner.plan(content, options, "m")
    assert (planned.rows, planned.messages) == (5, 3)
    assert [row["bulklink_row"] for row in planned.rejects] == ["2", "4"]
    text = (planner.folder / "rejects.csv").read_text("utf-8")
    fixed = text.replace("bad", "1").replace("\n,2,d", "\n1,2,d")
    again = planner.plan(fixed, LINK, "again.csv")
    assert (again.rejected, again.messages) == (0, 2)
    assert [(row["message_id"], row["Note"]) for row in again.plan] == [("b", "z"), ("d", "")]


@every_format
def test_the_users_columns_of_every_format_keep_their_order(
    planner: MappingPlanner,
    encode: Callable[[Sequence[Sequence[str]]], bytes],
    options: MappingOptions,
) -> None:
    planned = planner.plan(encode(ROWS), options, "m")
    assert len(planned.rejects) == 2
    plan = planned.sealed.path
    columns = load_user_columns(plan)
    rows = stream_mapping_rows(
        plan,
        planner.folder / "rejects.csv",
        columns,
        planner.scratch / "spill",
        {2, 4}.__contains__,
    )
    cells = [tuple(cell or "" for cell in row.cells) for row in rows]
    assert cells == [tuple(row) for row in ROWS]


@every_format
def test_the_hash_of_an_input_is_that_of_its_original_bytes(
    planner: MappingPlanner,
    encode: Callable[[Sequence[Sequence[str]]], bytes],
    options: MappingOptions,
) -> None:
    content = encode(ROWS)
    (input_file,) = planner.check([planner.write(content, "m")], options).inputs
    assert (input_file.sha256, input_file.bytes) == (
        hashlib.sha256(content).hexdigest(),
        len(content),
    )


@every_format
def test_standard_input_may_have_any_format(
    planner: MappingPlanner,
    encode: Callable[[Sequence[Sequence[str]]], bytes],
    options: MappingOptions,
) -> None:
    planned = planner.plan_files(["-"], options, standard_input=io.BytesIO(encode(ROWS)))
    assert (planned.rows, planned.messages) == (5, 3)


def test_records_of_parquet_have_a_row_and_no_line(planner: MappingPlanner) -> None:
    first = planner.write(_csv(ROWS[:1]), "a.csv")
    second = planner.write(_parquet(ROWS[1:]), "b.parquet")
    planned = planner.plan_files([first, second])
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == [
        (1, 2),
        (3, None),
        (5, None),
    ]
    assert [(fault.row, fault.line) for fault in planned.faults] == [(2, None), (4, None)]
    assert [row["bulklink_line"] for row in planned.rejects] == ["", ""]


def test_row_groups_beyond_the_memory_limit_are_refused(planner: MappingPlanner) -> None:
    content = parquet_of(
        "SELECT 1 AS contact_id, 2 AS owner_id, n AS message_id, 3 AS deal_id,"
        " repeat(md5(n::VARCHAR), 3000) AS Note FROM range(2000) AS r(n)"
    )
    name = planner.write(content, "m.parquet")
    with pytest.raises((BadFileError, RunDirError)) as raised:
        planner.plan_files([name], memory="20MB")
    assert "memory" in raised.value.advice
    assert planner.plan_files([name], memory="1GB").messages == 2000


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ('[{"message_id":"', '"}]'),
        ('{"data":[{"message_id":"', '"}]}'),
        ('[{"l":[', "0]}]"),
        ('{"message_id":\n"', '"}'),
        ('{"info":"', '","data":[{"message_id":"m"}]}'),
    ],
    ids=["string", "in-data", "list", "object-over-lines", "next-to-the-rows"],
)
def test_a_giant_json_value_is_skipped_in_little_memory(
    planner: MappingPlanner, begin: str, end: str
) -> None:
    path = planner.folder / "m.json"
    filler = b"1234567," * (1 << 17)
    with path.open("wb") as file:
        file.write(begin.encode())
        for _ in range(40):
            file.write(filler)
        file.write(end.encode())
    tracemalloc.start()
    with suppress(BadFileError):
        planner.plan_files([str(path)], MappingOptions(op=Op.UNLINK), memory="80MB")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16_000_000


def test_a_zip_with_a_huge_file_list_is_refused(planner: MappingPlanner) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(6000):
            archive.writestr(f"{number:0200}.csv", b"")
    with pytest.raises(BadFileError, match="too many files to search"):
        planner.plan(out.getvalue(), name="m.zip")


def test_a_zip_larger_than_the_free_disk_space_is_refused_before_unpacking(
    planner: MappingPlanner,
) -> None:
    content = bytearray(zip_of({"m.csv": _csv(ROWS)}))
    listed = content.index(b"PK\x01\x02")
    content[listed + 24 : listed + 28] = b"\xff\xff\xff\xff"
    extra = b"\x01\x00\x08\x00" + (1 << 60).to_bytes(8, "little")
    name_length = int.from_bytes(content[listed + 28 : listed + 30], "little")
    content[listed + 30 : listed + 32] = len(extra).to_bytes(2, "little")
    content[listed + 46 + name_length : listed + 46 + name_length] = extra
    end = content.index(b"PK\x05\x06")
    size = int.from_bytes(content[end + 12 : end + 16], "little") + len(extra)
    content[end + 12 : end + 16] = size.to_bytes(4, "little")
    with pytest.raises(RunDirError, match="are free") as raised:
        planner.plan(bytes(content), name="m.zip")
    assert "Free some space" in raised.value.advice
    assert list(Path(planner.scratch).iterdir()) == []
