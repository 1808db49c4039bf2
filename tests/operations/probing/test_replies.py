"""What the replies to the calls of a probe show, in shapes that no emulator has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulklink.operations.probing.replies import (
    LOST,
    Reply,
    read_mixed,
    read_over_max,
    read_single_error,
    read_verdict,
    read_wording,
)
from bulklink.operations.probing.values import ExperimentError
from bulklink.zoho.answer_shape import parse_shape
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import ParsedAnswer, parse_answer

IDS = [f"a{number}" for number in range(6)]
NO_ANSWER = Reply(ParsedAnswer({}), None)


def reply(content: Any, status: int = 400) -> Reply:
    answer = Answer(status, json.dumps(content).encode())
    return Reply(parse_answer(IDS, answer), parse_shape(answer))


def error(index: int | None = None, code: str = "INVALID_DATA", **details: str) -> dict[str, Any]:
    path = {} if index is None else {"json_path": f"Emails[{index}].message_id"}
    return {"code": code, "details": path | details, "message": "no", "status": "error"}


def success(index: int) -> dict[str, Any]:
    return {"code": "SUCCESS", "details": {"message_id": IDS[index]}, "status": "success"}


def mixed(entries: list[Any], *good: int, status: int = 207) -> dict[str, str | None]:
    answers = read_mixed(reply({"Emails": entries}, status), IDS, good, [True] * len(good))
    return {key: answer.answer for key, answer in answers.items()}


def test_another_code_is_its_own_answer() -> None:
    answer = read_verdict(reply({"Emails": [error(0, "NOT_ALLOWED")]}), IDS[0], {})
    assert (answer.answer, answer.seen) == ("not-allowed", "HTTP 400 NOT_ALLOWED")


@pytest.mark.parametrize(
    ("unclear", "reason"),
    [(NO_ANSWER, LOST), (reply({"Emails": []}, 200), "does not say"), (reply("x"), "does not say")],
)
def test_an_unclear_reply_is_no_answer(unclear: Reply, reason: str) -> None:
    with pytest.raises(ExperimentError, match=reason):
        read_verdict(unclear, IDS[0], {})


def test_the_order_of_entries_is_found_as_far_as_they_differ() -> None:
    named = [success(0), *(error(n) for n in range(1, 6))]
    assert mixed(named, 0)["mixed-order"] == "sent"
    assert mixed(named[::-1], 0)["mixed-order"] == "reversed"
    assert mixed([*named[2:], *named[:2]], 0)["mixed-order"] == "shuffled"
    unnamed = [error() for _ in range(5)]
    assert mixed(unnamed, 0)["mixed-order"] is None
    assert mixed([*unnamed[:1], success(1), *unnamed[1:]], 1)["mixed-order"] == "sent"
    assert mixed(named[:3], 0)["mixed-order"] is None, "fewer entries than emails"


def test_the_shape_and_the_names_of_mixed_entries_are_found() -> None:
    answers = mixed([[], *([error(n, message_id=IDS[n])] for n in range(1, 6))], 0, status=200)
    assert answers == {
        "mixed-status": "200",
        "mixed-applied": "yes",
        "mixed-shape": "nested",
        "mixed-named": "both",
        "mixed-good": "empty",
        "mixed-order": "sent",
    }
    assert mixed([error(message_id=name) for name in IDS[1:]], 0)["mixed-named"] == "message-id"


def test_some_valid_emails_may_be_applied_and_others_not() -> None:
    content = {"Emails": [error(n) for n in range(2, 6)]}
    answers = read_mixed(reply(content), IDS, (0, 1), [True, False])
    assert answers["mixed-applied"].answer == "some"


def test_emails_that_do_not_exist_and_are_not_refused_answer_nothing() -> None:
    with pytest.raises(ExperimentError, match="not refused"):
        mixed([success(n) for n in range(6)], 0)
    with pytest.raises(ExperimentError, match="not refused"):
        read_single_error(reply({"Emails": [success(0)]}, 200))


EACH = {"Emails": [[error(0)], [error(1)]]}


@pytest.mark.parametrize(
    ("most", "one_more", "answer"),
    [
        (EACH, EACH, "accept"),
        (EACH, error(code="LIMIT_EXCEEDED"), "limit-exceeded"),
        (EACH, error(), "invalid-data"),
        (EACH, {"Emails": [[error(0, "LIMIT_EXCEEDED")]]}, "limit-exceeded"),
        (error(0), error(0), "accept"),
        (error(0), error(), "invalid-data"),
        (error(), error(), None),
        (error(code="LIMIT_EXCEEDED"), error(code="LIMIT_EXCEEDED"), None),
    ],
)
def test_an_email_too_many_is_told_from_emails_that_do_not_exist(
    most: Any, one_more: Any, answer: str | None
) -> None:
    assert read_over_max(reply(most), reply(one_more)).answer == answer


def test_the_words_of_a_success_may_be_others() -> None:
    worded = success(0) | {"message": "Linked for Ana"}
    assert read_wording([reply({"Emails": [worded]}, 200)]).answer == "other"
    assert read_wording([NO_ANSWER]).answer is None
