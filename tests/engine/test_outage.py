"""When an outage begins, how trials are paced, and when it has lasted too long."""

from __future__ import annotations

import pytest

from bulklink.engine.outage import (
    LONGEST_PAUSE,
    SUSPECT_AFTER,
    OutageState,
    after_answer,
    after_failed_trial,
    after_silence,
)


def silent(times: int, state: OutageState | None = None) -> OutageState:
    state = state or OutageState()
    for second in range(times):
        state = after_silence(state, 100.0 + second)
    return state


@pytest.mark.parametrize("times", range(SUSPECT_AFTER))
def test_fewer_unanswered_calls_hold_no_calls_back(times: int) -> None:
    assert silent(times).trial_at is None


def test_three_unanswered_calls_hold_all_calls_back_until_a_trial() -> None:
    state = silent(SUSPECT_AFTER)
    assert (state.began_at, state.trial_at) == (100.0, 103.0)
    assert silent(5, state).trial_at == state.trial_at


def test_an_answer_starts_a_new_streak() -> None:
    state = after_answer(silent(SUSPECT_AFTER - 1))
    assert silent(SUSPECT_AFTER - 1, state).trial_at is None
    assert state.streak == 1
    assert after_answer(silent(SUSPECT_AFTER)).trial_at is None


def test_one_failed_token_request_holds_all_calls_back() -> None:
    assert after_silence(OutageState(), 100.0, concerns_all=True).trial_at == 101.0


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_pauses_grow_until_the_longest_outage_is_reached(jitter: float) -> None:
    state, pauses = silent(SUSPECT_AFTER), []
    now = state.trial_at or 0.0
    while (next_state := after_failed_trial(state, now, 300.0, jitter)) is not None:
        state, before = next_state, now
        now = state.trial_at or 0.0
        pauses.append(now - before)
    assert now == state.began_at + 300.0
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) <= LONGEST_PAUSE
