"""Whether and when a request is sent again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.retry import MAX_SECONDS, AttemptHistory, RetryAction, back_off, decide_retry
from bulklink.zoho.http import Answer, NoResponse


def error(status: int, code: str) -> Answer:
    body = f'{{"code":"{code}","details":{{}},"message":"no","status":"error"}}'
    return Answer(status, body.encode())


FIRST: dict[str, Any] = {"count": 1, "elapsed": 0.0}

CASES = {
    "success is taken": (Answer(200, b"{}"), {}, RetryAction.ACCEPT),
    "a refusal is taken": (error(400, "INVALID_DATA"), {}, RetryAction.ACCEPT),
    "no permission is taken": (error(403, "NO_PERMISSION"), {}, RetryAction.ACCEPT),
    "a missing scope is taken, not renewed": (
        error(401, "OAUTH_SCOPE_MISMATCH"),
        {},
        RetryAction.ACCEPT,
    ),
    "an ended token is renewed": (error(401, "INVALID_TOKEN"), {}, RetryAction.RENEW),
    "a bad token is renewed": (error(401, "AUTHENTICATION_FAILURE"), {}, RetryAction.RENEW),
    "a second time is taken": (
        error(401, "INVALID_TOKEN"),
        {"token_renewed": True},
        RetryAction.ACCEPT,
    ),
    "too many requests": (error(429, "TOO_MANY_REQUESTS"), {"count": 0}, RetryAction.RETRY),
    "the older shape of it": (
        Answer(429, b'{"code":429,"error":"TOO_MANY_REQUESTS","error_info":"many"}'),
        {"count": 0},
        RetryAction.RETRY,
    ),
    "also for an unlink: it was not applied": (
        error(429, "TOO_MANY_REQUESTS"),
        {"count": 0, "repeatable": False},
        RetryAction.RETRY,
    ),
    "not for ever": (error(429, "TOO_MANY_REQUESTS"), {"elapsed": 600.0}, RetryAction.GIVE_UP),
    "an internal error": (error(500, "INTERNAL_ERROR"), {}, RetryAction.RETRY),
    "a bad gateway in HTML": (Answer(502, b"<html>"), {}, RetryAction.RETRY),
    "an unlink that failed inside": (
        error(500, "INTERNAL_ERROR"),
        {"repeatable": False},
        RetryAction.GIVE_UP,
    ),
    "no answer": (NoResponse("gone"), {}, RetryAction.RETRY),
    "no answer to an unlink": (NoResponse("gone"), {"repeatable": False}, RetryAction.GIVE_UP),
    "an unlink that was never sent": (
        NoResponse("refused", sent=False),
        {"repeatable": False},
        RetryAction.RETRY,
    ),
    "the sixth try was the last": (NoResponse("gone"), {"count": 6}, RetryAction.GIVE_UP),
    "two minutes are over": (
        NoResponse("gone"),
        {"count": 2, "elapsed": 121.0},
        RetryAction.GIVE_UP,
    ),
    "a server that never answered": (
        NoResponse("refused", sent=False),
        {"count": 3, "elapsed": 9.5, "never_answered": True},
        RetryAction.GIVE_UP,
    ),
}


@pytest.mark.parametrize(("outcome", "tries", "expected"), CASES.values(), ids=CASES.keys())
def test_decide_retry(
    outcome: Answer | NoResponse, tries: dict[str, Any], expected: RetryAction
) -> None:
    assert decide_retry(outcome, AttemptHistory(**(FIRST | tries)), 0.5).action is expected


def test_a_retry_after_beyond_the_time_limit_gives_up() -> None:
    answer = Answer(429, b"", retry_after=400.0)
    assert (
        decide_retry(answer, AttemptHistory(count=0, elapsed=100), 0.0).action is RetryAction.RETRY
    )
    assert (
        decide_retry(answer, AttemptHistory(count=0, elapsed=300), 0.0).action
        is RetryAction.GIVE_UP
    )


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
        decision = decide_retry(
            NoResponse("gone"), AttemptHistory(count=made, elapsed=seconds), chance
        )
        if decision.action is RetryAction.GIVE_UP:
            break
        seconds += decision.delay
    assert made <= 6
    assert began <= MAX_SECONDS
