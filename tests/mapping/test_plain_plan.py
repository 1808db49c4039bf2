"""A plan measured in one pass over plain rows is the plan of the checked mapping."""

from __future__ import annotations

import csv
from io import StringIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.load import macro_statements
from bulklink.mapping.name_cells import is_clean_name, name_macro_statements
from bulklink.mapping.plain_plan import PlainPlan
from bulklink.mapping.plan_digest import RowHashes
from bulklink.mapping.plan_stats import PlanStats
from bulklink.mapping.schema import KNOWN_COLUMNS, MappingOptions
from bulklink.models import Op

OPTIONS = MappingOptions(op=None, allow_round_ids=True, guarded_ops=tuple(Op))
Row = tuple[str | None, ...]
OPS = [op.value for op in Op]
NUMBERS = ["7", "70", "007", "5843104000000000000", "9" * 30]
ODD_IDS = ["", "x", "1e5", " 7", "zcrm_7", "7" * 101]
NAMES = [None, None, "Ann", "Ü ü", 'a "b", c', "-", "N"]
ODD_NAMES = ["", " Ann", "null", "#N/A", "Ann\x07", "\u200b", "NaN"]
GUARDS = [None, "7", "none", "7|none", "007|70|9"]
ODD_GUARDS = ["", "None", "7|", "7;8", "1.5", "x"]


@st.composite
def plain_rows(draw: st.DrawFn) -> list[Row]:
    """Return rows in the order of a plan, whose message ids differ."""
    rows = draw(st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))))
    size = draw(st.sampled_from([1, 99, 100, 101]))
    short = draw(st.booleans())
    return [
        (
            op := draw(st.sampled_from(OPS)),
            contact_id,
            owner_id,
            f"{number}" if short else f"{number:0{size}}",
            None if op == Op.UNLINK else draw(st.sampled_from(NUMBERS)),
            draw(st.sampled_from(NAMES)),
            draw(st.sampled_from(NAMES)),
            draw(st.sampled_from(GUARDS)),
        )
        for number, (contact_id, owner_id) in enumerate(sorted(rows * 2))
    ]


@st.composite
def any_rows(draw: st.DrawFn) -> list[Row]:
    """Return rows of which some may be unusual, or out of order."""
    rows = draw(plain_rows())
    odd: list[list[str]] = [
        OPS,
        ODD_IDS,
        ODD_IDS,
        ODD_IDS,
        ODD_IDS,
        ODD_NAMES,
        ODD_NAMES,
        ODD_GUARDS,
    ]
    for _ in range(draw(st.integers(0, 2)) if rows else 0):
        at, place = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, len(odd) - 1))
        cells = list(rows[at])
        cells[place] = draw(st.sampled_from(odd[place]))
        rows[at] = tuple(cells)
        if draw(st.booleans()):
            rows.insert(draw(st.integers(0, len(rows))), rows[at])
    return rows


def measure(rows: list[Row], cuts: list[int]) -> PlainPlan:
    plan = PlainPlan()
    for start, end in pairwise(sorted({0, *cuts, len(rows)})):
        if part := rows[start:end]:
            columns = zip(*part, strict=True)
            plan.add(dict(zip(KNOWN_COLUMNS, columns, strict=True)))
    plan.end()
    return plan


def stats_fields(stats: PlanStats) -> dict[str, Any]:
    fields = msgspec.structs.asdict(stats)
    return fields | {
        "mixed_unlinks": list(stats.mixed_unlinks()),
        "first_contacts": [stats.first_contacts(limit) for limit in (0, 1, 3)],
    }


def plan_by_check(rows: list[Row]) -> tuple[int, int, RowHashes, dict[str, Any]]:
    text = StringIO(newline="")
    csv.writer(text).writerows([KNOWN_COLUMNS, *rows])
    with TemporaryDirectory() as name:
        path = Path(name, "m.csv")
        path.write_bytes(text.getvalue().encode())
        with check(find_sources([str(path)]), OPTIONS, Path(name), threads=1) as checked:
            stats = stats_fields(checked.plan_stats())
            return checked.rows, checked.messages, checked.hash_plan(), stats


@settings(max_examples=20, deadline=None)
@given(rows=st.one_of(plain_rows(), any_rows()), cuts=st.lists(st.integers(0, 9)))
def test_plain_rows_have_the_plan_that_a_check_finds(rows: list[Row], cuts: list[int]) -> None:
    plan = measure(rows, cuts)
    if plan.is_plain and rows:
        measured = (plan.rows, plan.messages, plan.hash_plan(), stats_fields(plan.plan_stats()))
        assert measured == plan_by_check(rows)


PLAIN: Row = ("relink", "7", "8", "a", "9", "Ann", "Deal", "6")


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *[("op", cell) for cell in ("", "move", "unlink")],
        *[(name, cell) for name in ("contact_id", "owner_id", "deal_id") for cell in ODD_IDS],
        *[("message_id", cell) for cell in ("", "a-b", "é", "a" * 501)],
        *[(name, cell) for name in ("owner_name", "deal_name") for cell in ODD_NAMES],
        *[("from_deal_id", cell) for cell in ODD_GUARDS],
    ],
)
def test_an_unusual_cell_is_left_to_the_check(column: str, cell: str) -> None:
    assert measure([PLAIN], []).is_plain
    cells = list(PLAIN)
    cells[KNOWN_COLUMNS.index(column)] = cell
    assert not measure([tuple(cells)], []).is_plain


@pytest.mark.parametrize(
    "rows",
    [
        [PLAIN, PLAIN],
        [PLAIN, ("link", "70", *PLAIN[2:]), ("link", "7", "8", "b", *PLAIN[4:])],
        [PLAIN, ("link", "7", "7", *PLAIN[3:])],
        [PLAIN, ("relink", "7", "8", "b" * 100, *PLAIN[4:])],
    ],
    ids=["repeated", "not together", "out of order", "long ids of different lengths"],
)
def test_rows_that_depend_on_each_other_are_left_to_the_check(rows: list[Row]) -> None:
    assert not measure(rows, [1]).is_plain
    assert not measure(rows, []).is_plain


@settings(max_examples=300)
@given(names=st.lists(st.one_of(st.text(max_size=6), st.sampled_from(ODD_NAMES)), min_size=1))
def test_a_clean_name_is_sent_as_it_is(names: list[str], names_database: Any) -> None:
    clean = [name for name in names if is_clean_name(name)]
    query = "SELECT list_transform($1::VARCHAR[], lambda name: clean_name(name))"
    assert names_database.execute(query, [clean]).fetchone() == (clean,)


@pytest.fixture(scope="module")
def names_database() -> Any:
    database = duckdb.connect(config={"threads": 1})
    for statement in (*macro_statements(), *name_macro_statements()):
        database.execute(statement)
    yield database
    database.close()
