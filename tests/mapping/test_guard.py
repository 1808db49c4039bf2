"""The guard `from_deal_id`: what it may say, for which rows, and when it contradicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from bulklink.errors import UsageError
from bulklink.mapping import Reading
from bulklink.models import Op

from .desk import LINK, MIXED, RELINK, UNLINK, Desk

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "contact_id,owner_id,message_id,deal_id,from_deal_id\n"
LONG = "5843104000000003735"


def written(plan: Path) -> list[str]:
    with duckdb.connect() as database:
        return [row[0] for row in database.execute(f"DESCRIBE FROM '{plan}'").fetchall()]


def guards(desk: Desk, content: str, reading: Reading = RELINK) -> list[str | None]:
    return [one.from_deal_id for one in desk.plan(content, reading).sent]


@pytest.mark.parametrize(
    ("cell", "guard"),
    [
        ("77", "77"),
        (" 77 ", "77"),
        ("zcrm_77", "77"),
        ("'77", "77"),
        ('"=""77"""', "77"),
        (LONG, LONG),
        ("none", "none"),
        (" None", "none"),
        ("77|none", "77|none"),
        ("77 | NONE", "77|none"),
        ("", None),
        (" ", None),
    ],
)
def test_a_guard_is_cleaned_as_an_id_is(desk: Desk, cell: str, guard: str | None) -> None:
    assert guards(desk, f"{HEADER}1,2,a,5,{cell}\n") == [guard]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x7", "bad-id"),
        ("no", "bad-id"),
        ("77|", "bad-id"),
        ("7" * 101, "bad-id"),
        ("5.84E+18", "rounded-id"),
        ("77.0", "rounded-id"),
    ],
)
def test_what_is_no_guard_is_refused(desk: Desk, cell: str, reason: str) -> None:
    found = desk.plan(f"{HEADER}1,2,a,5,{cell}\n", RELINK)
    assert found.reasons == {1: (reason, "from_deal_id")}
    assert found.rejects[0]["bulklink_raw"] == cell


def test_guards_that_a_spreadsheet_has_rounded_are_refused(desk: Desk) -> None:
    rows = "".join(f"1,2,m{n},5,58431040000000{n:02}000\n" for n in range(20))
    found = desk.plan(HEADER + rows, RELINK)
    assert set(found.reasons.values()) == {("rounded-id", "from_deal_id")}


def test_in_a_link_it_is_a_column_of_the_users_own(desk: Desk) -> None:
    content = f"{HEADER}1,2,a,5,not a deal\n"
    assert guards(desk, content, LINK) == [None]
    assert desk.plan(content, LINK).plan[0]["from_deal_id"] == "not a deal"


def test_in_a_mixed_mapping_it_guards_unlinks_and_relinks_alone(desk: Desk) -> None:
    rows = "link,1,2,a,5,not a deal\nunlink,1,2,b,,7\nrelink,1,2,c,5,none\n"
    assert guards(desk, f"op,{HEADER}{rows}", MIXED) == [None, "7", "none"]


def test_links_are_guarded_where_the_reading_says_so(desk: Desk) -> None:
    reading = Reading(op=None, guarded=tuple(Op))
    rows = "link,1,2,a,5,none\nlink,1,2,b,5,x\n"
    found = desk.plan(f"op,{HEADER}{rows}", reading)
    assert found.reasons == {2: ("bad-id", "from_deal_id")}
    assert found.sent[0].from_deal_id == "none"


@pytest.mark.parametrize("reading", [UNLINK, RELINK])
@pytest.mark.parametrize("other", ["8", "none", ""])
def test_two_guards_of_one_message_contradict_each_other(
    desk: Desk, reading: Reading, other: str
) -> None:
    found = desk.plan(f"{HEADER}1,2,a,5,7\n1,2,a,5,{other}\n1,2,b,5,7\n1,2,b,5,7\n", reading)
    assert found.reasons == {1: ("conflict", None), 2: ("conflict", None)}
    assert (found.duplicates, found.messages) == (1, 1)


def test_a_default_fills_what_is_empty(desk: Desk) -> None:
    reading = Reading(op=Op.UNLINK, defaults=(("from_deal_id", "None"),))
    assert guards(desk, f"{HEADER}1,2,a,5,7\n1,2,b,5,\n", reading) == ["7", "none"]
    with pytest.raises(UsageError, match="no id"):
        desk.plan(HEADER, Reading(op=Op.UNLINK, defaults=(("from_deal_id", "x"),)))


def test_a_plan_without_a_guard_has_no_column_for_it(desk: Desk) -> None:
    found = desk.plan(f"{HEADER}1,2,a,5,\n", RELINK)
    assert "bulklink_from_deal_id" not in written(found.sealed.path)
    assert found.plan[0]["from_deal_id"] == ""
    guarded = desk.plan(f"{HEADER}1,2,a,5,zcrm_7\n1,2,b,5,\n", RELINK)
    assert "bulklink_from_deal_id" in written(guarded.sealed.path)
    assert [one["bulklink_from_deal_id"] for one in guarded.plan] == ["7", None]
    assert guarded.plan[0]["from_deal_id"] == "zcrm_7"
