"""What a 429 stands for, by words, header, Retry-After and behaviour: zoho-api.md, section 2."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.engine.quota.diagnosis import Cause, Doubt, Sign, cause_of
from bulklink.zoho.error_policy import Busy
from bulklink.zoho.http import Answer


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


def probe_in_vain(doubt: Doubt, first: int, *, explained: bool) -> Cause:
    """Have a call refused that says nothing, and one after it get through; return the cause."""
    doubt.left(first)
    doubt.flying.discard(first)
    cause, _ = doubt.refused(first, Answer(429), need=1, known=None, explained=explained)
    doubt.left(first + 1)
    doubt.flying.discard(first + 1)
    doubt.passed(first + 1)
    return cause


def test_a_refusal_that_too_many_in_flight_explain_raises_no_doubt() -> None:
    assert probe_in_vain(Doubt(10, decisive=False), 1, explained=True) is Cause.IN_FLIGHT
    assert probe_in_vain(Doubt(10, decisive=False), 1, explained=False) is Cause.SUSPECTED


def test_doubts_that_come_to_nothing_are_not_raised_for_ever() -> None:
    doubt = Doubt(10, decisive=False)
    causes = [probe_in_vain(doubt, 2 * n + 1, explained=False) for n in range(5)]
    assert causes == [Cause.SUSPECTED] * 3 + [Cause.IN_FLIGHT] * 2


@pytest.mark.parametrize("most", [1, 2, 3, 5, 10, 25])
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("explained", "doubted"), [(True, 0), (False, 3), (True, 3)])
def test_credits_that_go_during_a_probe_are_found_out_with_as_few_calls(
    most: int, part: float, explained: bool, doubted: int
) -> None:
    """Calls that too many in flight explain are refused first, then those that leave alone."""
    doubt, number = Doubt(most, decisive=False), 0
    for _ in range(doubted):
        probe_in_vain(doubt, number + 1, explained=False)
        number += 2
    flying = [number + 1 + n for n in range(max(1, int(most * part)))]
    for number in flying:
        doubt.left(number)
    wasted, gone = -1, False
    while not gone:
        for one in flying:
            doubt.flying.discard(one)
            cause, _ = doubt.refused(one, Answer(429), need=1, known=None, explained=explained)
            wasted, gone = wasted + 1, cause is Cause.CREDITS
        explained = False
        number += 1
        doubt.left(number)
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


def test_a_refusal_without_a_word_after_a_long_pause_says_that_credits_are_gone() -> None:
    """No crowd lasts so long, and more pauses of that length would take a run's patience."""
    doubt = Doubt(10, decisive=False)
    for number in (1, 2):
        doubt.left(number)
    causes = []
    for number, waited in ((1, 0.0), (2, 31.0)):
        doubt.flying.discard(number)
        told = doubt.refused(number, Answer(429), need=1, known=None, explained=True, waited=waited)
        causes.append(told[0])
    assert causes == [Cause.IN_FLIGHT, Cause.CREDITS]
