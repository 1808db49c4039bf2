"""CSV files of users: correct row and line numbers, and broken records as faults."""

from __future__ import annotations

import csv

import pytest

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import HEADER, MappingPlanner, as_csv

GOOD = "1,2,a,5,x\n"


@pytest.mark.parametrize(
    ("text", "sent", "faults"),
    [
        (GOOD + "1,2,b,5,y\n", [(1, 2), (2, 3)], []),
        ("\n" + GOOD + "  \n\t\n1,2,b,5,y\n", [(1, 3), (2, 6)], []),
        (GOOD + "1,2,b\n1,2,c,5,\n", [(1, 2), (3, 4)], [(2, 3)]),
        (GOOD + "1,2,b,5,y,z\n1,2,c,5,\n", [(1, 2), (3, 4)], [(2, 3)]),
        ('1,2,a,5,"x\ny\nz"\n1,2,b,5,\n', [(1, 2), (2, 5)], []),
        ('1,2,a,5,"x\n\n\nz"\nno\n1,2,b,5,\n', [(1, 2), (3, 7)], [(2, 6)]),
        ('"1"x,2,a,5,\n1,2,b,5,\n', [(2, 3)], [(1, 2)]),
        ('1,2,a,5,say "hi"\n1,2,b,5,5" pipe\n', [(1, 2), (2, 3)], []),
        (GOOD + "1,2,b,5,a\rb\n1,2,c,5,\n", [(1, 2), (2, 3), (4, 5)], [(3, 4)]),
        (GOOD + "1,2,b,5,y", [(1, 2), (2, 3)], []),
    ],
    ids=[
        "plain",
        "blank-lines",
        "too-few-cells",
        "too-many-cells",
        "quoted-line-breaks",
        "fault-after-quoted-line-breaks",
        "text-after-a-closing-quote",
        "quotes-inside-a-cell",
        "lone-carriage-return",
        "no-final-line-end",
    ],
)
@pytest.mark.parametrize(
    ("end", "bom"), [("\n", b""), ("\r\n", b"\xef\xbb\xbf")], ids=["lf", "crlf-and-bom"]
)
def test_row_and_line_numbers_are_correct(
    planner: MappingPlanner,
    text: str,
    sent: list[tuple[int, int]],
    faults: list[tuple[int, int]],
    end: str,
    bom: bytes,
) -> None:
    planned = planner.plan(bom + (HEADER + text).replace("\n", end).encode())
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == sent
    assert [(fault.row, fault.line) for fault in planned.faults] == faults
    reasons = ("broken-record", "missing-value", "bad-id")
    assert all(fault.reason in reasons for fault in planned.faults)


def test_an_unclosed_quote_is_one_fault_and_nothing_after_it_is_read(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan(f'{HEADER}{GOOD}1,2,b,5,"open\n1,2,c,5,\n1,2,d,5,\n')
    assert planned.unclosed_quote is not None
    assert (planned.unclosed_quote.row, planned.unclosed_quote.line) == (2, 3)
    assert planned.unclosed_quote.raw == '1,2,b,5,"open'
    assert planned.faults == [planned.unclosed_quote]
    assert planned.rows == 2


def test_a_quote_that_is_open_for_a_mebibyte_counts_as_unclosed(planner: MappingPlanner) -> None:
    lines = "1,2,c,5,filler filler filler\n" * 40_000
    planned = planner.plan(f'{HEADER}{GOOD}1,2,b,5,"open\n{lines}1,2,d,5,"\n')
    assert planned.unclosed_quote is not None
    assert (planned.unclosed_quote.row, planned.rows) == (2, 2)


def test_a_row_after_an_unclosed_quote_in_an_earlier_file_keeps_its_number(
    planner: MappingPlanner,
) -> None:
    first = planner.write(f'{HEADER}{GOOD}"', "a.csv")
    second = planner.write(f"{HEADER}1,2,b,5,x\n", "b.csv")
    planned = planner.plan_files([first, second])
    assert planned.unclosed_quote is not None
    assert planned.unclosed_quote.row == 2
    assert [message.row for message in planned.sealed_messages] == [1, 3]


def test_bytes_that_are_not_utf8_are_a_fault_of_their_record(planner: MappingPlanner) -> None:
    content = HEADER.encode() + b"1,2,a,5,caf\xe9\n1,2,b,5,ok\n"
    planned = planner.plan(content)
    assert planned.reasons == {1: ("bad-encoding", None)}
    assert "e9" in planned.faults[0].message
    assert [message.row for message in planned.sealed_messages] == [2]
    assert planned.rejects[0]["bulklink_raw"] == "1,2,a,5,caf\ufffd"


def test_a_line_beyond_a_mebibyte_is_a_broken_record_and_the_next_one_is_read(
    planner: MappingPlanner,
) -> None:
    content = f"{HEADER}1,2,a,5,{'x' * (1 << 20)}\n1,2,b,5,ok\n"
    planned = planner.plan(content)
    assert planned.reasons == {1: ("broken-record", None)}
    assert "1024 KiB" in planned.faults[0].message
    assert [row["bulklink_line"] for row in planned.plan] == [3]
    assert len(planned.faults[0].raw) <= 1000


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ids=["regular", "quoted"])
def test_a_cell_just_below_a_mebibyte_is_kept_whole(planner: MappingPlanner, quoting: int) -> None:
    long = "x" * (400 << 10)
    header = HEADER.strip().split(",")
    planned = planner.plan(as_csv(header, [["1", "2", "a", "5", long]], quoting=quoting))
    assert planned.plan[0]["Note"] == long


def test_several_files_are_one_mapping_joined_by_column_names(
    planner: MappingPlanner,
) -> None:
    first = planner.write(f"{HEADER}1,2,a,5,n1\n1,2,a,5,n,broken\n", "a.csv")
    second = planner.write(
        "\ufeffMessage ID,Extra,Contact ID,Owner ID,Deal ID\nb,e1,1,2,x\nc,e2,1,2,5\n", "b.csv"
    )
    third = planner.write(
        '{"contact_id":1,"owner_id":2,"message_id":"d","deal_id":5,"Note":"n4"}', "c.jsonl"
    )
    planned = planner.plan_files([first, second, third])
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == [
        (1, 2),
        (4, 3),
        (5, 1),
    ]
    assert [row["bulklink_file"] for row in planned.plan] == [first, second, third]
    assert [(row["Note"], row["Extra"]) for row in planned.plan] == [
        ("n1", None),
        (None, "e2"),
        ("n4", None),
    ]
    assert [(f.row, f.file, f.line, f.column) for f in planned.faults] == [
        (2, first, 3, None),
        (3, second, 2, "Deal ID"),
    ]


def test_a_header_quoted_over_two_lines_shifts_the_lines_after_it(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan('contact_id,owner_id,message_id,deal_id,"my\nnote"\n1,2,a,5,x\n')
    assert planned.plan[0]["bulklink_line"] == 3
    assert planned.plan[0]["my\nnote"] == "x"


def test_repeated_and_empty_headers_get_unique_names(
    planner: MappingPlanner,
) -> None:
    planned = planner.plan(
        "contact_id,owner_id,message_id,deal_id,Note,note,,Note,\n1,2,a,5,p,q,r,s,t\n"
    )
    assert [
        planned.plan[0][name] for name in ("Note", "note_2", "column_7", "Note_3", "column_9")
    ] == [
        "p",
        "q",
        "r",
        "s",
        "t",
    ]


def test_columns_that_bulklink_wrote_are_ignored(planner: MappingPlanner) -> None:
    planned = planner.plan(f"bulklink_row,BULKLINK_reason,{HEADER}9,conflict,1,2,a,5,x\n")
    assert planned.sealed_messages[0].row == 1
    assert [name for name in planned.plan[0] if "reason" in name.lower()] == []


def test_a_mapping_of_one_column_and_defaults_can_be_read(planner: MappingPlanner) -> None:
    defaults = (("contact_id", "1"), ("owner_id", "2"), ("deal_id", "5"))
    planned = planner.plan(
        'message_id\na\n\n" "\nb\n', MappingOptions(op=Op.LINK, defaults=defaults)
    )
    assert [m.message_id for m in planned.sealed_messages] == ["a", "b"]
    assert planned.reasons == {2: ("missing-value", "message_id")}


def test_an_unclosed_quote_in_a_later_file_has_its_row_over_all_files(
    planner: MappingPlanner,
) -> None:
    names = [
        planner.write(HEADER + GOOD, "a.csv"),
        planner.write(f'{HEADER}{GOOD}1,2,c,5,"\n', "b.csv"),
    ]
    unclosed = planner.plan_files(names).unclosed_quote
    assert unclosed is not None
    assert (unclosed.row, unclosed.file, unclosed.line) == (3, names[1], 3)


def test_control_characters_of_staging_files_round_trip(planner: MappingPlanner) -> None:
    odd = ["\x1f", "\x01n", "\x01", "a\x1fb\x01c", "\0", "\r", "\n", "\x01a\x01b", "\x01fx"]
    rows = [["1", "2", f"m{n}", "5", cell] for n, cell in enumerate(odd)]
    planned = planner.plan(as_csv(HEADER.strip().split(","), rows, quoting=csv.QUOTE_ALL))
    assert [row["Note"] for row in planned.plan] == odd


def test_rejects_name_the_file_and_header_of_each_fault(
    planner: MappingPlanner,
) -> None:
    first = planner.write("Contact ID,owner_id,message_id,deal_id\nx,2,m,5\n", "a.csv")
    second = planner.write("contact_id,owner_id,message_id,deal_id\n1,2,n,5\ny,2,m,5\n", "b.csv")
    reject_cells = [list(row.values())[4:] for row in planner.plan_files([first, second]).rejects]
    assert reject_cells == [
        [first, "1", "2", "Contact ID", "bad-id", "x"],
        [second, "3", "3", "contact_id", "bad-id", "y"],
    ]
