"""The user's cells are kept exactly, in the plan and in the rejects."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.input.workbook import workbook
from tests.mapping.planner import HEADER, MappingPlanner, PlannedMapping, as_csv, as_jsonl

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROUGH = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class FileCoding(NamedTuple):
    """An encoding and a compression; a text is written in both and planned."""

    encoding: str | None
    suffix: str

    def plan(self, planner: MappingPlanner, text: str, name: str) -> PlannedMapping:
        content = PACKERS[self.suffix](text.encode(self.encoding or "utf-8"))
        path = planner.write(content, name + self.suffix)
        return planner.plan_files([path], MappingOptions(Op.LINK, encoding=self.encoding))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstd.compress,
}
ENCODINGS = (None, "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-7", "gb18030")
PACKED = st.builds(FileCoding, st.sampled_from(ENCODINGS), st.sampled_from(list(PACKERS)))


@ROUGH
@given(
    notes=st.lists(st.tuples(TEXT, TEXT, st.booleans()), min_size=1, max_size=20),
    dialect=st.sampled_from(
        [
            # Python writes a carriage return without quotes where lines end with LF alone.
            {"quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"},
            {"quoting": csv.QUOTE_ALL, "lineterminator": "\r\n"},
            {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"},
        ]
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding_given=st.booleans(),
    packed=PACKED,
)
def test_any_text_in_csv_round_trips(
    tmp_path: Path,
    notes: list[tuple[str, str, bool]],
    dialect: dict[str, Any],
    delimiter: str,
    packed: FileCoding,
    *,
    encoding_given: bool,
) -> None:
    rows = [["1" if good else "x", "2", f"m{n}", "5", a, b] for n, (a, b, good) in enumerate(notes)]
    header = ["contact_id", "owner_id", "message_id", "deal_id", "A", "B"]
    first = f"sep={delimiter}{dialect['lineterminator']}" if encoding_given else ""
    text = first + as_csv(header, rows, delimiter=delimiter, **dialect)
    planner = MappingPlanner(tmp_path)
    planned = packed.plan(planner, text, "mapping.csv")
    back = [(row["bulklink_row"], row["A"], row["B"]) for row in planned.plan]
    back += [(int(row["bulklink_row"]), row["A"], row["B"]) for row in planned.rejects]
    assert sorted(back) == [(n, a, b) for n, (a, b, _) in enumerate(notes, 1)]
    planner.close()


@ROUGH
@given(
    notes=st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT), st.booleans()), min_size=1),
    ascii_only=st.booleans(),
    packed=PACKED,
)
def test_any_text_in_jsonl_round_trips(
    tmp_path: Path,
    notes: list[tuple[str, str | None, bool]],
    packed: FileCoding,
    *,
    ascii_only: bool,
) -> None:
    lines = [
        json.dumps(
            {"contact_id": 1 if good else "x", "owner_id": 2, "message_id": f"m{n}"}
            | {"deal_id": "5", "A": a, "B": b},
            ensure_ascii=ascii_only,
        )
        for n, (a, b, good) in enumerate(notes)
    ]
    planner = MappingPlanner(tmp_path)
    planned = packed.plan(planner, "\n".join(lines), "mapping.jsonl")
    back = {row["bulklink_row"]: (row["A"], row["B"]) for row in planned.plan}
    lost = {int(row["bulklink_row"]): (row["A"], row["B"]) for row in planned.rejects}
    assert back == {n: (a, b) for n, (a, b, good) in enumerate(notes, 1) if good}
    assert lost == {n: (a, b or "") for n, (a, b, good) in enumerate(notes, 1) if not good}
    planner.close()


SHEET_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r"),
    max_size=12,
)


@ROUGH
@given(
    notes=st.lists(st.tuples(SHEET_TEXT, SHEET_TEXT, st.booleans()), min_size=1, max_size=20),
    suffix=st.sampled_from(list(PACKERS)),
)
def test_any_text_in_a_sheet_round_trips(
    tmp_path: Path, notes: list[tuple[str, str, bool]], suffix: str
) -> None:
    rows = [["1" if good else "x", "2", f"m{n}", "5", a, b] for n, (a, b, good) in enumerate(notes)]
    header = ["contact_id", "owner_id", "message_id", "deal_id", "A", "B"]
    planner = MappingPlanner(tmp_path)
    planned = planner.plan(PACKERS[suffix](workbook([header, *rows])), name="mapping.xlsx" + suffix)
    back = [(row["bulklink_row"], row["A"], row["B"]) for row in planned.plan]
    back += [(int(row["bulklink_row"]), row["A"], row["B"]) for row in planned.rejects]
    assert sorted(back) == [(n, a, b) for n, (a, b, _) in enumerate(notes, 1)]
    planner.close()


COLUMNS = HEADER.strip().split(",")
ROWS = [
    ["x", "2", "a", "5", 'n, "1"; é'],
    ["1", "2", "b", "5", ""],
    ["1", "2", "b", "5", "again"],
    ["1", "2", "c", "5", "p"],
    ["1", "2", "c", "6", "q\tr|s"],
]
FORMATS: dict[str, tuple[str, bytes, str | None]] = {
    "comma": (".csv", as_csv(COLUMNS, ROWS).encode(), None),
    "semicolon": (".csv", as_csv(COLUMNS, ROWS, delimiter=";").encode(), None),
    "tab": (".csv", as_csv(COLUMNS, ROWS, delimiter="\t").encode(), None),
    "pipe": (".csv", as_csv(COLUMNS, ROWS, delimiter="|").encode(), None),
    "sep-line": (".csv", ("sep=;\n" + as_csv(COLUMNS, ROWS, delimiter=";")).encode(), None),
    "utf-16": (".csv", as_csv(COLUMNS, ROWS).encode("utf-16"), "utf-16"),
    "cp1252": (".csv", as_csv(COLUMNS, ROWS, delimiter=";").encode("cp1252"), "cp1252"),
    "gzip": (".csv.gz", gzip.compress(as_csv(COLUMNS, ROWS).encode()), None),
    "zstd": (".csv.zst", zstd.compress(as_csv(COLUMNS, ROWS).encode()), None),
    "jsonl": (".jsonl", as_jsonl(COLUMNS, ROWS).encode(), None),
    "jsonl-utf-16-gzip": (
        ".jsonl.gz",
        gzip.compress(as_jsonl(COLUMNS, ROWS).encode("utf-16")),
        "utf-16",
    ),
    "sheet": (".xlsx", workbook([COLUMNS, *ROWS]), None),
}
every_format = pytest.mark.parametrize(
    ("suffix", "content", "encoding"), FORMATS.values(), ids=FORMATS
)


@every_format
def test_plan_and_rejects_together_hold_the_whole_input(
    planner: MappingPlanner, suffix: str, content: bytes, encoding: str | None
) -> None:
    planned = planner.plan(content, MappingOptions(Op.LINK, encoding=encoding), f"m{suffix}")
    planned_rows = [row["bulklink_row"] for row in planned.plan]
    refused = [int(row["bulklink_row"]) for row in planned.rejects]
    assert sorted(planned_rows + refused) == list(range(1, 6))
    assert (planned.rows, planned.messages, planned.duplicates, planned.rejected) == (5, 1, 1, 3)


@every_format
def test_fixed_rejects_are_a_valid_mapping(
    planner: MappingPlanner, suffix: str, content: bytes, encoding: str | None
) -> None:
    planned = planner.plan(content, MappingOptions(Op.LINK, encoding=encoding), f"m{suffix}")
    assert len(planned.rejects) == 3
    fixed = (planner.folder / "rejects.csv").read_text("utf-8").replace("x,2,a", "7,2,a", 1)
    again = planner.plan(fixed.replace("1,2,c,6", "1,2,d,6"), name="fixed.csv")
    assert [(m.contact_id, m.message_id, m.deal_id) for m in again.sealed_messages] == [
        ("1", "c", "5"),
        ("1", "d", "6"),
        ("7", "a", "5"),
    ]
    assert [row["Note"] for row in again.plan] == ["p", "q\tr|s", 'n, "1"; é']


def test_rejects_are_rfc_4180(planner: MappingPlanner) -> None:
    planned = planner.plan(f'{HEADER}x,2,a,5,"say ""hi"""\n')
    assert planned.rejected == 1
    assert planned.rejects[0]["bulklink_line"] == "2"
    content = (planner.folder / "rejects.csv").read_bytes()
    assert content.endswith(b'x,2,a,5,"say ""hi""",' + _reject_line(planner) + b"\r\n")


def _reject_line(planner: MappingPlanner) -> bytes:
    name = str(planner.folder / "mapping.csv")
    return f"{name},1,2,contact_id,bad-id,x".encode()


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_cells_escaped_for_a_spreadsheet_are_unescaped(planner: MappingPlanner, form: str) -> None:
    header = ["contact_id", "owner_id", "message_id", "deal_id", "'=Sum", "bulklink_disarmed"]
    row = ['="1"', '="2"', '="m"', '="5"', "'=1+1", "yes"]
    content = workbook([header, row]) if form == "xlsx" else as_csv(header, [row])
    planned = planner.plan(content, name=f"mapping.{form}")
    assert planned.plan[0]["contact_id"] == "1"
    assert planned.plan[0]["=Sum"] == "=1+1"
    plain = planner.plan(as_csv(header[:5], [row[:5]]), name="plain.csv")
    assert plain.plan[0]["contact_id"] == '="1"'
    assert plain.plan[0]["'=Sum"] == "'=1+1"
