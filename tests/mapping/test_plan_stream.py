"""Sealed plans read as messages: any texts, with constant columns written or not, in order only."""

from __future__ import annotations

import tempfile
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.mapping.database import COLUMN_ROWS, Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import OWN_COLUMNS, PlanLayout, VirtualColumn, write_parquet
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Message, Op

NUMBERS = ("row", "line", "group", "duplicate_of", "origin_row")
ALWAYS_WRITTEN = {
    *("row", "contact_id", "owner_id", "message_id", "group", "duplicate_of", "origin_row"),
}

Row = dict[str, Any]


def seal(folder: Path, rows: list[Row], *, omit: set[str]) -> SealedPlan:
    """Write a plan; columns among `omit` that have one value in every row are not written."""
    path = folder / "plan.parquet"
    columns = {name: [row.get(name) for row in rows] for name in OWN_COLUMNS}
    columns["origin_row"] = columns["row"]
    elsewhere = {
        name: VirtualColumn(value=values[0])
        for name, values in columns.items()
        if name in omit and len({*values}) == 1
    }
    written = [name for name in OWN_COLUMNS if name not in elsewhere]
    with closing(Database(folder / "spill", PlanningStop(), threads=1)) as database:
        database.execute(f"CREATE TABLE plan ({', '.join(f'{name}_ VARCHAR' for name in written)})")
        database.insert_all(
            "plan",
            (
                tuple(None if (v := columns[name][n]) is None else str(v) for name in written)
                for n in range(len(rows))
            ),
        )
        selected = ", ".join(
            f"{name}_{'::BIGINT' if name in NUMBERS else ''} AS bulklink_{name}" for name in written
        )
        layout = PlanLayout((), (), elsewhere)
        write_parquet(database, f"SELECT {selected} FROM plan", path, layout.metadata_option())
    return SealedPlan(path)


def read(plan: SealedPlan) -> list[Message]:
    """Return all messages of a plan."""
    return [message for chunk in plan.chunks() for message in chunk]


ids = st.text("0123456789", min_size=1, max_size=3)
texts = st.none() | st.text(max_size=4) | st.sampled_from(["\n", "a\nb", "\0", "\xff\xfe", "é\n"])


@st.composite
def sorted_rows(draw: st.DrawFn) -> list[Row]:
    """Draw the rows of a plan in order; few values, so that many columns have only one."""
    rows = []
    groups = draw(st.lists(st.tuples(ids, ids), min_size=1, max_size=4, unique=True))
    names, ops = st.sampled_from(draw(st.lists(texts, min_size=1, max_size=3))), st.sampled_from(Op)
    for number, (contact, owner) in enumerate(sorted(groups), 1):
        for row in sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=4))):
            row_of_plan = {
                "row": row,
                "group": number,
                "contact_id": contact,
                "owner_id": owner,
                "message_id": draw(ids),
                "op": draw(ops),
                "duplicate_of": draw(st.none() | st.just(row)),
            }
            texts_of_row = ("deal_id", "owner_name", "deal_name", "from_deal_id")
            rows.append(row_of_plan | {name: draw(names) for name in texts_of_row})
    return rows


@settings(max_examples=60, deadline=None)
@given(rows=sorted_rows(), omit=st.sets(st.sampled_from(sorted({*OWN_COLUMNS} - ALWAYS_WRITTEN))))
def test_messages_are_the_same_whether_a_column_is_written_or_not(
    rows: list[Row], omit: set[str]
) -> None:
    expected = [
        Message(**{name: row[name] for name in Message.__struct_fields__})
        for row in rows
        if row["duplicate_of"] is None
    ]
    with tempfile.TemporaryDirectory() as folder:
        assert read(seal(Path(folder), rows, omit=omit)) == expected
        assert read(seal(Path(folder), rows, omit=set())) == expected


@settings(max_examples=40, deadline=None)
@given(rows=sorted_rows(), bits=st.text("01", min_size=1, max_size=60), with_names=st.booleans())
def test_selected_rows_are_read_as_they_are_among_all(
    rows: list[Row], bits: str, with_names: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plan = seal(Path(folder), rows, omit=set())
        names = Path(folder) / "names.parquet" if with_names else None
        if names is not None:
            deals = [("", "Empty")] + [(row["deal_id"], "Five") for row in rows if row["deal_id"]]
            plan.write_names(dict(deals).items(), [("1", "Ann"), ("22", "Bob")], names)
        expected = [
            m
            for chunk in plan.chunks(names)
            for m in chunk
            if bits[min(m.row, len(bits) - 1)] == "1"
        ]
        assert [m for chunk in plan.chunks(names, bits) for m in chunk] == expected


def test_the_order_of_selected_rows_is_checked(tmp_path: Path) -> None:
    fields = {"group": 1, "contact_id": "1", "owner_id": "2", "message_id": "m", "op": "link"}
    plan = seal(tmp_path, [{"row": row} | fields for row in (1, 3, 2)], omit=set())
    assert [[message.row for message in chunk] for chunk in plan.chunks(rows="0101")] == [[1, 3]]
    with pytest.raises(LedgerError, match="out of order at row 2\\."):
        list(plan.chunks(rows="0011"))


def follows(last: Row, row: Row) -> bool:
    """Return whether a row may come directly after another."""
    group, last_group = ((r["contact_id"], r["owner_id"]) for r in (row, last))
    if row["group"] == last["group"]:
        return bool(row["row"] > last["row"] and group == last_group)
    return bool(row["group"] > last["group"] and group > last_group)


places = st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from("12"), st.just("9"))


@settings(max_examples=150, deadline=None)
@given(drawn=st.lists(places, min_size=1, max_size=4), owner=st.sampled_from("89"))
def test_a_plan_is_read_exactly_if_groups_and_rows_are_in_order(
    drawn: list[tuple[int, int, str, str]], owner: str
) -> None:
    names = ("group", "row", "contact_id", "owner_id")
    rows = [
        dict(zip(names, place, strict=True)) | {"message_id": "m", "op": "link"} for place in drawn
    ]
    rows[-1]["owner_id"] = owner
    wrong = [row["row"] for last, row in pairwise(rows) if not follows(last, row)]
    with tempfile.TemporaryDirectory() as folder:
        plan = seal(Path(folder), rows, omit=set())
        if not wrong:
            assert [message.row for message in read(plan)] == [row["row"] for row in rows]
            return
        with pytest.raises(LedgerError, match=f"out of order at row {wrong[0]}\\."):
            read(plan)


@pytest.mark.parametrize("place", [1, COLUMN_ROWS - 1, COLUMN_ROWS, COLUMN_ROWS + 1])
def test_two_rows_in_the_wrong_order_are_found_at_any_place(tmp_path: Path, place: int) -> None:
    rows = [
        {"row": n, "group": 1, "contact_id": "1", "owner_id": "2", "message_id": "m", "op": "link"}
        for n in range(1, COLUMN_ROWS + 100)
    ]
    rows[place - 1], rows[place] = rows[place], rows[place - 1]
    with pytest.raises(LedgerError, match=f"out of order at row {place}\\."):
        read(seal(tmp_path, rows, omit=set()))
