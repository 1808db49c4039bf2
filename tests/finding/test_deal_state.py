"""The state of a deal in the past is known where its facts leave no other, and nowhere else."""

from __future__ import annotations

from math import inf

import pytest

from bulklink.finding.deal_state import ABSENT, EXISTING, OPEN, DealState, trace_deal
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import DealFacts, FieldChange
from tests.finding.builders import CONTACT, STAGES, deal, move, touch


def states(facts: DealFacts) -> list[tuple[bool | None, str | None, float | None]]:
    """Return existence, forecast and modified time at 5, 15, 25, 35 and 45."""
    traced = trace_deal(facts, STAGES, CONTACT)
    at = [traced.at(time) for time in (5.0, 15.0, 25.0, 35.0, 45.0)]
    return [(existed(state), state.forecast, modified(state)) for state in at]


def existed(state: DealState) -> bool | None:
    if state.forecasts == ABSENT:
        return False
    return None if state.forecasts & ABSENT else True


def modified(state: DealState) -> float | None:
    return state.modified_from if state.modified_from == state.modified_to else None


ABSENT_THEN = (False, None, None)
UNKNOWN = (True, None, None)
UNCLEAR = (None, None, None)


def test_without_history_a_deal_is_known_before_its_creation_and_after_its_last_change() -> None:
    facts = deal("A", "Won", created=10, modified=30)
    known = (True, "won", 30)
    assert states(facts) == [ABSENT_THEN, UNKNOWN, UNKNOWN, known, known]
    assert trace_deal(facts, STAGES).at(15).uncertainty is Uncertainty.HISTORY_NOT_READ


def test_without_history_an_unknown_deal_may_have_changed_until_any_moment() -> None:
    state = trace_deal(deal("A", "Won", created=10, modified=30), STAGES).at(15)
    assert (state.forecasts, state.modified_from, state.modified_to) == (EXISTING, 10, inf)


def test_a_deal_that_never_changed_is_known_from_its_creation() -> None:
    known = (True, "open", 20)
    facts = deal("A", created=20, modified=20)
    assert states(facts) == [ABSENT_THEN, ABSENT_THEN, known, known, known]


def test_a_history_tells_the_stage_and_the_last_change_at_any_time() -> None:
    history = [touch(20), move(30, "Open", "Lost"), move(40, "Lost", "Talks")]
    assert states(deal("A", "Talks", created=10, modified=40, history=history)) == [
        ABSENT_THEN,
        (True, "open", 10),
        (True, "open", 20),
        (True, "lost", 30),
        (True, "open", 40),
    ]


def test_a_history_may_come_in_any_order() -> None:
    history = [touch(20), move(30, "Open", "Lost"), move(40, "Lost", "Talks")]
    facts = deal("A", "Talks", created=10, modified=40, history=history)
    reversed_facts = deal("A", "Talks", created=10, modified=40, history=history[::-1])
    assert states(reversed_facts) == states(facts)


def test_a_change_counts_from_its_moment_on() -> None:
    facts = deal("A", "Won", created=10, modified=30, history=[move(30, "Open", "Won")])
    traced = trace_deal(facts, STAGES)
    assert [traced.at(29.9).forecast, traced.at(30.0).forecast] == ["open", "won"]


@pytest.mark.parametrize("creation", [move(10, None, "Open"), move(11, None, "Open")])
def test_the_creation_may_be_an_entry_of_the_history(creation: FieldChange) -> None:
    history = [creation, move(30, "Open", "Won")]
    facts = deal("A", "Won", created=10, modified=30, history=history)
    assert states(facts)[1:4:2] == [(True, "open", creation.time), (True, "won", 30)]


@pytest.mark.parametrize(
    "facts",
    [
        deal("A", created=10, modified=40, history=[touch(20)]),
        deal("A", created=10, modified=40, history=[]),
        deal("A", created=10, modified=40, history=[touch(20), touch(50)]),
        deal("A", created=10, modified=40, history=[touch(1), touch(40)]),
        deal("A", "Won", created=10, modified=40, history=[move(40, "Open", "Lost")]),
        deal(
            "A",
            "Won",
            created=10,
            modified=40,
            history=[move(20, "Open", "Lost"), move(40, "Open", "Won")],
        ),
    ],
    ids=[
        "it ends before the last change",
        "it is empty, but the deal changed",
        "it ends after the last change",
        "it begins before the creation",
        "it ends in another stage",
        "a change begins where none ended",
    ],
)
def test_a_history_that_contradicts_itself_or_the_deal_is_not_used(facts: DealFacts) -> None:
    without = deal("A", facts.stage, created=10, modified=40)
    assert states(facts) == states(without)
    assert trace_deal(facts, STAGES).at(25).uncertainty is Uncertainty.HISTORY_CONTRADICTS


def test_times_of_a_history_may_differ_a_little_from_those_of_the_deal() -> None:
    history = [touch(9), move(41.5, "Open", "Won")]
    facts = deal("A", "Won", created=10, modified=40, history=history)
    traced = trace_deal(facts, STAGES)
    assert [traced.at(time).forecast for time in (9.9, 10, 39.9, 40)] == [
        None,
        *["open"] * 2,
        "won",
    ]


@pytest.mark.parametrize("last_entry", [38.5, 41.5])
def test_the_last_change_is_when_the_deal_says_it_was(last_entry: float) -> None:
    facts = deal("A", created=10, modified=40, history=[touch(last_entry)])
    assert modified(trace_deal(facts, STAGES).at(40)) == 40


def test_a_stage_that_was_renamed_is_known_by_both_names() -> None:
    """Its old display value is not among the stages any more, but the deal is still in it."""
    history = [
        move(20, "Open", "Old name"),
        move(30, "Old name", "Lost"),
        move(40, "Lost", "Old name"),
    ]
    facts = deal("A", "Negotiation", created=10, modified=40, history=history)
    assert [state[1] for state in states(facts)] == [None, "open", "open", "lost", "open"]


def test_the_display_value_and_the_actual_value_of_a_stage_are_the_same() -> None:
    history = [move(20, "Open", "Talks"), move(40, "Negotiation", "Won")]
    facts = deal("A", "Won", created=10, modified=40, history=history)
    assert [state[1] for state in states(facts)] == [None, "open", "open", "open", "won"]


def test_a_stage_that_nobody_knows_makes_the_forecast_unknown_but_not_the_times() -> None:
    history = [move(20, "Open", "Strange"), move(40, "Strange", "Won")]
    facts = deal("A", "Won", created=10, modified=40, history=history)
    assert states(facts)[1:4] == [(True, "open", 10), (True, None, 20), (True, None, 20)]
    assert trace_deal(facts, STAGES).at(25).uncertainty is Uncertainty.STAGE_UNKNOWN


def test_a_present_stage_that_nobody_knows_makes_the_forecast_unknown() -> None:
    assert states(deal("A", "Strange", created=10, modified=20))[2] == (True, None, 20)
    assert states(deal("A", None, created=10, modified=20))[2] == (True, None, 20)


def test_a_deal_of_unknown_creation_may_not_have_existed_before_its_last_change() -> None:
    known = (True, "open", 30)
    facts = deal("A", created=None, modified=30)
    assert states(facts) == [UNCLEAR, UNCLEAR, UNCLEAR, known, known]
    assert trace_deal(facts, STAGES).at(5).forecasts == ABSENT | EXISTING


def test_the_history_of_a_deal_of_unknown_creation_tells_what_follows_its_first_entry() -> None:
    history = [touch(20), move(30, "Open", "Won")]
    facts = deal("A", "Won", created=None, modified=30, history=history)
    assert states(facts) == [UNCLEAR, UNCLEAR, (True, "open", 20), *[(True, "won", 30)] * 2]


@pytest.mark.parametrize("history", [None, [], [touch(20)]])
def test_a_deal_of_unknown_last_change_is_never_known(history: list[FieldChange] | None) -> None:
    facts = deal("A", created=10, modified=None, history=history)
    assert states(facts) == [ABSENT_THEN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert trace_deal(facts, STAGES).at(15).uncertainty is Uncertainty.DEAL_TIMES_UNKNOWN


def test_a_history_that_was_read_in_part_tells_nothing_of_the_time_before() -> None:
    history = [move(30, "Open", "Won"), touch(40)]
    facts = deal("A", "Won", created=10, modified=40, history=history, history_since=20)
    assert states(facts) == [
        ABSENT_THEN,
        UNKNOWN,
        (True, "open", None),
        (True, "won", 30),
        (True, "won", 40),
    ]
    state = trace_deal(facts, STAGES).at(25)
    assert (state.modified_from, state.modified_to) == (10, 20)


def test_a_history_that_was_read_from_after_the_last_change_tells_nothing_new() -> None:
    facts = deal("A", created=10, modified=30, history=[], history_since=40)
    assert states(facts) == states(deal("A", created=10, modified=30))
    assert trace_deal(facts, STAGES).at(15).uncertainty is Uncertainty.HISTORY_NOT_READ


def test_a_deal_may_have_been_another_contacts_before_its_contact_was_changed() -> None:
    change = FieldChange(30, "Contact_Name", "c9", CONTACT)
    facts = deal("A", created=10, modified=30, history=[touch(20), change])
    assert [state[0] for state in states(facts)] == [False, None, None, True, True]
    state = trace_deal(facts, STAGES, CONTACT).at(25)
    assert state.forecasts == ABSENT | OPEN
    assert state.uncertainty is Uncertainty.CONTACT_CHANGED


def test_a_deal_that_was_away_and_came_back_was_surely_the_contacts_before() -> None:
    history = [
        FieldChange(20, "Contact_Name", CONTACT, "c9"),
        FieldChange(30, "Contact_Name", "c9", CONTACT),
    ]
    facts = deal("A", created=10, modified=30, history=history)
    assert [state[0] for state in states(facts)] == [False, True, None, True, True]
