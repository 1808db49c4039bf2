"""Only kept columns are written to the files of a run."""

from __future__ import annotations

import pytest

from bulklink.errors import BadFileError
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import MappingPlanner

HEADER = "Name,contact_id,Mail,owner_id,message_id,Note,deal_id,Mail\n"
ROWS = "Ann,1,a@x,2,m1,yes,5,b@x\nBob,x,c@x,2,m2,no,5,d@x\nCid,3,e@x,2,m3,no,5,f@x\n"
NEEDED = ["contact_id", "owner_id", "message_id", "deal_id"]


def kept_headers(
    planner: MappingPlanner, *keep: str, only: tuple[tuple[str, str | None], ...] = ()
) -> list[str]:
    """Plan, and return the user's headers, which must be the same in plan and rejects."""
    planned = planner.plan(HEADER + ROWS, MappingOptions(Op.LINK, keep=keep, only=only))
    plan = [name for name in planned.plan[0] if not name.startswith("bulklink_")]
    rejects = [name for name in planned.rejects[0] if not name.startswith("bulklink_")]
    assert rejects == list(dict.fromkeys(name.removesuffix("_2") for name in plan))
    return plan


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (("",), NEEDED),
        (("Note",), [*NEEDED[:3], "Note", "deal_id"]),
        (("note",), [*NEEDED[:3], "Note", "deal_id"]),
        (("Note,Name",), ["Name", *NEEDED[:3], "Note", "deal_id"]),
        (("Note", "Name"), ["Name", *NEEDED[:3], "Note", "deal_id"]),
        (("Mail",), ["contact_id", "Mail", "owner_id", "message_id", "deal_id", "Mail_2"]),
        (("deal_id",), NEEDED),
    ],
)
def test_named_and_sent_columns_are_kept_in_order(
    planner: MappingPlanner, keep: tuple[str, ...], expected: list[str]
) -> None:
    assert kept_headers(planner, *keep) == expected


def test_kept_cells_stay_in_their_columns(planner: MappingPlanner) -> None:
    planned = planner.plan(HEADER + ROWS, MappingOptions(Op.LINK, keep=("Note",)))
    assert [(row["message_id"], row["Note"]) for row in planned.plan] == [
        ("m1", "yes"),
        ("m3", "no"),
    ]
    assert [(row["contact_id"], row["Note"]) for row in planned.rejects] == [("x", "no")]
    assert planned.reasons == {2: ("bad-id", "contact_id")}


def test_rows_can_be_filtered_by_columns_that_are_not_kept(planner: MappingPlanner) -> None:
    mapping_options = MappingOptions(Op.LINK, keep=("Name",), only=(("Note", "no"),))
    planned = planner.plan(HEADER + ROWS, mapping_options)
    assert [row["Name"] for row in planned.plan] == ["Cid"]
    assert "Note" not in planned.plan[0]
    assert planned.left_out == 1


def test_a_header_with_a_comma_is_one_column(planner: MappingPlanner) -> None:
    text = 'contact_id,owner_id,message_id,deal_id,"a,b",a\n1,2,m,5,x,y\n'
    planned = planner.plan(text, MappingOptions(Op.LINK, keep=("a,b",)))
    assert list(planned.plan[0])[-1] == "a,b"
    assert "a" not in planned.plan[0]


def test_the_deal_of_an_unlink_is_one_of_the_users_own_columns(planner: MappingPlanner) -> None:
    planned = planner.plan(HEADER + ROWS, MappingOptions(Op.UNLINK, keep=("",)))
    assert [name for name in planned.plan[0] if not name.startswith("bulklink_")] == NEEDED[:3]


def test_an_unknown_header_is_named_with_the_nearest_one(planner: MappingPlanner) -> None:
    with pytest.raises(BadFileError, match="'Nota'") as refused:
        planner.plan(HEADER + ROWS, MappingOptions(Op.LINK, keep=("Nota",)))
    assert "'Note'" in refused.value.advice
    assert refused.value.where == "keep Nota"
