"""Whether and when a request is sent again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.retry import MOST_SECONDS, Next, Tries, back_off, decide
from bulklink.zoho.http import Answer, Silence


def error(status: int, code: str) -> Answer:
    body = f'{{"code":"{code}","details":{{}},"message":"no","status":"error"}}'
    return Answer(status, body.encode())


FIRST: dict[str, Any] = {"made": 1, "seconds": 0.0}

CASES = {
    "success is taken": (Answer(200, b"{}"), {}, Next.TAKE),
    "a refusal is taken": (error(400, "INVALID_DATA"), {}, Next.TAKE),
    "no permission is taken": (error(403, "NO_PERMISSION"), {}, Next.TAKE),
    "a missing scope is taken, not renewed": (error(401, "OAUTH_SCOPE_MISMATCH"), {}, Next.TAKE),
    "an ended token is renewed": (error(401, "INVALID_TOKEN"), {}, Next.RENEW),
    "a bad token is renewed": (error(401, "AUTHENTICATION_FAILURE"), {}, Next.RENEW),
    "a second time is taken": (error(401, "INVALID_TOKEN"), {"renewed": True}, Next.TAKE),
    "too many requests": (error(429, "TOO_MANY_REQUESTS"), {"made": 0}, Next.AGAIN),
    "the older shape of it": (
        Answer(429, b'{"code":429,"error":"TOO_MANY_REQUESTS","error_info":"many"}'),
        {"made": 0},
        Next.AGAIN,
    ),
    "also for an unlink: it was not applied": (
        error(429, "TOO_MANY_REQUESTS"),
        {"made": 0, "repeatable": False},
        Next.AGAIN,
    ),
    "not for ever": (error(429, "TOO_MANY_REQUESTS"), {"seconds": 600.0}, Next.GIVE_UP),
    "an internal error": (error(500, "INTERNAL_ERROR"), {}, Next.AGAIN),
    "a bad gateway in HTML": (Answer(502, b"<html>"), {}, Next.AGAIN),
    "an unlink that failed inside": (
        error(500, "INTERNAL_ERROR"),
        {"repeatable": False},
        Next.GIVE_UP,
    ),
    "no answer": (Silence("gone"), {}, Next.AGAIN),
    "no answer to an unlink": (Silence("gone"), {"repeatable": False}, Next.GIVE_UP),
    "an unlink that was never sent": (
        Silence("refused", sent=False),
        {"repeatable": False},
        Next.AGAIN,
    ),
    "the sixth try was the last": (Silence("gone"), {"made": 6}, Next.GIVE_UP),
    "two minutes are over": (Silence("gone"), {"made": 2, "seconds": 121.0}, Next.GIVE_UP),
    "a server that never answered": (
        Silence("refused", sent=False),
        {"made": 3, "seconds": 9.5, "first_contact": True},
        Next.GIVE_UP,
    ),
}


@pytest.mark.parametrize(("outcome", "tries", "expected"), CASES.values(), ids=CASES.keys())
def test_after(outcome: Answer | Silence, tries: dict[str, Any], expected: Next) -> None:
    assert decide(outcome, Tries(**(FIRST | tries)), 0.5).next is expected


def test_a_request_that_would_be_asked_to_wait_too_long_is_given_up() -> None:
    answer = Answer(429, b"", retry_after=400.0)
    assert decide(answer, Tries(made=0, seconds=100), 0.0).next is Next.AGAIN
    assert decide(answer, Tries(made=0, seconds=300), 0.0).next is Next.GIVE_UP


@given(tries=st.integers(1, 1000), chance=st.floats(0, 1))
def test_the_back_off_is_jittered_and_capped(tries: int, chance: float) -> None:
    assert 0 <= back_off(tries, chance) <= 30
    assert back_off(tries, chance) <= back_off(tries + 1, chance)
    assert back_off(tries, 0) == 0


@given(chances=st.lists(st.floats(0, 1), min_size=10, max_size=10), took=st.floats(0, 60))
def test_a_request_is_tried_at_most_six_times_in_two_minutes(
    chances: list[float], took: float
) -> None:
    seconds = 0.0
    for made, chance in enumerate(chances, 1):
        began = seconds
        seconds += took
        decision = decide(Silence("gone"), Tries(made=made, seconds=seconds), chance)
        if decision.next is Next.GIVE_UP:
            break
        seconds += decision.delay
    assert made <= 6
    assert began <= MOST_SECONDS
