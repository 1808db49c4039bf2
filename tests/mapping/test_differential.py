"""Planning agrees with a slow, obvious reference planner, for every input format."""

from __future__ import annotations

import csv
import json
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.mapping.schema import HiddenRows, MappingOptions
from bulklink.models import Op
from tests.mapping import reference_planner
from tests.mapping.cases.packed import zip_of
from tests.mapping.cases.parquet import parquet_of_cells
from tests.mapping.input.workbook import Book, Tab
from tests.mapping.planner import MappingPlanner, PlannedMapping, as_csv

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("op", "contact_id", "owner_id", "message_id", "deal_id", "Note")
OPS = ("link", "UNLINK", "relink", " Relink ", "", "delete")
ODD = ("", "x", "1.5E+18", "12,5", "12.0", "zcrm_7", "'7", '="7"', " 7 ", "7" * 101, "\u00a07", "٣")
ODD_MESSAGES = ("", "a-b", "1.5E+18", "zcrm_m1", "'m1", '="m1"', " m1", "m" * 501, "1e5")


def in_order(row: dict[str, str]) -> list[str]:
    return [row[column] for column in COLUMNS]


def assert_as_expected(
    planned: PlannedMapping, rows: list[dict[str, str] | None], op: Op | None
) -> None:
    """Compare all results with those of the reference planner."""
    outcomes = reference_planner.expected_rows(rows, op)
    by_row = {row + 1: outcome for row, outcome in enumerate(outcomes)}
    refused = {
        row: (outcome.outcome, outcome.column)
        for row, outcome in by_row.items()
        if outcome.outcome not in ("good", "duplicate")
    }
    assert planned.reasons == refused
    assert [fault.row for fault in planned.faults] == sorted(refused)
    for fault in planned.faults:
        if fault.reason == "conflict":
            other_rows = by_row[fault.row].other_rows
            listed_rows = ", ".join(map(str, other_rows[:20]))
            more = f" and {len(other_rows) - 20} more" if len(other_rows) > 20 else ""
            assert fault.raw.endswith(f" {listed_rows}{more}")
    duplicates = {row: v.other_rows[0] for row, v in by_row.items() if v.outcome == "duplicate"}
    assert {
        duplicate.row: duplicate.duplicate_of for duplicate in planned.duplicate_rows
    } == duplicates
    good = {row for row, outcome in by_row.items() if outcome.outcome == "good"}
    assert {message.row for message in planned.sealed_messages} == good
    assert sorted(row["bulklink_row"] for row in planned.plan) == sorted(good | set(duplicates))
    assert (planned.rows, planned.messages) == (len(rows), len(good))
    assert (planned.rejected, planned.duplicates) == (len(refused), len(duplicates))
    for message in planned.sealed_messages:
        _assert_message(rows[message.row - 1], message.row, planned, op)


def _assert_message(
    row: dict[str, str] | None, number: int, planned: PlannedMapping, op: Op | None
) -> None:
    assert row is not None
    message = next(m for m in planned.sealed_messages if m.row == number)
    row_op = op or Op(row["op"].strip().lower())
    deal = None if row_op is Op.UNLINK else reference_planner.clean_id(row["deal_id"])
    assert message.op is row_op
    assert message.deal_id == deal
    ids = (message.contact_id, message.owner_id, message.message_id)
    assert ids == tuple(
        reference_planner.clean_id(row[column]) for column in reference_planner.IDS[:3]
    )


def pool(odd: tuple[str, ...], good: list[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(good), st.sampled_from(good), st.sampled_from(odd))


ROW = st.one_of(
    st.none(),
    *[
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(OPS),
                "contact_id": pool(ODD, ["7", "8", "1234567890123450000", "1234567890123456789"]),
                "owner_id": pool(ODD, ["7", "9"]),
                "message_id": pool(ODD_MESSAGES, ["m1", "m2"]),
                "deal_id": pool(ODD, ["7", "5"]),
                "Note": st.sampled_from(["", "n", "a,b", '"', "x\ny"]),
            }
        )
    ]
    * 6,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(ROW, min_size=1, max_size=40),
    op=st.sampled_from([None, Op.LINK, Op.UNLINK]),
    delimiter=st.sampled_from([",", ";", "\t", "|", "^"]),
    op_given=st.booleans(),
)
def test_a_small_mapping_is_planned_like_the_reference_planner(
    tmp_path: Path,
    rows: list[dict[str, str] | None],
    op: Op | None,
    delimiter: str,
    *,
    op_given: bool,
) -> None:
    cells = [["broken"] * 7 if row is None else in_order(row) for row in rows]
    first = f"sep={delimiter}\n" if op_given or delimiter == "^" else ""
    planner = MappingPlanner(tmp_path)
    text = first + as_csv(COLUMNS, cells, delimiter=delimiter)
    assert_as_expected(planner.plan(text, MappingOptions(op=op)), rows, op)
    planner.close()


def many_small_mappings(
    contacts: int, notes: tuple[str, ...], seed: int = 4
) -> list[dict[str, str] | None]:
    """Make thousands of independent cases: one for each contact, all in one mapping."""
    rng = random.Random(seed)
    rows: list[dict[str, str] | None] = []
    for contact in range(contacts):
        for _ in range(rng.randint(1, 8)):
            ids = [f"{4150868000000000000 + contact}", rng.choice("79"), rng.choice("ab")]
            ids.append(rng.choice(["5", "5", "5", "6"]))
            if rng.random() < 0.1:
                ids[rng.randrange(4)] = rng.choice([odd for odd in ODD if "," not in odd])
            op = rng.choice(["link"] * 6 + list(OPS))
            row = dict(zip(COLUMNS, [op, *ids, rng.choice(notes)], strict=True))
            rows.append(None if rng.random() < 0.01 else row)
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("op", [None, Op.LINK, Op.UNLINK], ids=["mixed", "link", "unlink"])
@pytest.mark.parametrize(
    "form",
    [
        *("regular", "quoted", "jsonl", "sheet", "regular;", "quoted\t", "quoted|"),
        *("regular\r", "quoted\r", "spaced", "apostrophes", "json", "data", "parquet", "zip"),
    ],
)
def test_thousands_of_small_cases_are_planned_like_the_reference_planner(
    planner: MappingPlanner, form: str, op: Op | None
) -> None:
    regular = form.startswith("regular")
    notes = ("", "n") if regular else ("", "a,b", '"', "'", "n" if form == "spaced" else "x\ny")
    rows = many_small_mappings(700, notes)
    if regular:
        rows = [row for row in rows if row is not None and '"' not in "".join(row.values())]
    if form in ("sheet", "parquet"):
        rows = [row for row in rows if row is not None]
    options = MappingOptions(op=op, hidden_rows=HiddenRows.SKIP if form == "sheet" else None)
    planned = planner.plan(encode_rows(rows, form), options, "mapping")
    assert_rows_as_expected(planned, rows, op)


def encode_rows(rows: list[dict[str, str] | None], form: str) -> str | bytes:
    """Write rows in one of the formats; None is a broken record."""
    cells = [in_order(row) for row in rows if row is not None]
    if form == "sheet":
        return with_hidden_rows([row for row in rows if row is not None])
    if form == "parquet":
        return parquet_of_cells(COLUMNS, cells)
    objects = ["5" if row is None else json.dumps(row) for row in rows]
    if form in ("json", "data"):
        array = f"[{','.join(objects)}]"
        return array if form == "json" else f'{{"data": {array}, "info": {{"page": 1}}}}'
    if form == "jsonl":
        return "".join(f"{line}\n" for line in objects)
    cells = [["broken"] * 7 if row is None else in_order(row) for row in rows]
    dialect = {
        "delimiter": form[-1] if form[-1] in ";\t|" else ",",
        "lineterminator": "\r" if form.endswith("\r") else "\r\n",
        "quoting": csv.QUOTE_MINIMAL if form.startswith("regular") else csv.QUOTE_ALL,
        "quotechar": "'" if form == "apostrophes" else '"',
    }
    text = as_csv(COLUMNS, cells, **dialect)
    if form == "zip":
        return zip_of({"mapping.csv": text})
    return text.replace('","', '" , "') if form == "spaced" else text


def with_hidden_rows(rows: list[dict[str, str]]) -> bytes:
    """Write a sheet with these rows and hidden ones between them, which are left out."""
    cells: list[list[str]] = [[*COLUMNS]]
    hidden = {}
    for at, row in enumerate(rows):
        if at % 3 == 0:
            cells.append(["link", "7", "7", "m1", "6", "hidden"])
            hidden[len(cells)] = 'hidden="1"'
        cells.append(in_order(row))
    tab = Tab(rows=cells, row_attributes=hidden)
    return Book(tabs=[tab]).content()


def assert_rows_as_expected(
    planned: PlannedMapping, rows: list[dict[str, str] | None], op: Op | None
) -> None:
    """Compare with the reference planner without checking each message."""
    outcomes = reference_planner.expected_rows(rows, op)
    refused = {
        row + 1: (outcome.outcome, outcome.column)
        for row, outcome in enumerate(outcomes)
        if outcome.outcome not in ("good", "duplicate")
    }
    assert planned.reasons == refused
    assert {duplicate.row: (duplicate.duplicate_of,) for duplicate in planned.duplicate_rows} == {
        row + 1: outcome.other_rows
        for row, outcome in enumerate(outcomes)
        if outcome.outcome == "duplicate"
    }
    assert {message.row for message in planned.sealed_messages} == {
        row + 1 for row, outcome in enumerate(outcomes) if outcome.outcome == "good"
    }
