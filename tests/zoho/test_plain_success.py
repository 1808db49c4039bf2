"""Recognition of the answer that most calls get."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import AnswerVerdict, parse_answer
from bulklink.zoho.plain_success import PlainSuccessParser
from bulklink.zoho.secret_mask import SecretMask

LINKED = "email has been linked with the deal successfully"
KEY_ORDERS = (
    ("code", "details", "message", "status"),
    ("message", "status", "code", "details"),
    ("details", "status", "message", "code"),
)


def entry(message_id: str, text: str = LINKED, **changes: object) -> dict[str, Any]:
    whole = {
        "code": "SUCCESS",
        "details": {"message_id": message_id},
        "message": text,
        "status": "success",
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def body(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"Emails": entries}, separators=(",", ":")).encode()


def parse_new(message_ids: list[str], answer: Answer) -> str | None:
    return parse_with(PlainSuccessParser(), message_ids, answer)


def parse_with(parser: PlainSuccessParser, message_ids: list[str], answer: Answer) -> str | None:
    return parser.parse([orjson.dumps(message_id).decode() for message_id in message_ids], answer)


def parse_after_plain(message_ids: list[str], answer: Answer) -> str | None:
    """Parse an answer with a parser that knows the usual form."""
    parser = PlainSuccessParser()
    usual = [f"{n:064x}" for n in range(5)]
    assert parse_with(parser, usual, Answer(200, body(*map(entry, usual)))) == LINKED
    return parse_with(parser, message_ids, answer)


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_success_for_each_message_is_plain(count: int) -> None:
    ids = [f"{n:064x}" for n in range(count)]
    answer = Answer(200, body(*map(entry, ids)))
    assert parse_new(ids, answer) == LINKED
    assert parse_after_plain(ids, answer) == LINKED


NOT_PLAIN = {
    "another order": body(entry("b"), entry("a")),
    "one too few": body(entry("a")),
    "one too many": body(entry("a"), entry("b"), entry("c")),
    "one twice": body(entry("a"), entry("a")),
    "another code": body(entry("a"), entry("b", code="INVALID_DATA")),
    "another status": body(entry("a"), entry("b", status="error")),
    "another text": body(entry("a"), entry("b", "no")),
    "an unknown field": body(entry("a"), entry("b", extra=1)),
    "a missing field": body(entry("a"), entry("b", message=None)),
    "an id that is a number": body(entry("a"), entry("b", details={"message_id": 1})),
    "a field beside the list": body(entry("a"), entry("b"))[:-1] + b',"code":"INTERNAL_ERROR"}',
    "cut off": body(entry("a"), entry("b"))[:-1],
    "something after it": body(entry("a"), entry("b")) + b" x",
    "no list": b'{"code":"SUCCESS"}',
    "no JSON": b"<html>",
    "nothing": b"",
}


@pytest.mark.parametrize("content", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_anything_else_is_not_plain(content: bytes) -> None:
    assert parse_new(["a", "b"], Answer(200, content)) is None
    assert parse_after_plain(["a", "b"], Answer(200, content)) is None


@pytest.mark.parametrize("status", [201, 202, 207, 400, 500])
def test_only_status_200_is_plain(status: int) -> None:
    assert parse_after_plain(["a", "b"], Answer(status, body(entry("a"), entry("b")))) is None


def test_secrets_in_the_text_are_masked_and_it_is_cut() -> None:
    ids, text = ["a", "b"], "1000.abcdefghijklmnop " + "x" * 400
    answer = Answer(200, body(*(entry(i, text) for i in ids)), mask=SecretMask(text[:21]))
    parser = PlainSuccessParser()
    for _ in range(2):
        assert parse_with(parser, ids, answer) == "[secret] " + "x" * 291


ids_of_calls = st.lists(
    st.sampled_from(["a", "b", "c", "1", "11", "linked", 'a"b', "a\\", "ä", "a,b", "SUCCESS"]),
    min_size=1,
    max_size=4,
)


@given(
    st.lists(
        st.tuples(
            ids_of_calls,
            ids_of_calls,
            st.sampled_from(["", "a", "linked 11", "b a", 'say "b"', "SUCCESS"]),
            st.sampled_from(KEY_ORDERS),
            st.sampled_from([(",", ":"), (", ", ": ")]),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_an_earlier_answer_changes_nothing(calls: list[Any]) -> None:
    """A parser that has seen other answers parses like a new one, and like the general parser."""
    parser = PlainSuccessParser()
    for requested, other, text, order, separators, is_plain in calls:
        answered = requested if is_plain else other
        entries = [{key: entry(i, text)[key] for key in order} for i in answered]
        content = json.dumps({"Emails": entries}, separators=separators, ensure_ascii=False)
        answer = Answer(200, content.encode())
        expected = text if requested == answered else None
        assert parse_with(parser, requested, answer) == expected
        assert parse_new(requested, answer) == expected
        if expected is not None and len(set(requested)) == len(requested):
            verdict = AnswerVerdict("SUCCESS", expected, 200)
            assert parse_answer(requested, answer).verdicts == dict.fromkeys(requested, verdict)


def test_an_id_in_a_text_is_no_part_of_the_form() -> None:
    """An answer about others, which differs from an earlier one only where that has an id."""
    parser = PlainSuccessParser()
    first = {key: entry("a", "a")[key] for key in KEY_ORDERS[1]}
    second = {key: entry("b", "a")[key] for key in KEY_ORDERS[1]}
    assert parse_with(parser, ["a", "b"], Answer(200, body(first, second))) == "a"
    about_others = body(first | {"message": "c"}, second | {"details": {"message_id": "d"}})
    assert parse_with(parser, ["c", "d"], Answer(200, about_others)) is None
