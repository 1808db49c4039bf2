"""JSONL: ids keep their digits, the user's values are kept, broken lines are faults."""

from __future__ import annotations

import json

import pytest

from bulklink.errors import BadFileError
from tests.mapping.planner import UNLINK, MappingPlanner

FIFTY = "12345678901234567890123456789012345678901234567890"


def line(**values: object) -> str:
    """Write one link with these values."""
    return json.dumps({"contact_id": 1, "owner_id": "2", "message_id": "m", "deal_id": 5} | values)


def test_whole_numbers_keep_their_digits(planner: MappingPlanner) -> None:
    planned = planner.plan(
        f'{{"contact_id":{FIFTY},"owner_id":2,"message_id":77,"deal_id":5}}', name="a.jsonl"
    )
    message = planned.sealed_messages[0]
    assert (message.contact_id, message.message_id) == (FIFTY, "77")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("null", "missing-value"),
        ('""', "missing-value"),
        ("1.5", "rounded-id"),
        ("1e18", "rounded-id"),
        ("4150868000000220000", None),
        ('"4.15E+18"', "rounded-id"),
        ("true", "bad-id"),
        ("[1]", "bad-id"),
        ('{"id":1}', "bad-id"),
        ("-1", "bad-id"),
        ('" zcrm_7"', None),
    ],
)
def test_ids_of_any_json_type_follow_the_rules_of_text(
    planner: MappingPlanner, value: str, reason: str | None
) -> None:
    text = f'{{"contact_id":{value},"owner_id":2,"message_id":"m","deal_id":5}}'
    planned = planner.plan(text, name="a.jsonl")
    assert planned.reasons == ({1: (reason, "contact_id")} if reason else {})


@pytest.mark.parametrize("value", ["true", "1e5", "[]"])
def test_a_message_id_that_only_looks_like_letters_and_digits_is_refused(
    planner: MappingPlanner, value: str
) -> None:
    text = f'{{"contact_id":1,"owner_id":2,"message_id":{value},"deal_id":5}}'
    assert 1 in planner.plan(text, name="a.jsonl").reasons


@pytest.mark.parametrize(
    "broken",
    ["[]", "1", '"x"', "{", '{"a":1}}', '{"a":NaN}', '{"a":1,"a":2}', "[" * 100_000, "{'a':1}"],
    ids=["list", "number", "text", "cut", "too-much", "nan", "key-twice", "too-deep", "python"],
)
def test_a_line_that_is_not_an_object_is_a_broken_record(
    planner: MappingPlanner, broken: str
) -> None:
    planned = planner.plan(f"{line()}\n\n{broken}\n{line(message_id='n')}\n", name="a.jsonl")
    assert planned.reasons == {2: ("broken-record", None)}
    assert planned.faults[0].line == 3
    assert [row["bulklink_row"] for row in planned.plan] == [1, 3]


@pytest.mark.parametrize(
    "broken", [b'{"a":"\xff"}', b'{"a":"\\ud800"}'], ids=["bytes", "half-a-pair"]
)
def test_a_line_that_is_not_text_is_a_fault(planner: MappingPlanner, broken: bytes) -> None:
    planned = planner.plan(line().encode() + b"\n" + broken, name="a.ndjson")
    assert planned.reasons == {2: ("bad-encoding", None)}


def test_the_users_values_are_kept_as_text_or_compact_json(planner: MappingPlanner) -> None:
    own = '"t":" a ","i":007.0,"n":null,"l":[1.50, {"k": 1e5}],"b":true'.replace("007.0", "70")
    text = f'{{"contact_id":1,"owner_id":2,"message_id":"m","deal_id":5,{own}}}'
    (row,) = planner.plan(text, name="a.jsonl").plan
    assert [row[key] for key in "tinlb"] == [" a ", "70", None, '[1.50,{"k":1e5}]', "true"]


def test_columns_are_the_keys_of_all_lines_in_order(planner: MappingPlanner) -> None:
    planned = planner.plan(f"{line()}\n{line(message_id='n', x='1')}\n", name="a.jsonl")
    assert [row["x"] for row in planned.plan] == [None, "1"]


def test_two_keys_for_one_column_are_refused(planner: MappingPlanner) -> None:
    with pytest.raises(BadFileError, match="Several headers match the column contact_id"):
        planner.plan(
            '{"contact_id":1,"Contact ID":2,"owner_id":1,"message_id":"m"}', UNLINK, "a.jsonl"
        )


def test_objects_whose_keys_are_data_are_refused(planner: MappingPlanner) -> None:
    with pytest.raises(BadFileError, match="more than 1,000 different keys"):
        planner.plan("\n".join(f'{{"k{n}":1}}' for n in range(1002)), name="a.jsonl")


def test_a_file_without_one_readable_line_shows_its_faults(planner: MappingPlanner) -> None:
    planned = planner.plan("no\nnope\n", name="a.jsonl")
    assert {reason for reason, _ in planned.reasons.values()} == {"broken-record"}
    assert planned.messages == 0
