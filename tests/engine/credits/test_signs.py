"""What a 429 stands for, by words, header, Retry-After and behaviour: zoho-api.md, section 2."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.engine.credits.doubt import Doubt
from bulklink.engine.credits.signs import Cause, Sign, cause_of
from bulklink.zoho.busy import Busy
from bulklink.zoho.exchange import Answer


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        ({"left": 0}, Cause.CREDITS),
        ({"left": 2, "need": 3}, Cause.CREDITS),
        ({"left": 0, "said": Busy.IN_FLIGHT}, Cause.CREDITS),
        ({"left": 5_000}, Cause.IN_FLIGHT),
        ({"left": 5_000, "said": Busy.CREDITS, "alone": True}, Cause.IN_FLIGHT),
        ({"known": 5_000}, Cause.IN_FLIGHT),
        ({"retry_after": 7_200.0}, Cause.CREDITS),
        ({"retry_after": 239.0, "said": Busy.IN_FLIGHT}, Cause.IN_FLIGHT),
        ({"said": Busy.IN_FLIGHT, "alone": True}, Cause.IN_FLIGHT),
        ({"said": Busy.CREDITS}, Cause.SUSPECTED),
        ({"said": Busy.CREDITS, "alone": True, "probes": 1}, Cause.CREDITS),
        ({}, Cause.SUSPECTED),
        ({"left": 4, "most": 10}, Cause.SUSPECTED),
    ],
)
def test_words_and_headers_tell_where_they_tell_anything(
    known: dict[str, Any], cause: Cause
) -> None:
    assert cause_of(Sign(**known)) is cause


@pytest.mark.parametrize("most", [1, 2, 5, 10, 25])
@pytest.mark.parametrize("said", ["", "for the past 24 hours"])
def test_at_most_as_many_calls_are_wasted_as_may_be_in_flight(most: int, said: str) -> None:
    """Credits go while all calls are in flight, and no header tells: the worst case."""
    doubt, wasted = Doubt(most, decisive=False), -1  # the first refusal is none too many
    busy = Answer(429, f'{{"code":"TOO_MANY_REQUESTS","message":"{said}"}}'.encode())
    number, gone = 0, False
    for _ in range(most):
        number += 1
        doubt.left(number)
    flying = list(doubt.flying)
    while not gone:
        for one in flying:
            doubt.flying.discard(one)
            cause, pause = doubt.refused(one, busy, need=1, known=None)
            wasted, gone = wasted + 1, cause is Cause.CREDITS
            assert pause > 0
        number += 1
        free = doubt.may_leave
        doubt.left(number)
        assert (free, doubt.may_leave) == (True, False)
        flying = [number]
    assert wasted <= most


def test_a_call_that_left_after_a_refusal_and_got_through_clears_the_suspicion() -> None:
    doubt, busy = Doubt(10, decisive=False), Answer(429)
    for number in (1, 2, 3):
        doubt.left(number)
    doubt.flying.discard(2)
    doubt.refused(2, busy, need=1, known=None)
    doubt.flying.discard(1)
    doubt.passed(1)
    assert doubt.suspected, "it left before: it got the credit that the other did not get"
    doubt.flying.discard(3)
    doubt.left(4)
    doubt.flying.discard(4)
    doubt.passed(4)
    assert not doubt.suspected


def test_after_credits_were_out_one_refusal_is_enough_to_know() -> None:
    doubt = Doubt(10, decisive=True)
    doubt.left(1)
    doubt.flying.discard(1)
    assert doubt.refused(1, Answer(429), need=1, known=None)[0] is Cause.CREDITS


def test_after_credits_were_out_too_many_calls_in_flight_are_still_told_apart() -> None:
    doubt = Doubt(10, decisive=True)
    doubt.left(1)
    doubt.flying.discard(1)
    said = Answer(429, b'{"message":"concurrency limit reached"}')
    assert doubt.refused(1, said, need=1, known=None)[0] is Cause.IN_FLIGHT
