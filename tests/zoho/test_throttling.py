"""Parsing of "too many requests" answers: limit, wording and requested wait."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.http import Answer
from bulklink.zoho.throttling import (
    MAX_WAIT_SECONDS,
    StatedLimit,
    ThrottleReason,
    parse_credit_window,
    parse_number,
    parse_retry_after,
    requested_wait,
    stated_limit,
    throttle_reason,
)
from tests.zoho.fakes import answer

DAY = "Many requests fired than the allowed limit for the past 24 hours"


@pytest.mark.parametrize(
    ("body", "expected"),
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
    body: object, expected: ThrottleReason | None
) -> None:
    response = answer(body, 429)
    assert throttle_reason(response) is expected


@pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"<html>429</html>", b"x" * 100_000])
def test_a_body_that_is_no_json_tells_nothing_and_is_no_trouble(body: bytes) -> None:
    assert throttle_reason(Answer(429, body)) is None


PUBLISHED: dict[str, Any] = {
    "code": "TOO_MANY_REQUESTS",
    "message": "Rate limit exceeded. Please retry after the specified time.",
    "status": "error",
    "details": {"trace_id": "4f1c", "retry_after": 60, "limit": 100, "window": 60},
}


def with_details(**details: Any) -> bytes:
    """The published body with other details."""
    return json.dumps({**PUBLISHED, "details": details}).encode()


def test_the_published_body_states_limit_window_and_wait() -> None:
    published = answer(PUBLISHED, 429)
    assert stated_limit(published) == StatedLimit(100, 60.0)
    assert str(stated_limit(published)) == "100 calls in 60 s"
    assert requested_wait(published) == 60.0
    assert throttle_reason(published) is None


@pytest.mark.parametrize(
    ("header", "body", "wait"),
    [
        (None, 60, 60.0),
        (10.0, 60, 60.0),
        (90.0, 60, 90.0),
        (5.0, None, 5.0),
        (None, None, None),
        (None, "45", 45.0),
        (5.0, "soon", 5.0),
        (5.0, -1, 5.0),
        (None, 10**18, MAX_WAIT_SECONDS),
        (None, "9" * 5000, MAX_WAIT_SECONDS),
        (None, True, None),
        (None, [60], None),
        (0.0, 0, 0.0),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_the_longer_wait_of_header_and_body_counts(
    header: float | None, body: object, wait: float | None
) -> None:
    assert requested_wait(Answer(429, with_details(retry_after=body), header)) == wait


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"limit": 100},
        {"window": 60},
        {"limit": 0, "window": 60},
        {"limit": -1, "window": 60},
        {"limit": "many", "window": 60},
        {"limit": 100, "window": "day"},
    ],
    ids=repr,
)
def test_a_limit_that_is_not_stated_whole_is_none(details: dict[str, Any]) -> None:
    assert stated_limit(Answer(429, with_details(**details))) is None


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps(
            {"details": {"retry_after": value, "limit": value, "window": value}}
        ).encode()
    )
)
def test_no_body_makes_the_reader_fail_or_wait_longer_than_a_day(body: bytes) -> None:
    wait = requested_wait(Answer(429, body))
    assert wait is None or 0 <= wait <= MAX_WAIT_SECONDS
    stated_limit(Answer(429, body))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (7, 7.0),
        ("7", 7.0),
        (" 7.5 ", 7.5),
        (float("inf"), MAX_WAIT_SECONDS),
        (10**400, MAX_WAIT_SECONDS),
        ("1" + "0" * 6000, MAX_WAIT_SECONDS),
        (float("nan"), None),
        (-0.1, None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("\u0663", None),
        ("", None),
        (False, None),
        (None, None),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_number_from_outside_is_never_negative_nor_above_its_bound(
    value: object, number: float | None
) -> None:
    assert parse_number(value) == number


SENT_AT = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("Wed, 21 Oct 2026 07:30:00 GMT", 120.0),
        (SENT_AT, 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_WAIT_SECONDS),
        ("Sat, 01 Jan 10000 00:00:00 GMT", None),
        ("Sat, 99 Jan 2026 00:00:00 GMT", None),
        ("tomorrow", None),
        ("Wed,", None),
    ],
)
def test_a_date_counts_from_the_date_of_its_answer(value: str, wait: float | None) -> None:
    assert parse_retry_after(value, SENT_AT) == wait
    assert parse_retry_after(value, "") is None


@pytest.mark.parametrize(
    ("value", "url", "window"),
    [
        ("60", "http://127.0.0.1:8080/crm/v8/org", 60.0),
        ("60", "https://www.zohoapis.com/crm/v8/org", None),
        ("60", "https://127.0.0.1.example.com/crm/v8/org", None),
        ("", "http://127.0.0.1:8080/", None),
        ("0", "http://127.0.0.1:8080/", None),
        ("-5", "http://127.0.0.1:8080/", None),
        ("9999999", "http://127.0.0.1:8080/", None),
    ],
)
def test_only_this_machine_may_tell_another_window_than_24_hours(
    value: str, url: str, window: float | None
) -> None:
    assert parse_credit_window(value, url) == window
