"""Shards of a mapping: checked and sealed as the whole would be, each contact in one of them."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulklink.mapping.shard_check import OriginRows, misplaced_contacts
from bulklink.mapping.sharding import count_contacts, shard_of, split_mapping
from tests.mapping.planner import LINK, MIXED, MappingPlanner, as_csv, read_plan

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.checked import CheckedMapping
    from bulklink.mapping.schema import MappingOptions

PROPERTY = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HEADER = ("contact_id", "owner_id", "message_id", "deal_id", "from_deal_id", "op", "note")
CONTACTS = st.sampled_from(["1", "2", "3", "4", "5", "6", "007", "18446744073709551616", "x", ""])
OWNERS = st.sampled_from(["1", "2", ""])
MESSAGES = st.sampled_from(["m1", "m2", "m3", "m-4"])
DEALS = st.sampled_from(["5", "6", "7.0", ""])
ROWS = st.lists(
    st.tuples(
        CONTACTS,
        OWNERS,
        MESSAGES,
        DEALS,
        st.sampled_from(["", "none", "5|none", "?"]),
        st.sampled_from(["link", "unlink", "relink", "drop"]),
        st.sampled_from(["a", "b", 'c "d"', ""]),
    ),
    min_size=1,
    max_size=40,
)
OWN_NUMBERS = ("bulklink_row", "bulklink_group", "bulklink_duplicate_of", "bulklink_origin_row")
Row = dict[str, Any]


def content(row: Row, duplicate_of: int | None) -> Row:
    """Return a row of a plan without what differs between a shard and the whole."""
    return {name: cell for name, cell in row.items() if name not in OWN_NUMBERS} | {
        "duplicate_of": duplicate_of
    }


def refusals(checked: CheckedMapping) -> list[tuple[Any, ...]]:
    """Return the refused rows, without their numbers."""
    return [
        (fault.file, fault.line, fault.column, fault.reason, fault.raw, fault.message)
        for fault in checked.faults()
    ]


def seal(checked: CheckedMapping, folder: Path) -> list[Row]:
    """Seal a plan and return its rows in its order."""
    folder.mkdir()
    checked.seal(folder)
    return read_plan(folder / "plan.parquet")


def looked_up(checked: CheckedMapping) -> None:
    """Add names; the deal 6 does not exist."""
    checked.add_names([("5", "Five")], [("1", "Pat"), ("2", "Sam")])


@PROPERTY
@given(
    rows=ROWS,
    shards=st.integers(2, 5),
    options=st.sampled_from([LINK, MIXED]),
    noted=st.booleans(),
    named=st.booleans(),
)
@example(  # a conflict names rows of the whole mapping, and a duplicate follows it
    rows=[
        ("1", "1", "m1", "5", "", "link", ""),
        ("2", "1", "m1", "5", "", "link", ""),
        ("2", "1", "m1", "6", "", "link", ""),
        ("1", "1", "m1", "5", "", "link", ""),
    ],
    shards=2,
    options=LINK,
    noted=False,
    named=False,
)
def test_shards_are_checked_and_sealed_as_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, ...]],
    shards: int,
    options: MappingOptions,
    *,
    noted: bool,
    named: bool,
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    if noted:
        options = msgspec.structs.replace(options, only=(("note", None),))
    header = HEADER if options.op is None else tuple(n for n in HEADER if n != "op")
    cells = [
        [cell for name, cell in zip(HEADER, row, strict=True) if name in header] for row in rows
    ]
    with closing(MappingPlanner(folder)) as planner:
        path = planner.write(as_csv(header, cells))
        whole, split = planner.check([path], options), planner.check([path], options)
        if named:
            looked_up(whole)
            looked_up(split)
        expected_refusals = sorted(refusals(whole), key=str)
        planned = {row["bulklink_row"]: row for row in seal(whole, folder / "whole")}
        expected = {
            number: content(
                row, first if (first := row["bulklink_duplicate_of"]) in planned else None
            )
            for number, row in planned.items()
        }
        counts = [whole.rows, whole.rejected, whole.duplicates, whole.messages]
        found: dict[int, Row] = {}
        found_refusals: list[tuple[Any, ...]] = []
        sums = [0, 0, 0, 0]
        origins = OriginRows(len(rows))
        for number, shard in split_mapping(split, shards):
            rows_of_shard = seal(shard, folder / str(number))
            origin = {row["bulklink_row"]: row["bulklink_origin_row"] for row in rows_of_shard}
            assert [origin[row] for row in sorted(origin)] == sorted(origin.values())
            assert all(1 <= row <= shard.rows for row in origin)
            for row in rows_of_shard:
                assert shard_of(row["bulklink_contact_id"], shards) == number
                duplicate_of = origin.get(row["bulklink_duplicate_of"])
                found[row["bulklink_origin_row"]] = content(row, duplicate_of)
            for refused in shard.refused_rows():
                assert shard_of(refused.contact_id, shards) == number
            found_refusals += refusals(shard)
            shard_counts = (shard.rows, shard.rejected, shard.duplicates, shard.messages)
            sums = list(map(sum, zip(sums, shard_counts, strict=True)))
            assert (shard.left_out, shard.plan_stats().groups >= 0) == (0, True)
            assert misplaced_contacts(folder / str(number) / "plan.parquet", number, shards) == 0
            assert not origins.add(folder / str(number) / "plan.parquet")
        assert found == expected
        assert sorted(found_refusals, key=str) == expected_refusals
        assert sums == counts


def test_a_contact_is_in_the_shard_that_its_hash_names() -> None:
    digest = hashlib.sha256(b"5843104000010000017").digest()
    assert shard_of("5843104000010000017", 8) == int.from_bytes(digest[:8], "big") % 8 + 1
    assert shard_of(None, 8) == shard_of("", 8)
    spread = [shard_of(str(contact), 8) for contact in range(8000)]
    assert all(800 < spread.count(number) < 1200 for number in range(1, 9))


def test_contacts_of_refused_rows_do_not_count(planner: MappingPlanner) -> None:
    rows = [("1", "1", "m1", "5"), ("2", "1", "m1", "x"), ("1", "1", "m2", "5")]
    checked = planner.check([planner.write(as_csv(HEADER[:4], rows))])
    assert count_contacts(checked) == 1


def test_rows_of_another_shard_and_contacts_of_another_hash_are_found(
    planner: MappingPlanner, tmp_path: Path
) -> None:
    rows = [(str(contact), "1", "m1", "5") for contact in range(1, 21)]
    checked = planner.check([planner.write(as_csv(HEADER[:4], rows))])
    origins = OriginRows(19)  # as if the mapping had a row less
    faults = []
    for number, shard in split_mapping(checked, 2):
        seal(shard, tmp_path / str(number))
        plan = tmp_path / str(number) / "plan.parquet"
        faults += origins.add(plan)
        assert misplaced_contacts(plan, 3 - number, 2) == shard.rows
    assert faults == ["1 row is not of this mapping: 20."]
    repeated = origins.add(tmp_path / "1" / "plan.parquet")
    assert any("in other shards" in fault for fault in repeated)
