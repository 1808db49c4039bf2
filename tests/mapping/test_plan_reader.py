"""Sealed plans: content, streaming, and looked-up names."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

from bulklink.errors import LedgerError, RunDirError
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Message, Op
from tests.mapping.planner import HEADER, MIXED, RELINK, UNLINK, MappingPlanner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAMES = "op,contact_id,owner_id,message_id,deal_id,owner_name,deal_name\n"
MANY = NAMES + (
    "link,1,2,a,5,,\n"
    "link,1,2,b,6,Ann,\n"
    "relink,1,3,c,7,,Seven\n"
    "unlink,1,4,d,,,\n"
    "link,1,2,a,5,,\n"
    "link,9,2,e,8,Ann,Eight\n"
)


def test_a_plan_has_its_own_columns_first_and_then_the_users(planner: MappingPlanner) -> None:
    (row,) = planner.plan("Contact ID,owner_id,message_id,deal_id,My note\nzcrm_1,2,m,5,n\n").plan
    assert row == {
        "bulklink_row": 1,
        "bulklink_file": str(planner.folder / "mapping.csv"),
        "bulklink_line": 2,
        "bulklink_op": "link",
        "bulklink_contact_id": "1",
        "bulklink_owner_id": "2",
        "bulklink_message_id": "m",
        "bulklink_deal_id": "5",
        "bulklink_owner_name": None,
        "bulklink_deal_name": None,
        "bulklink_group": 1,
        "bulklink_duplicate_of": None,
        "bulklink_from_deal_id": None,
        "bulklink_fetched_deal_id": None,
        "bulklink_fetched_deal_name": None,
        "bulklink_origin_row": 1,
        "Contact ID": "zcrm_1",
        "owner_id": "2",
        "message_id": "m",
        "deal_id": "5",
        "My note": "n",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_written_files_are_private(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{HEADER}1,2,m,5,\nx\n")
    assert len(planned.plan) == len(planned.rejects) == 1
    for name in ("plan.parquet", "rejects.csv"):
        assert stat.S_IMODE((planner.folder / name).stat().st_mode) == 0o600
    assert sorted(path.name for path in planner.folder.iterdir()) == [
        "mapping.csv",
        "plan.parquet",
        "rejects.csv",
        "scratch",
    ]


def test_a_plan_without_a_valid_row_is_empty_and_can_be_read(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{HEADER}x,2,m,5,\n")
    assert planned.sealed_messages == []
    assert planned.shape.groups == 0


def test_nameless_deals_and_owners_are_those_of_links_and_relinks_that_are_sent(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan(MANY, MIXED)
    assert list(planned.sealed.deals_without_name()) == ["5", "6"]
    assert list(planned.sealed.owners_without_name()) == ["2", "3"]
    assert (planned.shape.deals_without_name, planned.shape.owners_without_name) == (2, 2)


@pytest.mark.parametrize(
    ("header", "cells", "defaults", "counted"),
    [
        ("", "", (), (3, 2)),
        (",owner_name", ",Ann", (), (3, 0)),
        (",owner_name", ", ", (), (3, 2)),
        (",deal_name", ",Five", (), (0, 2)),
        ("", "", (("owner_name", "Ann"),), (3, 0)),
        ("", "", (("owner_name", " "), ("deal_name", "Five")), (0, 2)),
    ],
)
def test_deals_and_owners_without_a_name_are_counted_as_they_will_be_looked_up(
    planner: MappingPlanner,
    header: str,
    cells: str,
    defaults: tuple[tuple[str, str], ...],
    counted: tuple[int, int],
) -> None:
    text = f"contact_id,owner_id,message_id,deal_id{header}\n" + "".join(
        f"{ids}{cells}\n" for ids in ("1,2,a,5", "1,3,b,6", "4,2,c,7", "4,2,c,7")
    )
    planned = planner.plan(text, MappingOptions(Op.LINK, defaults=defaults))
    assert (planned.shape.deals_without_name, planned.shape.owners_without_name) == counted
    sealed = planned.sealed
    looked_up = (sealed.deals_without_name(), sealed.owners_without_name())
    assert tuple(len(list(ids)) for ids in looked_up) == counted


def test_looked_up_names_are_sent_and_names_in_the_mapping_are_kept(
    planner: MappingPlanner,
) -> None:
    plan = planner.plan(MANY, MIXED).sealed
    names = planner.folder / "names.parquet"
    assert plan.write_names([("5", "Five"), ("6", "Six")], [("2", "Bob"), ("3", "Cy")], names) == 0
    sent = [message for chunk in plan.chunks(names) for message in chunk]
    assert sent == [
        Message(1, Op.LINK, "1", "2", "a", "5", "Bob", "Five"),
        Message(2, Op.LINK, "1", "2", "b", "6", "Ann", "Six"),
        Message(3, Op.RELINK, "1", "3", "c", "7", "Cy", "Seven"),
        Message(4, Op.UNLINK, "1", "4", "d"),
        Message(6, Op.LINK, "9", "2", "e", "8", "Ann", "Eight"),
    ]
    assert list(plan.unknown_rows(names)) == []


def test_messages_whose_deal_or_owner_is_unknown_are_refused_and_not_sent(
    planner: MappingPlanner,
) -> None:
    plan = planner.plan(MANY, MIXED).sealed
    names = planner.folder / "names.parquet"
    assert plan.write_names([("6", "Six")], [("2", "Bob")], names) == 2
    assert [(row.row, row.op, row.deal_id, row.code) for row in plan.unknown_rows(names)] == [
        (1, Op.LINK, "5", "unknown-deal"),
        (3, Op.RELINK, "7", "unknown-owner"),
    ]
    assert [message.row for chunk in plan.chunks(names) for message in chunk] == [2, 4, 6]


def test_names_of_another_plan_are_refused(planner: MappingPlanner) -> None:
    names = planner.folder / "names.parquet"
    planner.plan(f"{HEADER}1,2,a,5,\n1,2,b,5,\n").sealed.write_names([], [], names)
    other_plan = planner.plan(f"{HEADER}2,2,a,5,\n1,2,b,5,\n").sealed
    with pytest.raises(LedgerError, match="do not belong"):
        list(other_plan.chunks(names))


def test_names_that_miss_a_row_are_refused(planner: MappingPlanner) -> None:
    names = planner.folder / "names.parquet"
    planner.plan(f"{HEADER}1,2,a,5,\n").sealed.write_names([], [], names)
    other_plan = planner.plan(f"{HEADER}1,2,a,5,\n1,2,b,5,\n").sealed
    with pytest.raises(LedgerError, match="do not belong"):
        list(other_plan.chunks(names))


def test_chunks_are_bounded(planner: MappingPlanner) -> None:
    rows = "".join(f"1,2,m{n},5,\n" for n in range(5000))
    sizes = [len(chunk) for chunk in planner.plan(HEADER + rows).sealed.chunks()]
    assert sum(sizes) == 5000
    assert max(sizes) <= 2048


def test_a_missing_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="no sealed plan"):
        SealedPlan(tmp_path / "plan.parquet")


def ceil_of_twenty(lengths: Sequence[int]) -> int:
    return -(-len(lengths) // 20)


def test_calls_are_counted_per_group(planner: MappingPlanner) -> None:
    rows = "".join(f"link,1,2,l{n},5,,\n" for n in range(15))
    rows += "".join(f"relink,1,2,r{n},5,,\n" for n in range(10))
    rows += "".join(f"relink,1,3,q{n},5,,\n" for n in range(11))
    rows += "".join(f"unlink,4,2,u{n},,,\n" for n in range(41))
    shape = planner.plan(NAMES + rows, MIXED).shape
    assert (shape.groups, shape.links, shape.unlinks, shape.relinks) == (3, 15, 41, 21)
    assert shape.link_calls(20) == 2 + 1
    assert shape.link_calls(1) == 36
    assert shape.unlink_calls(ceil_of_twenty) == 1 + 1 + 3
    assert (shape.pages_of_unlinks, shape.pages_of_all) == (3 + 5, 4 + 5)


def test_owners_of_a_contact_can_share_link_calls(planner: MappingPlanner) -> None:
    sizes = {("1", "2"): 15, ("1", "3"): 4, ("1", "4"): 1, ("5", "2"): 21, ("6", "3"): 0}
    rows = "".join(
        f"{'relink' if n % 2 else 'link'},{contact},{owner},m{n},5,,\n"
        for (contact, owner), size in sizes.items()
        for n in range(size)
    )
    shape = planner.plan(f"{NAMES}{rows}unlink,1,9,u,,,\nunlink,6,3,u,,,\n", MIXED).shape
    assert shape.link_sizes == ((1, 1), (4, 1), (15, 1), (21, 1))
    assert shape.contact_link_sizes == ((20, 1), (21, 1))
    assert (shape.link_calls(20), shape.link_calls(20, by_contact=True)) == (1 + 1 + 1 + 2, 1 + 2)
    assert shape.link_calls(1) == shape.link_calls(1, by_contact=True) == 41


def test_long_ids_of_mixed_length_are_packed_one_by_one(
    planner: MappingPlanner,
) -> None:
    lengths = [[500, 1, 300], [99, 98], [200, 200]]
    rows = "".join(
        f"{group},2,{letter * length},\n"
        for group, ids in enumerate(lengths, 1)
        for letter, length in zip("abc", ids, strict=False)
    )
    shape = planner.plan(f"contact_id,owner_id,message_id,deal_id\n{rows}", UNLINK).shape
    assert list(shape.mixed_unlinks()) == [[500, 1, 300]]
    assert shape.unlink_sizes == ((2, 99, 1), (2, 200, 1))
    assert shape.unlink_calls(len) == 3 + 2 + 2


def test_duplicates_and_refused_rows_need_no_calls(planner: MappingPlanner) -> None:
    rows = "1,2,a,5,\n1,2,a,5,\n1,2,x-,5,\n1,2,c,5,\n1,2,c,6,\n"
    shape = planner.plan(HEADER + rows, RELINK).shape
    assert (shape.groups, shape.relinks, shape.link_calls(1)) == (1, 1, 1)


def test_the_same_file_has_the_same_hash_however_it_is_read(planner: MappingPlanner) -> None:
    content = f"{HEADER}1,2,m,5,n\n"
    first = planner.check([planner.write(content)]).inputs[0]
    second = planner.check([planner.write(content, "other.csv")], MappingOptions(Op.UNLINK)).inputs[
        0
    ]
    assert (first.sha256, first.bytes, first.records) == (second.sha256, len(content), 1)


def test_a_duplicate_without_names_needs_no_look_up(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{NAMES}link,1,2,a,5,Ann,Five\nlink,1,2,a,5,,\n", MIXED)
    assert list(planned.sealed.deals_without_name()) == []
    assert list(planned.sealed.owners_without_name()) == []
    assert (planned.shape.deals_without_name, planned.shape.owners_without_name) == (0, 0)
