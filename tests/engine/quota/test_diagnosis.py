"""What a 429 stands for, by words, header, Retry-After and behaviour: zoho-api.md, section 2."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.engine.quota.diagnosis import (
    DOUBT_SECONDS,
    QuotaSuspicion,
    RefusalCause,
    RefusalEvidence,
    diagnose_refusal,
)
from bulklink.zoho.http import Answer
from bulklink.zoho.throttling import ThrottleReason


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        ({"reported_left": 0}, RefusalCause.CREDITS),
        ({"reported_left": 2, "required": 3}, RefusalCause.CREDITS),
        ({"reported_left": 0, "wording": ThrottleReason.IN_FLIGHT}, RefusalCause.CREDITS),
        ({"reported_left": 5_000}, RefusalCause.IN_FLIGHT),
        (
            {"reported_left": 5_000, "wording": ThrottleReason.CREDITS, "alone": True},
            RefusalCause.IN_FLIGHT,
        ),
        ({"previously_left": 5_000}, RefusalCause.IN_FLIGHT),
        ({"retry_after": 7_200.0}, RefusalCause.CREDITS),
        ({"retry_after": 239.0, "wording": ThrottleReason.IN_FLIGHT}, RefusalCause.IN_FLIGHT),
        ({"wording": ThrottleReason.IN_FLIGHT, "alone": True}, RefusalCause.IN_FLIGHT),
        ({"wording": ThrottleReason.CREDITS}, RefusalCause.SUSPECTED),
        ({"wording": ThrottleReason.CREDITS, "alone": True, "probes": 1}, RefusalCause.CREDITS),
        ({}, RefusalCause.SUSPECTED),
        ({"reported_left": 4, "max_in_flight": 10}, RefusalCause.SUSPECTED),
    ],
)
def test_wording_and_headers_decide_if_they_are_conclusive(
    known: dict[str, Any], cause: RefusalCause
) -> None:
    assert diagnose_refusal(RefusalEvidence(**known)) is cause


@pytest.mark.parametrize("most", [1, 2, 5, 10, 25])
@pytest.mark.parametrize("answer_text", ["", "for the past 24 hours"])
def test_exhausted_credits_waste_at_most_max_in_flight_calls(most: int, answer_text: str) -> None:
    """Credits go while all calls are in flight, and no header tells: the worst case."""
    suspicion, wasted = (
        QuotaSuspicion(most, first_refusal_decides=False),
        -1,
    )  # the first refusal is none too many
    busy = Answer(429, f'{{"code":"TOO_MANY_REQUESTS","message":"{answer_text}"}}'.encode())
    number, gone = 0, False
    for _ in range(most):
        number += 1
        suspicion.on_start(number)
    in_flight = list(suspicion.in_flight)
    while not gone:
        for one in in_flight:
            suspicion.in_flight.discard(one)
            diagnosis = suspicion.on_refused(one, busy, required=1, previously_left=None)
            wasted, gone = wasted + 1, diagnosis.cause is RefusalCause.CREDITS
            assert diagnosis.pause > 0
        number += 1
        free = suspicion.may_start
        suspicion.on_start(number)
        assert (free, suspicion.may_start) == (True, False)
        in_flight = [number]
    assert wasted <= most


def refuse_then_succeed(suspicion: QuotaSuspicion, first: int, *, explained: bool) -> RefusalCause:
    """Have a call refused that says nothing, and one after it get through; return the cause."""
    suspicion.on_start(first)
    suspicion.in_flight.discard(first)
    diagnosis = suspicion.on_refused(
        first, Answer(429), required=1, previously_left=None, explained_by_concurrency=explained
    )
    suspicion.on_start(first + 1)
    suspicion.in_flight.discard(first + 1)
    suspicion.on_accepted(first + 1)
    return diagnosis.cause


def test_a_refusal_explained_by_concurrency_raises_no_suspicion() -> None:
    assert (
        refuse_then_succeed(QuotaSuspicion(10, first_refusal_decides=False), 1, explained=True)
        is RefusalCause.IN_FLIGHT
    )
    assert (
        refuse_then_succeed(QuotaSuspicion(10, first_refusal_decides=False), 1, explained=False)
        is RefusalCause.SUSPECTED
    )


def test_false_suspicions_are_raised_only_three_times() -> None:
    suspicion = QuotaSuspicion(10, first_refusal_decides=False)
    causes = [refuse_then_succeed(suspicion, 2 * n + 1, explained=False) for n in range(5)]
    assert causes == [RefusalCause.SUSPECTED] * 3 + [RefusalCause.IN_FLIGHT] * 2


@pytest.mark.parametrize("most", [1, 2, 3, 5, 10, 25])
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("explained", "doubted"), [(True, 0), (False, 3), (True, 3)])
def test_credits_exhausted_during_a_probe_waste_at_most_max_in_flight_calls(
    most: int, part: float, explained: bool, doubted: int
) -> None:
    """Calls that too many in flight explain are refused first, then those that leave alone."""
    suspicion, number = QuotaSuspicion(most, first_refusal_decides=False), 0
    for _ in range(doubted):
        refuse_then_succeed(suspicion, number + 1, explained=False)
        number += 2
    in_flight = [number + 1 + n for n in range(max(1, int(most * part)))]
    for number in in_flight:
        suspicion.on_start(number)
    wasted, gone = -1, False
    while not gone:
        for one in in_flight:
            suspicion.in_flight.discard(one)
            diagnosis = suspicion.on_refused(
                one,
                Answer(429),
                required=1,
                previously_left=None,
                explained_by_concurrency=explained,
            )
            wasted, gone = wasted + 1, diagnosis.cause is RefusalCause.CREDITS
        explained = False
        number += 1
        suspicion.on_start(number)
        in_flight = [number]
    assert wasted <= most


def test_only_a_call_accepted_after_the_refusal_clears_the_suspicion() -> None:
    suspicion, busy = QuotaSuspicion(10, first_refusal_decides=False), Answer(429)
    for number in (1, 2, 3):
        suspicion.on_start(number)
    suspicion.in_flight.discard(2)
    suspicion.on_refused(2, busy, required=1, previously_left=None)
    suspicion.in_flight.discard(1)
    suspicion.on_accepted(1)
    assert suspicion.suspected, "it left before: it got the credit that the other did not get"
    suspicion.in_flight.discard(3)
    suspicion.on_start(4)
    suspicion.in_flight.discard(4)
    suspicion.on_accepted(4)
    assert not suspicion.suspected


def test_after_exhausted_credits_one_refusal_decides() -> None:
    suspicion = QuotaSuspicion(10, first_refusal_decides=True)
    suspicion.on_start(1)
    suspicion.in_flight.discard(1)
    assert (
        suspicion.on_refused(1, Answer(429), required=1, previously_left=None).cause
        is RefusalCause.CREDITS
    )


def test_after_exhausted_credits_concurrency_is_still_recognized() -> None:
    suspicion = QuotaSuspicion(10, first_refusal_decides=True)
    suspicion.on_start(1)
    suspicion.in_flight.discard(1)
    answer = Answer(429, b'{"message":"concurrency limit reached"}')
    assert (
        suspicion.on_refused(1, answer, required=1, previously_left=None).cause
        is RefusalCause.IN_FLIGHT
    )


@pytest.mark.parametrize("explained", [False, True])
@pytest.mark.parametrize("retry_after", [None, 60.0])
def test_a_suspicion_is_settled_in_bounded_time(explained: bool, retry_after: float | None) -> None:
    """However many calls may be in flight, and whatever the limiter would wait by itself."""
    suspicion, now, number = QuotaSuspicion(1_000, first_refusal_decides=False), 0.0, 0
    cause = RefusalCause.IN_FLIGHT
    refusals = 0
    while cause is not RefusalCause.CREDITS:
        number, refusals = number + 1, refusals + 1
        suspicion.on_start(number)
        suspicion.in_flight.discard(number)
        diagnosis = suspicion.on_refused(
            number,
            Answer(429, retry_after=retry_after),
            required=1,
            previously_left=None,
            explained_by_concurrency=explained,
            now=now,
        )
        cause = diagnosis.cause
        assert diagnosis.pause <= diagnosis.longest_pause
        now += max(min(300.0, diagnosis.longest_pause), retry_after or 0.0)
    assert now <= 3 * DOUBT_SECONDS + refusals * (retry_after or 0.0)
    assert refusals <= 5
