"""Planning says the same as a slow, obvious planner, on every way into the engine."""

from __future__ import annotations

import csv
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.mapping import Reading
from bulklink.models import Op

from . import obvious
from .desk import Desk, Found, as_csv, as_jsonl
from .workbook import workbook

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("op", "contact_id", "owner_id", "message_id", "deal_id", "Note")
OPS = ("link", "UNLINK", "relink", " Relink ", "", "delete")
ODD = ("", "x", "1.5E+18", "12,5", "12.0", "zcrm_7", "'7", '="7"', " 7 ", "7" * 101, "\u00a07", "٣")
ODD_MESSAGES = ("", "a-b", "1.5E+18", "zcrm_m1", "'m1", '="m1"', " m1", "m" * 501, "1e5")


def in_order(row: dict[str, str]) -> list[str]:
    return [row[column] for column in COLUMNS]


def judge(found: Found, rows: list[dict[str, str] | None], op: Op | None) -> None:
    """Compare all that was found with the verdicts of the obvious planner."""
    verdicts = obvious.plan(rows, op)
    by_row = {row + 1: verdict for row, verdict in enumerate(verdicts)}
    refused = {
        row: (verdict.what, verdict.column)
        for row, verdict in by_row.items()
        if verdict.what not in ("good", "duplicate")
    }
    assert found.reasons == refused
    assert [fault.row for fault in found.faults] == sorted(refused)
    for fault in found.faults:
        if fault.reason == "conflict":
            others = by_row[fault.row].others
            named = ", ".join(map(str, others[:20]))
            more = f" and {len(others) - 20} more" if len(others) > 20 else ""
            assert fault.raw.endswith(f" {named}{more}")
    duplicates = {row: v.others[0] for row, v in by_row.items() if v.what == "duplicate"}
    assert {one.row: one.duplicate_of for one in found.repeated} == duplicates
    good = {row for row, verdict in by_row.items() if verdict.what == "good"}
    assert {message.row for message in found.sent} == good
    assert sorted(row["bulklink_row"] for row in found.plan) == sorted(good | set(duplicates))
    assert (found.rows, found.messages) == (len(rows), len(good))
    assert (found.rejected, found.duplicates) == (len(refused), len(duplicates))
    for message in found.sent:
        _judge_message(rows[message.row - 1], message.row, found, op)


def _judge_message(row: dict[str, str] | None, number: int, found: Found, op: Op | None) -> None:
    assert row is not None
    message = next(m for m in found.sent if m.row == number)
    said = op or Op(row["op"].strip().lower())
    deal = None if said is Op.UNLINK else obvious.clean(row["deal_id"])
    assert message.op is said
    assert message.deal_id == deal
    ids = (message.contact_id, message.owner_id, message.message_id)
    assert ids == tuple(obvious.clean(row[column]) for column in obvious.IDS[:3])


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
    told=st.booleans(),
)
def test_a_small_mapping_is_judged_as_the_obvious_planner_judges_it(
    tmp_path: Path,
    rows: list[dict[str, str] | None],
    op: Op | None,
    delimiter: str,
    *,
    told: bool,
) -> None:
    cells = [["broken"] if row is None else in_order(row) for row in rows]
    first = f"sep={delimiter}\n" if told or delimiter == "^" else ""
    desk = Desk(tmp_path)
    text = first + as_csv(COLUMNS, cells, delimiter=delimiter)
    judge(desk.plan(text, Reading(op=op)), rows, op)
    desk.close()


def many_small_mappings(
    contacts: int, notes: tuple[str, ...], seed: int = 4
) -> list[dict[str, str] | None]:
    """Make thousands of independent cases: one for each contact, all in one mapping."""
    chance = random.Random(seed)
    rows: list[dict[str, str] | None] = []
    for contact in range(contacts):
        for _ in range(chance.randint(1, 8)):
            ids = [f"{4150868000000000000 + contact}", chance.choice("79"), chance.choice("ab")]
            ids.append(chance.choice(["5", "5", "5", "6"]))
            if chance.random() < 0.1:
                ids[chance.randrange(4)] = chance.choice([odd for odd in ODD if "," not in odd])
            op = chance.choice(["link"] * 6 + list(OPS))
            row = dict(zip(COLUMNS, [op, *ids, chance.choice(notes)], strict=True))
            rows.append(None if chance.random() < 0.01 else row)
    chance.shuffle(rows)
    return rows


@pytest.mark.parametrize("op", [None, Op.LINK, Op.UNLINK], ids=["mixed", "link", "unlink"])
@pytest.mark.parametrize(
    "way", ["regular", "quoted", "jsonl", "sheet", "regular;", "quoted\t", "quoted|"]
)
def test_every_way_judges_thousands_of_small_cases_as_the_obvious_planner_does(
    desk: Desk, way: str, op: Op | None
) -> None:
    regular = way.startswith("regular")
    rows = many_small_mappings(700, ("", "n") if regular else ("", "a,b", '"', "x\ny"))
    if way == "jsonl":
        lines = [
            as_jsonl(COLUMNS, [in_order(row)]) if row is not None else "{broken\n" for row in rows
        ]
        found = desk.plan("".join(lines), Reading(op=op), "mapping.jsonl")
    elif way == "sheet":
        rows = [row for row in rows if row is not None]
        content = workbook([COLUMNS, *(in_order(row) for row in rows if row is not None)])
        found = desk.plan(content, Reading(op=op), "mapping.xlsx")
    else:
        if regular:
            rows = [row for row in rows if row is not None and '"' not in "".join(row.values())]
        cells = [["broken"] if row is None else in_order(row) for row in rows]
        quoting = csv.QUOTE_MINIMAL if regular else csv.QUOTE_ALL
        delimiter = way[-1] if way[-1] in ";\t|" else ","
        text = as_csv(COLUMNS, cells, quoting=quoting, delimiter=delimiter)
        found = desk.plan(text, Reading(op=op))
    judge_quickly(found, rows, op)


def judge_quickly(found: Found, rows: list[dict[str, str] | None], op: Op | None) -> None:
    """Compare without looking at each message again."""
    verdicts = obvious.plan(rows, op)
    refused = {
        row + 1: (verdict.what, verdict.column)
        for row, verdict in enumerate(verdicts)
        if verdict.what not in ("good", "duplicate")
    }
    assert found.reasons == refused
    assert {one.row: (one.duplicate_of,) for one in found.repeated} == {
        row + 1: verdict.others
        for row, verdict in enumerate(verdicts)
        if verdict.what == "duplicate"
    }
    assert {message.row for message in found.sent} == {
        row + 1 for row, verdict in enumerate(verdicts) if verdict.what == "good"
    }
