"""The guard `from_deal_id`: valid values, guarded rows, and contradictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from bulklink.errors import UsageError
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import LINK, MIXED, RELINK, UNLINK, MappingPlanner

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "contact_id,owner_id,message_id,deal_id,from_deal_id\n"
LONG = "5843104000000003735"


def read_column_names(plan: Path) -> list[str]:
    with duckdb.connect() as database:
        return [row[0] for row in database.execute(f"DESCRIBE FROM '{plan}'").fetchall()]


def plan_guards(
    planner: MappingPlanner, content: str, mapping_options: MappingOptions = RELINK
) -> list[str | None]:
    return [
        message.from_deal_id for message in planner.plan(content, mapping_options).sealed_messages
    ]


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
def test_a_guard_is_cleaned_as_an_id_is(
    planner: MappingPlanner, cell: str, guard: str | None
) -> None:
    assert plan_guards(planner, f"{HEADER}1,2,a,5,{cell}\n") == [guard]


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
def test_an_invalid_guard_is_refused(planner: MappingPlanner, cell: str, reason: str) -> None:
    planned = planner.plan(f"{HEADER}1,2,a,5,{cell}\n", RELINK)
    assert planned.reasons == {1: (reason, "from_deal_id")}
    assert planned.rejects[0]["bulklink_raw"] == cell


def test_guards_rounded_by_a_spreadsheet_are_refused(planner: MappingPlanner) -> None:
    rows = "".join(f"1,2,m{n},5,58431040000000{n:02}000\n" for n in range(20))
    planned = planner.plan(HEADER + rows, RELINK)
    assert set(planned.reasons.values()) == {("rounded-id", "from_deal_id")}


def test_in_a_link_mapping_the_guard_is_one_of_the_users_own_columns(
    planner: MappingPlanner,
) -> None:
    content = f"{HEADER}1,2,a,5,not a deal\n"
    assert plan_guards(planner, content, LINK) == [None]
    assert planner.plan(content, LINK).plan[0]["from_deal_id"] == "not a deal"


def test_in_a_mixed_mapping_only_unlinks_and_relinks_are_guarded(planner: MappingPlanner) -> None:
    rows = "link,1,2,a,5,not a deal\nunlink,1,2,b,,7\nrelink,1,2,c,5,none\n"
    assert plan_guards(planner, f"op,{HEADER}{rows}", MIXED) == [None, "7", "none"]


def test_links_are_guarded_if_the_options_say_so(planner: MappingPlanner) -> None:
    mapping_options = MappingOptions(op=None, guarded_ops=tuple(Op))
    rows = "link,1,2,a,5,none\nlink,1,2,b,5,x\n"
    planned = planner.plan(f"op,{HEADER}{rows}", mapping_options)
    assert planned.reasons == {2: ("bad-id", "from_deal_id")}
    assert planned.sealed_messages[0].from_deal_id == "none"


@pytest.mark.parametrize("mapping_options", [UNLINK, RELINK])
@pytest.mark.parametrize("other_guard", ["8", "none", ""])
def test_two_guards_of_one_message_contradict_each_other(
    planner: MappingPlanner, mapping_options: MappingOptions, other_guard: str
) -> None:
    planned = planner.plan(
        f"{HEADER}1,2,a,5,7\n1,2,a,5,{other_guard}\n1,2,b,5,7\n1,2,b,5,7\n", mapping_options
    )
    assert planned.reasons == {1: ("conflict", None), 2: ("conflict", None)}
    assert (planned.duplicates, planned.messages) == (1, 1)


def test_a_default_fills_empty_guards(planner: MappingPlanner) -> None:
    mapping_options = MappingOptions(op=Op.UNLINK, defaults=(("from_deal_id", "None"),))
    assert plan_guards(planner, f"{HEADER}1,2,a,5,7\n1,2,b,5,\n", mapping_options) == ["7", "none"]
    with pytest.raises(UsageError, match="not an id"):
        planner.plan(HEADER, MappingOptions(op=Op.UNLINK, defaults=(("from_deal_id", "x"),)))


def test_a_plan_without_a_guard_has_no_column_for_it(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{HEADER}1,2,a,5,\n", RELINK)
    assert "bulklink_from_deal_id" not in read_column_names(planned.sealed.path)
    assert planned.plan[0]["from_deal_id"] == ""
    guarded = planner.plan(f"{HEADER}1,2,a,5,zcrm_7\n1,2,b,5,\n", RELINK)
    assert "bulklink_from_deal_id" in read_column_names(guarded.sealed.path)
    assert [row["bulklink_from_deal_id"] for row in guarded.plan] == ["7", None]
    assert guarded.plan[0]["from_deal_id"] == "zcrm_7"
