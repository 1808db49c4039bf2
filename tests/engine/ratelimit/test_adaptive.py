"""Adaptive concurrency limit: reactions to refusals and successes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.engine.ratelimit import adaptive
from bulklink.engine.ratelimit.adaptive import AdaptiveLimit
from bulklink.engine.retry import MAX_BUSY_SECONDS


def after_refusal(
    limit: AdaptiveLimit, *, in_flight: int, at: float, started_at: float | None = None
) -> AdaptiveLimit:
    started_at = at if started_at is None else started_at
    return adaptive.on_refused(limit, started_at, in_flight, at, None, 0.5)


def after_probe(limit: AdaptiveLimit, at: float) -> AdaptiveLimit:
    """Send the probe and answer it."""
    limit = adaptive.on_slot_granted(limit)
    return adaptive.on_accepted(limit, at, at + 0.5)


def test_the_limit_starts_at_the_ceiling() -> None:
    assert adaptive.initial_limit(25).limit == 25


def test_a_refusal_cuts_the_limit_to_the_other_calls_in_flight() -> None:
    assert after_refusal(adaptive.initial_limit(10), in_flight=9, at=1.0).limit == 8


def test_an_episode_cuts_the_limit_by_at_most_half() -> None:
    limit = after_refusal(adaptive.initial_limit(10), in_flight=10, at=1.0)
    for _ in range(9):
        limit = after_refusal(limit, in_flight=10, at=1.1, started_at=0.9)
    assert limit.limit == 5


def test_after_a_pause_a_single_probe_is_sent() -> None:
    limit = after_refusal(adaptive.initial_limit(10), in_flight=10, at=1.0)
    assert not adaptive.may_start(limit, 0, 1.01)
    assert adaptive.may_start(limit, 0, 1.5)
    limit = adaptive.on_slot_granted(limit)
    assert not adaptive.may_start(limit, 1, 1.5)
    assert not adaptive.may_start(limit, 1, 60.0), "however long its answer takes"
    assert adaptive.may_start(adaptive.on_probe_lost(limit), 0, 60.0)
    assert adaptive.may_start(adaptive.on_accepted(limit, 1.5, 60.0), 0, 60.0)


def test_the_limit_pauses_for_retry_after_and_one_second() -> None:
    limit = adaptive.on_refused(adaptive.initial_limit(10), 1.0, 10, 1.0, 30.0, 0.5)
    assert not adaptive.may_start(limit, 0, 31.99)
    assert adaptive.may_start(limit, 0, 32.0)


def test_the_limit_grows_back_by_one_per_success() -> None:
    limit = after_probe(after_refusal(adaptive.initial_limit(20), in_flight=17, at=1.0), 2.0)
    limits = [limit.limit]
    for n in range(12):
        limit = adaptive.on_accepted(limit, 3.0 + n, 3.5 + n)
        limits.append(limit.limit)
    assert limits[:4] == [9, 10, 11, 12]
    assert limits[-1] == 16


def test_slots_are_opened_faster_and_faster() -> None:
    limit, at, opened = (
        AdaptiveLimit(ceiling=30, limit=10, known_good=10, next_increase_at=100.0),
        100.0,
        [],
    )
    assert adaptive.increase_if_due(limit, 99.0) is limit
    while at < 103.0:
        limit = adaptive.increase_if_due(limit, at)
        opened.append(limit.limit)
        at += 0.05
    assert opened[0] == 11
    assert opened[-1] == 30


def test_pauses_grow_only_while_refusals_persist() -> None:
    limit, pauses = adaptive.initial_limit(10), list[float]()
    at = 1.0
    for _ in range(4):
        limit = after_refusal(limit, in_flight=limit.limit, at=at)
        pauses.append(limit.paused_until - at)
        at = limit.paused_until + 1.0
        limit = adaptive.on_slot_granted(limit)
    assert pauses == sorted(pauses)
    limit = adaptive.on_accepted(limit, at, at + 1.0)
    at += 10.0
    assert after_refusal(limit, in_flight=2, at=at).paused_until - at < 1.0


def probe_until_accepted(limit: AdaptiveLimit, at: float, until: float) -> AdaptiveLimit:
    """Probe a server that locks out all calls until a time, and twice as long after each probe."""
    lockout = until - at
    while True:
        at = limit.paused_until + 0.01
        limit = adaptive.on_slot_granted(limit)
        if at > until:
            return adaptive.on_accepted(limit, at, at + 0.5)
        lockout, until = 2 * lockout, at + 2 * lockout
        limit = adaptive.on_refused(limit, at, 1, at, None, 0.5)


@pytest.mark.parametrize("seconds", [1.0, 4.0, 10.0, 20.0])
def test_pauses_outgrow_a_doubling_penalty_before_a_call_gives_up(seconds: float) -> None:
    limit = after_refusal(adaptive.initial_limit(10), in_flight=10, at=1.0)
    assert probe_until_accepted(limit, 1.0, 1.0 + seconds).paused_until < MAX_BUSY_SECONDS


def test_the_next_episode_begins_with_the_learned_penalty() -> None:
    limit = probe_until_accepted(
        after_refusal(adaptive.initial_limit(10), in_flight=10, at=1.0), 1.0, 11.0
    )
    again = after_refusal(limit, in_flight=limit.known_good + 1, at=1_000.0)
    assert 10.0 < again.paused_until - 1_000.0 < 20.0
    assert probe_until_accepted(again, 1_000.0, 1_010.0).paused_until == again.paused_until


def test_refusals_during_a_lockout_do_not_lower_the_known_good_limit() -> None:
    limit = after_refusal(adaptive.initial_limit(20), in_flight=13, at=1.0)
    assert probe_until_accepted(limit, 1.0, 11.0).known_good == 12


def test_a_lower_ceiling_holds_for_refusals_during_a_lockout_and_of_earlier_calls() -> None:
    refused = after_refusal(adaptive.initial_limit(20), in_flight=13, at=1.0)
    lowered = adaptive.with_ceiling(refused, 3)
    assert after_refusal(lowered, in_flight=12, at=1.1, started_at=0.9).known_good <= 3
    probe = adaptive.on_slot_granted(lowered)
    assert after_refusal(probe, in_flight=1, at=2.0).limit <= 3


def test_a_learned_penalty_decays_while_shorter_pauses_suffice() -> None:
    limit = probe_until_accepted(
        after_refusal(adaptive.initial_limit(10), in_flight=10, at=1.0), 1.0, 11.0
    )
    pauses = list[float]()
    for n in range(1, 40):
        limit = after_refusal(limit, in_flight=limit.known_good + 1, at=10_000.0 * n)
        pauses.append(limit.paused_until - 10_000.0 * n)
        limit = probe_until_accepted(limit, 10_000.0 * n, 10_000.0 * n)
    assert pauses == sorted(pauses, reverse=True)
    assert pauses[-1] < 1.0


@pytest.mark.parametrize(
    ("in_flight", "started_at", "explained"), [(10, 1.0, False), (11, 1.0, True), (5, 0.5, True)]
)
def test_exceeding_the_known_good_limit_or_an_earlier_refusal_explains_a_refusal(
    in_flight: int, started_at: float, explained: bool
) -> None:
    limit = AdaptiveLimit(ceiling=20, limit=11, known_good=10, cut_at=0.7)
    assert adaptive.explains_refusal(limit, started_at, in_flight) is explained


def test_costly_refusals_make_increases_rare() -> None:
    for seconds in (4.0, 10.0):
        limit = probe_until_accepted(
            after_refusal(adaptive.initial_limit(10), in_flight=10, at=1.0), 1.0, 1.0 + seconds
        )
        limit = after_refusal(limit, in_flight=limit.known_good + 1, at=5_000.0)
        cost = limit.paused_until - 5_000.0
        limit = probe_until_accepted(limit, 5_000.0, 5_000.0 + seconds)
        assert limit.next_increase_at - limit.paused_until >= 25 * cost


@settings(max_examples=200)
@given(
    ceiling=st.integers(1, 50),
    events=st.lists(
        st.tuples(st.sampled_from("rgawc"), st.floats(0.001, 5.0), st.integers(1, 50)),
        max_size=80,
    ),
)
def test_the_limit_always_stays_between_one_and_the_ceiling(
    ceiling: int, events: list[tuple[str, float, int]]
) -> None:
    limit, now = adaptive.initial_limit(ceiling), 0.0
    for event, later, in_flight in events:
        now += later
        if event == "r":
            limit = after_refusal(limit, in_flight=in_flight, at=now, started_at=now - later / 2)
        elif event == "g":
            limit = adaptive.on_slot_granted(limit)
        elif event == "a":
            limit = adaptive.on_accepted(limit, now - later, now)
        elif event == "c":
            ceiling = in_flight
            limit = adaptive.with_ceiling(limit, ceiling)
        else:
            limit = adaptive.on_probe_lost(adaptive.increase_if_due(limit, now))
        assert 1 <= limit.limit <= ceiling
        assert 1 <= limit.known_good <= ceiling
        assert limit.paused_until - now <= 400
