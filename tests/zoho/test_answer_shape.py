"""The shape of an answer, from the shapes that Zoho documents and others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulklink.zoho.answer_shape import AnswerShape, EntryShape, parse_shape, visible_code
from bulklink.zoho.http import Answer

SUCCESS = {
    "code": "SUCCESS",
    "details": {"message_id": "a1"},
    "message": "email has been linked with the deal successfully",
    "status": "success",
}
MISSING = {
    "status": "error",
    "code": "MANDATORY_NOT_FOUND",
    "message": "message_id is mandatory",
    "details": {"api_name": "message_id", "json_path": "Emails[1].message_id"},
}
TOO_MANY = {"code": "LIMIT_EXCEEDED", "details": {"limit": 20}, "message": "no", "status": "error"}
ECHO = {"owner": {"id": "1"}, "linked_record": {"id": "2"}}


@pytest.mark.parametrize(
    ("status", "content", "shape"),
    [
        (
            200,
            {"Emails": [SUCCESS]},
            AnswerShape(
                200,
                entries=(EntryShape("SUCCESS", message_id="a1", text=str(SUCCESS["message"])),),
            ),
        ),
        (
            400,
            {"Emails": [[], [MISSING]]},
            AnswerShape(
                400,
                entries=(
                    EntryShape(nested=True),
                    EntryShape(
                        "MANDATORY_NOT_FOUND", nested=True, index=1, text=str(MISSING["message"])
                    ),
                ),
            ),
        ),
        (400, TOO_MANY, AnswerShape(400, EntryShape("LIMIT_EXCEEDED", text="no"))),
        (200, {"Emails": [ECHO]}, AnswerShape(200, entries=(EntryShape(is_echo=True),))),
        (
            400,
            {"Emails": [{"code": "INVALID_DATA", "details": {"json_path": "message_ids[3]"}}]},
            AnswerShape(400, entries=(EntryShape("INVALID_DATA", index=3),)),
        ),
        (
            200,
            {"Emails": [None, 5, [5]]},
            AnswerShape(200, entries=(EntryShape(),) * 2 + (EntryShape(nested=True),)),
        ),
        (500, "<html>", AnswerShape(500)),
    ],
    ids=["success", "nested errors", "whole call", "echo", "unlink", "no objects", "no object"],
)
def test_an_answer_has_a_shape(status: int, content: Any, shape: AnswerShape) -> None:
    assert parse_shape(Answer(status, json.dumps(content).encode())) == shape


def test_a_shape_names_each_code_once() -> None:
    shape = parse_shape(
        Answer(207, json.dumps({"Emails": [[MISSING], SUCCESS, [MISSING]]}).encode())
    )
    assert shape.codes == ("MANDATORY_NOT_FOUND", "SUCCESS")
    assert parse_shape(Answer(400, json.dumps(TOO_MANY).encode())).codes == ("LIMIT_EXCEEDED",)


def test_a_code_that_is_none_of_zohos_is_not_shown() -> None:
    """What a probe writes down identifies nobody."""
    codes = ["NOT_ALLOWED", "", "Ana Ferreira", "X" * 61, "584310400"]
    assert list(map(visible_code, codes)) == ["NOT_ALLOWED", "", "?", "?", "?"]
