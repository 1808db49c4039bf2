"""The words of a 429: those of zoho-api.md's two shapes, and whatever else they may be."""

from __future__ import annotations

import pytest

from bulklink.zoho.error_policy import ThrottleReason, throttle_reason
from bulklink.zoho.http import Answer

from .fakes import answer

DAY = "Many requests fired than the allowed limit for the past 24 hours"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"code": 429, "error": "TOO_MANY_REQUESTS", "error_info": DAY}, ThrottleReason.CREDITS),
        ({"code": "TOO_MANY_REQUESTS", "message": DAY, "status": "error"}, ThrottleReason.CREDITS),
        (
            {"code": "TOO_MANY_REQUESTS", "message": "Daily API credit limit"},
            ThrottleReason.CREDITS,
        ),
        (
            {"code": "TOO_MANY_REQUESTS", "message": "concurrency limit reached"},
            ThrottleReason.IN_FLIGHT,
        ),
        (
            {"code": "TOO_MANY_REQUESTS", "message": "Calls active at once: 11"},
            ThrottleReason.IN_FLIGHT,
        ),
        ({"code": "TOO_MANY_REQUESTS", "message": "Too many requests"}, None),
        ({"code": "TOO_MANY_REQUESTS", "message": "concurrency or daily credits"}, None),
        ({"code": "TOO_MANY_REQUESTS", "message": ""}, None),
        ([], None),
    ],
)
def test_words_that_mean_one_thing_tell_it_and_others_tell_nothing(
    body: object, said: ThrottleReason | None
) -> None:
    response = answer(body, 429)
    assert throttle_reason(response) is said


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"<html>429</html>", b"x" * 100_000])
def test_a_body_that_is_no_json_tells_nothing_and_is_no_trouble(body: bytes) -> None:
    assert throttle_reason(Answer(429, body)) is None
