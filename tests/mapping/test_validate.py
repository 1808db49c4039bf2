"""Rules for rows: valid ids, refusals, conflicts, duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Message, Op
from tests.mapping.planner import (
    HEADER,
    LINK,
    MIXED,
    RELINK,
    UNLINK,
    MappingPlanner,
    PlannedMapping,
    as_csv,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

HUNDRED = "1" * 100


GOOD_CELLS = [
    ("7", "7"),
    (" 7 ", "7"),
    ("\t7", "7"),
    ("\u00a07\u00a0", "7"),
    ("'7", "7"),
    ('="7"', "7"),
    ('=" 7 "', "7"),
    ("zcrm_7", "7"),
    ("'zcrm_7", "7"),
    ('="zcrm_7"', "7"),
    ("007", "007"),
    (HUNDRED, HUNDRED),
    ("4150868000000224005", "4150868000000224005"),
    ("123456789012345678901234567890", "123456789012345678901234567890"),
]


@pytest.fixture(scope="module")
def cleaned_ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlannedMapping]:
    """One mapping with a row for each cell that becomes an id once stripped."""
    planner = MappingPlanner(tmp_path_factory.mktemp("good"))
    rows = [[cell, cell, f" m{n}", cell, cell] for n, (cell, _) in enumerate(GOOD_CELLS, 1)]
    yield planner.plan(as_csv(HEADER.strip().split(","), rows))
    planner.close()


@pytest.mark.parametrize(
    ("row", "cell", "sent"),
    [(row, *good) for row, good in enumerate(GOOD_CELLS, 1)],
    ids=[repr(cell[:25]) for cell, _ in GOOD_CELLS],
)
def test_characters_around_an_id_are_stripped_and_kept_in_the_users_cell(
    cleaned_ids: PlannedMapping, row: int, cell: str, sent: str
) -> None:
    (message,) = [message for message in cleaned_ids.sealed_messages if message.row == row]
    assert message == Message(row, Op.LINK, sent, sent, f"m{row}", sent)
    (planned_row,) = [planned for planned in cleaned_ids.plan if planned["bulklink_row"] == row]
    assert planned_row["contact_id"] == planned_row["deal_id"] == planned_row["Note"] == cell


BAD_CELLS = [
    ("contact_id", "", "missing-value"),
    ("contact_id", "  ", "missing-value"),
    ("contact_id", '=""', "missing-value"),
    ("owner_id", "zcrm_", "missing-value"),
    ("contact_id", "12a", "bad-id"),
    ("contact_id", "-5", "bad-id"),
    ("contact_id", "1 2", "bad-id"),
    ("contact_id", "٣", "bad-id"),
    ("contact_id", HUNDRED + "1", "bad-id"),
    ("contact_id", "zcrm_zcrm_1", "bad-id"),
    ("owner_id", "4.15E+18", "rounded-id"),
    ("owner_id", "4,15E+18", "rounded-id"),
    ("owner_id", "4e18", "rounded-id"),
    ("deal_id", "4150868000000220000", "rounded-id"),
    ("deal_id", "4150868000000230000", "rounded-id"),
    ("message_id", "a-b", "bad-id"),
    ("message_id", "a b", "bad-id"),
    ("message_id", "é", "bad-id"),
    ("message_id", "m" * 501, "bad-id"),
    ("message_id", "4.15E+18", "rounded-id"),
    ("message_id", "", "missing-value"),
    ("deal_id", "", "missing-value"),
]


@pytest.fixture(scope="module")
def refused_ids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlannedMapping]:
    """One mapping with a row for each bad cell."""
    planner = MappingPlanner(tmp_path_factory.mktemp("bad"))
    header = HEADER.strip().split(",")
    rows = [["1", "2", f"m{n}", "3", ""] for n in range(len(BAD_CELLS))]
    for row, (column, cell, _) in zip(rows, BAD_CELLS, strict=True):
        row[header.index(column)] = cell
    yield planner.plan(as_csv(header, rows))
    planner.close()


@pytest.mark.parametrize(
    ("row", "column", "cell", "reason"),
    [(row, *bad) for row, bad in enumerate(BAD_CELLS, 1)],
    ids=[f"{column}-{cell[:20]!r}" for column, cell, _ in BAD_CELLS],
)
def test_a_bad_cell_is_refused_with_its_reason_and_its_column(
    refused_ids: PlannedMapping, row: int, column: str, cell: str, reason: str
) -> None:
    assert refused_ids.reasons[row] == (reason, column)
    fault = refused_ids.faults[row - 1]
    assert (fault.row, fault.raw) == (row, cell)
    assert column in fault.message


@pytest.mark.parametrize(
    "message_id",
    ["1e5", "0" * 16 + "0" * 16, "123456789012345678900000", "m" * 500, "c6085fae06cbd7b7"],
    ids=["letters-like-an-exponent", "zeros", "rounded-like", "longest", "hex"],
)
def test_a_message_id_is_letters_and_digits_and_never_looks_rounded(
    planner: MappingPlanner, message_id: str
) -> None:
    assert (
        planner.plan(f"{HEADER}1,2,{message_id},3,\n").sealed_messages[0].message_id == message_id
    )


def mapping_with_zeros(count: int, zeros: int) -> str:
    """Write `count` links of which `zeros` have a deal that ends in zeros."""
    deals = [
        4150868000000000000 + (10_000 * n if n < zeros else 10_000 * n + 7) for n in range(count)
    ]
    return HEADER + "".join(f"1,2,m{n},{deal},\n" for n, deal in enumerate(deals, 1))


def test_round_ids_that_chance_explains_cause_no_warning(planner: MappingPlanner) -> None:
    planned = planner.plan(mapping_with_zeros(100, 1))
    assert (planned.rejected, planned.warnings) == (0, ())


def test_round_ids_that_chance_hardly_explains_cause_a_warning(planner: MappingPlanner) -> None:
    planned = planner.plan(mapping_with_zeros(100, 2))
    assert planned.rejected == 0
    assert "2 of 100 distinct 19-digit ids in deal_id" in planned.warnings[0]
    assert "--allow-round-ids" in planned.warnings[0]


def test_more_round_ids_than_chance_explains_are_refused(planner: MappingPlanner) -> None:
    planned = planner.plan(mapping_with_zeros(100, 4))
    assert {reason for reason, _ in planned.reasons.values()} == {"rounded-id"}
    assert planned.rejected == 4
    assert "--allow-round-ids" in planned.warnings[0]
    assert all("--allow-round-ids" in fault.message for fault in planned.faults)


def test_round_ids_are_counted_separately_for_each_length(planner: MappingPlanner) -> None:
    text = mapping_with_zeros(100, 1) + "".join(
        f"1,2,short{n},{1234567890123450 + 10 * n},\n" for n in range(8)
    )
    assert set(planner.plan(text).reasons) == {*range(101, 109)}


def test_an_honest_column_of_thousands_has_round_ids_and_no_warning(
    planner: MappingPlanner,
) -> None:
    rows = (f"1,2,m{n},{5843104000000424162 + 91 * n},\n" for n in range(30_000))
    planned = planner.plan(HEADER + "".join(rows))
    assert (planned.rejected, planned.warnings) == (0, ())


def test_a_single_round_id_in_all_rows_is_no_evidence_but_causes_a_warning(
    planner: MappingPlanner,
) -> None:
    text = HEADER + "".join(f"1,4150868000000220000,m{n},3,\n" for n in range(300))
    planned = planner.plan(text)
    assert (planned.rejected, planned.messages) == (0, 300)
    assert "1 of 1 distinct 19-digit ids in owner_id ends in zeros" in planned.warnings[0]


def test_round_ids_can_be_allowed(planner: MappingPlanner) -> None:
    planned = planner.plan(
        mapping_with_zeros(100, 50), MappingOptions(op=Op.LINK, allow_round_ids=True)
    )
    assert (planned.rejected, planned.messages) == (0, 100)


def test_scientific_notation_is_refused_even_if_round_ids_are_allowed(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan(
        f"{HEADER}1,2,m,4E+18,\n", MappingOptions(op=Op.LINK, allow_round_ids=True)
    )
    assert planned.reasons == {1: ("rounded-id", "deal_id")}


def test_the_deal_of_an_unlink_is_the_users_own_and_never_checked(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{HEADER}1,2,m,no deal at all,x\n", UNLINK)
    assert planned.sealed_messages == [Message(1, Op.UNLINK, "1", "2", "m")]
    assert planned.plan[0]["deal_id"] == "no deal at all"
    assert planned.plan[0]["bulklink_deal_id"] is None


def test_an_unlink_needs_no_deal_column(planner: MappingPlanner) -> None:
    assert planner.plan("contact_id,owner_id,message_id\n1,2,m\n", UNLINK).messages == 1


@pytest.mark.parametrize("deal", ["5", " zcrm_5", "none of yours", ""])
def test_the_deal_of_an_unlink_row_in_a_mixed_mapping_is_kept_unchanged(
    planner: MappingPlanner, deal: str
) -> None:
    header = "op,contact_id,owner_id,message_id,deal_id\n"
    planned = planner.plan(f"{header}unlink,1,2,m,{deal}\nlink,1,2,n,5\n", MIXED)
    assert planned.plan[0]["deal_id"] == deal
    assert planned.sealed_messages[0] == Message(1, Op.UNLINK, "1", "2", "m")


@pytest.mark.parametrize(
    ("stated", "mapping_options", "reason"),
    [
        ("link", LINK, None),
        ("LINK", LINK, None),
        (" Link ", LINK, None),
        ("", LINK, "missing-value"),
        ("unlink", LINK, "bad-op"),
        ("relink", LINK, "bad-op"),
        ("link", RELINK, "bad-op"),
        ("nonsense", LINK, "bad-op"),
        ("Relink", MIXED, None),
        ("", MIXED, "missing-value"),
        ("delete", MIXED, "bad-op"),
    ],
)
def test_the_op_column_decides_or_must_not_contradict(
    planner: MappingPlanner, stated: str, mapping_options: MappingOptions, reason: str | None
) -> None:
    planned = planner.plan(f"op,{HEADER}{stated},1,2,m,3,\n", mapping_options)
    assert planned.reasons == ({1: (reason, "op")} if reason else {})


@pytest.mark.parametrize(
    ("rows", "conflict"),
    [
        (["link,1,2,m,5", "link,1,2,m,6"], True),
        (["link,1,2,m,5", "unlink,1,2,m,5"], True),
        (["link,1,2,m,5", "relink,1,2,m,5"], True),
        (["unlink,1,2,m,5", "unlink,1,2,m,6"], False),
        (["link,1,2,m,5", "link,1,3,m,6"], False),
        (["link,1,2,m,5", "link,4,2,m,6"], False),
        (["link,1,2,m,5", "link,1,2,M,6"], False),
        (["link,1,2,m,5", "link, zcrm_1,2,m,6"], True),
        (["link,1,2,m,5", "link,x,2,m,6"], False),
    ],
)
def test_contradicting_rows_for_one_message_are_a_conflict(
    planner: MappingPlanner, rows: list[str], *, conflict: bool
) -> None:
    text = "op,contact_id,owner_id,message_id,deal_id\n" + "\n".join(rows)
    reasons = [reason for reason, _ in planner.plan(text, MIXED).reasons.values()]
    assert reasons.count("conflict") == (2 if conflict else 0)


def test_all_rows_of_a_conflict_are_refused_and_each_names_the_others(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan(f"{HEADER}1,2,m,5,\n1,2,m,6,\n1,2,ok,5,\n1,2,m,5,\n")
    assert [(fault.row, fault.reason) for fault in planned.faults] == [
        (1, "conflict"),
        (2, "conflict"),
        (4, "conflict"),
    ]
    assert [fault.message.rpartition("in ")[2] for fault in planned.faults] == [
        "rows 2, 4",
        "rows 1, 4",
        "rows 1, 2",
    ]


def test_a_large_conflict_names_twenty_rows_and_the_number_of_the_rest(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan(HEADER + "".join(f"1,2,m,{deal},\n" for deal in range(1, 41)))
    assert planned.rejected == 40
    listed_rows = ", ".join(str(row) for row in range(2, 22))
    assert planned.faults[0].message.endswith(f"rows {listed_rows} and 19 more")
    assert planned.faults[39].message.endswith(", 20 and 19 more")


def test_an_empty_op_takes_a_default_that_the_user_sets(planner: MappingPlanner) -> None:
    mapping_options = msgspec.structs.replace(LINK, defaults=(("op", "link"),))
    planned = planner.plan(f"op,{HEADER},1,2,m,3,\nunlink,1,2,n,3,\n", mapping_options)
    assert planned.reasons == {2: ("bad-op", "op")}
    assert planned.messages == 1


def test_an_invalid_row_neither_conflicts_nor_repeats(planner: MappingPlanner) -> None:
    planned = planner.plan(f"op,{HEADER}link,1,2,m,x,\nlink,1,2,m,5,\nlink,1,2,m,5,\n", LINK)
    assert planned.reasons == {1: ("bad-id", "deal_id")}
    assert [(row.row, row.duplicate_of) for row in planned.duplicate_rows] == [(3, 2)]


def test_a_duplicate_is_marked_in_the_plan_and_not_sent(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{HEADER}1,2,m,5,a\n1,2,m,5,b\n'1,2,m,5,c\n")
    assert [message.row for message in planned.sealed_messages] == [1]
    assert [(row["bulklink_duplicate_of"], row["Note"]) for row in planned.plan] == [
        (None, "a"),
        (1, "b"),
        (1, "c"),
    ]
    assert (planned.duplicates, planned.rejected, planned.messages) == (2, 0, 1)


def test_names_are_ignored_when_duplicates_are_found(planner: MappingPlanner) -> None:
    header = "contact_id,owner_id,message_id,deal_id,deal_name\n"
    planned = planner.plan(f"{header}1,2,m,5,One\n1,2,m,5,Other\n")
    assert (planned.duplicates, planned.rejected) == (1, 0)
    assert planned.sealed_messages[0].deal_name == "One"


def test_a_refused_row_keeps_the_fields_that_could_be_read(planner: MappingPlanner) -> None:
    planned = planner.plan(f'{HEADER}1,x,m,5,\n"b"x,\n')
    first, second = planned.refused_rows
    assert (first.op, first.contact_id, first.owner_id) == (Op.LINK, "1", None)
    assert (first.message_id, first.deal_id, first.reason) == ("m", "5", "bad-id")
    assert (second.contact_id, second.message_id, second.reason) == (None, None, "broken-record")


@pytest.mark.parametrize(
    ("only", "rows"),
    [
        ((("accept", "yes"),), [1, 3]),
        ((("ACCEPT", "yes"),), [1, 3]),
        ((("accept", None),), [1, 2, 3]),
        ((("accept", "yes"), ("Note", "b")), [3]),
        ((("deal_id", "5"),), [1, 2]),
        ((("deal_id", "6"),), [3]),
        ((("owner_id", "2"),), [1, 2, 3, 4]),
    ],
)
def test_rows_that_do_not_match_only_are_left_out_of_the_run(
    planner: MappingPlanner, only: tuple[tuple[str, str | None], ...], rows: list[int]
) -> None:
    text = (
        "contact_id,owner_id,message_id,deal_id,Note,accept\n"
        "1,2,a,5,a,yes\n1,2,b,5,b,no\n1,2,c,zcrm_6,b, yes \n1,2,d,7,,\n"
    )
    planned = planner.plan(text, MappingOptions(op=Op.LINK, only=only))
    assert [message.row for message in planned.sealed_messages] == rows
    assert (planned.rows, planned.left_out) == (len(rows), 4 - len(rows))


def test_only_does_not_leave_out_a_broken_record(planner: MappingPlanner) -> None:
    planned = planner.plan(
        f'{HEADER}1,2,a,5,no\n"b"x,\n1,2,a,x,no\n',
        MappingOptions(op=Op.LINK, only=(("Note", "yes"),)),
    )
    assert planned.reasons == {2: ("broken-record", None)}
    assert (planned.rows, planned.left_out) == (1, 2)


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("contact_id,message_id,deal_id\n1,m,5\n", "77"),
        ("contact_id,message_id,deal_id,owner_id\n1,m,5,\n", "77"),
        ("contact_id,message_id,deal_id,owner_id\n1,m,5,  \n", "77"),
        ("contact_id,message_id,deal_id,owner_id\n1,m,5,8\n", "8"),
    ],
    ids=["no-column", "empty", "spaces", "filled"],
)
def test_a_default_fills_a_missing_column(planner: MappingPlanner, text: str, owner: str) -> None:
    planned = planner.plan(text, MappingOptions(op=Op.LINK, defaults=(("owner_id", "77"),)))
    assert planned.sealed_messages[0].owner_id == owner


def test_a_default_leaves_the_users_cell_unchanged(planner: MappingPlanner) -> None:
    text = "contact_id,message_id,deal_id,owner_id\n1,m,5,\n1,n,5,zcrm_8\n"
    planned = planner.plan(text, MappingOptions(op=Op.LINK, defaults=(("owner_id", "8"),)))
    assert [row["owner_id"] for row in planned.plan] == ["", "zcrm_8"]


def test_names_come_from_the_mapping_and_empty_ones_are_missing(planner: MappingPlanner) -> None:
    header = "contact_id,owner_id,message_id,deal_id,Owner Name,deal name\n"
    planned = planner.plan(f"{header}1,2,m,5, Ann ,\n1,2,n,5,,   \n")
    assert [(m.owner_name, m.deal_name) for m in planned.sealed_messages] == [
        ("Ann", None),
        (None, None),
    ]
