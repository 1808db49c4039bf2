"""Names that are added to a checked mapping before it is sealed."""

from __future__ import annotations

from tests.mapping.planner import MIXED, MappingPlanner, PlannedMapping

NAMES = "op,contact_id,owner_id,message_id,deal_id,owner_name,deal_name\n"
MANY = NAMES + (
    "link,1,2,a,5,,\n"
    "link,1,2,b,6,Ann,\n"
    "relink,1,3,c,7,,Seven\n"
    "unlink,1,4,d,,,\n"
    "link,1,2,a,5,,\n"
    "link,9,2,e,8,Ann,Eight\n"
)


def name_mapping(
    planner: MappingPlanner, content: str, deals: dict[str, str], owners: dict[str, str]
) -> PlannedMapping:
    checked = planner.check([planner.write(content)], MIXED)
    assert list(checked.deals_without_name()) == ["5", "6"]
    assert checked.count_deals_without_name() == 2
    assert list(checked.owners_without_name()) == ["2", "3"]
    checked.add_names(deals.items(), owners.items())
    return PlannedMapping(checked, planner.folder)


def test_missing_names_are_filled_and_existing_ones_are_kept(planner: MappingPlanner) -> None:
    owners = {"2": "Two", "3": "Three"}
    planned = name_mapping(planner, MANY, {"5": "Five", "6": "Six"}, owners)
    assert {m.row: (m.owner_name, m.deal_name) for m in planned.sealed_messages} == {
        1: ("Two", "Five"),
        2: ("Ann", "Six"),
        3: ("Three", "Seven"),
        4: (None, None),
        6: ("Ann", "Eight"),
    }
    assert (planned.shape.deals_without_name, planned.shape.owners_without_name) == (0, 0)
    assert list(planned.sealed.deals_without_name()) == []
    assert planned.rejected == 0


def test_rows_whose_deal_or_owner_is_unknown_are_refused(planner: MappingPlanner) -> None:
    planned = name_mapping(planner, MANY, {"6": "Six"}, {"2": "Two"})
    assert planned.reasons == {1: ("unknown-deal", "deal_id"), 3: ("unknown-owner", "owner_id")}
    assert [fault.message for fault in planned.faults] == [
        "The CRM shows no deal 5.",
        "The CRM shows no owner 3.",
    ]
    assert (planned.rejected, planned.duplicates, planned.messages) == (2, 1, 3)
    assert [row.deal_id for row in planned.refused_rows] == ["5", "7"]
    assert [line["bulklink_raw"] for line in planned.rejects] == ["5", "3"]
    assert [row["bulklink_row"] for row in planned.plan] == [2, 5, 4, 6]


def test_a_duplicate_of_a_refused_row_stays_a_duplicate_and_needs_no_call(
    planner: MappingPlanner,
) -> None:
    content = NAMES + "link,1,2,a,5,,\nlink,1,2,a,5,,\nlink,3,3,b,6,,\n"
    planned = name_mapping(planner, content, {"6": "Six"}, {"2": "Two", "3": "Three"})
    assert (planned.rejected, planned.duplicates, planned.messages) == (1, 1, 1)
    assert planned.shape.groups == 1
    assert planned.shape.link_calls(20) == 1
    assert [row["bulklink_duplicate_of"] for row in planned.plan] == [1, None]
    assert [message.row for message in planned.sealed_messages] == [3]


def test_a_deal_listed_twice_does_not_repeat_its_rows(planner: MappingPlanner) -> None:
    checked = planner.check([planner.write(NAMES + "link,1,2,a,5,Ann,\n")], MIXED)
    checked.add_names([("5", "Five"), ("5", "Fünf"), ("77", "Other")], [])
    planned = PlannedMapping(checked, planner.folder)
    assert [message.deal_name for message in planned.sealed_messages] == ["Five"]
