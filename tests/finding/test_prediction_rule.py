"""The prediction rule chooses what docs/how-zoho-links-emails.md says, and all that is possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.deal_state import ABSENT, LOST, OPEN, WON, DealState
from bulklink.finding.prediction_rule import Reading, choose_backlog, choose_live

DAY = 86_400.0
A_OPEN, B_OPEN = (OPEN, 3), (OPEN, 5)
LOST_LAST, WON_LAST = (LOST, 9), (WON, 9)


def state(forecasts: int, day: float) -> DealState:
    return DealState(forecasts, day * DAY, day * DAY)


@pytest.mark.parametrize(
    ("deals", "strict", "loose", "last_modified_first"),
    [
        ([], None, None, None),
        ([A_OPEN], 0, 0, 0),
        ([A_OPEN, B_OPEN], 1, 1, 1),
        ([A_OPEN, LOST_LAST], 0, 0, None),
        ([A_OPEN, B_OPEN, LOST_LAST], 1, 1, None),
        ([A_OPEN, B_OPEN, WON_LAST], 1, 2, 2),
        ([WON_LAST], None, 0, 0),
        ([LOST_LAST], None, None, None),
    ],
)
def test_each_reading_chooses_what_the_documentation_says(
    deals: list[tuple[int, int]],
    strict: int | None,
    loose: int | None,
    last_modified_first: int | None,
) -> None:
    states = [state(forecasts, day) for forecasts, day in deals]
    assert [choose_live(states, reading) for reading in Reading] == [
        {strict},
        {loose},
        {last_modified_first},
    ]


def test_a_deal_that_does_not_exist_yet_is_not_chosen() -> None:
    absent = DealState(ABSENT, inf, -inf)
    assert choose_live([absent, state(OPEN, 1)], Reading.STRICT) == {1}


def test_a_deal_of_unknown_stage_that_changed_earlier_does_not_matter_to_the_strict_reading() -> (
    None
):
    unknown = state(OPEN | WON | LOST, 1)
    assert choose_live([unknown, state(OPEN, 2)], Reading.STRICT) == {1}


def test_of_two_changes_in_one_second_either_may_be_the_last() -> None:
    states = [DealState(OPEN, 100.0, 100.0), DealState(OPEN, 100.9, 100.9)]
    assert choose_live(states, Reading.STRICT) == {0, 1}


def choose_from_known(deals: Sequence[tuple[int, float]], reading: Reading) -> Iterator[int | None]:
    """Yield what the rule picks from deals of known forecast and time; several for equal times."""
    candidates = {
        Reading.STRICT: {OPEN},
        Reading.LOOSE: {OPEN, WON},
        Reading.LAST_MODIFIED_FIRST: {OPEN, WON, LOST},
    }[reading]
    times = [time for forecast, time in deals if forecast in candidates]
    if not times:
        yield None
    for place, (forecast, time) in enumerate(deals):
        if forecast in candidates and time == max(times):
            yield None if forecast == LOST else place


uncertain_states = st.builds(
    lambda forecasts, first, last: DealState(forecasts, min(first, last), max(first, last)),
    st.integers(1, 15),
    st.sampled_from([10.0, 20.0, 30.0]),
    st.sampled_from([10.0, 20.0, 30.0]),
)


def known_states(state: DealState) -> list[tuple[int, float]]:
    forecasts = [bit for bit in (ABSENT, OPEN, WON, LOST) if state.forecasts & bit]
    times = [
        time for time in (10.0, 20.0, 30.0) if state.modified_from <= time <= state.modified_to
    ]
    return list(product(forecasts, times))


@given(st.lists(uncertain_states, max_size=3), st.sampled_from(Reading))
def test_the_choice_is_exactly_what_the_possible_states_allow(
    states: list[DealState], reading: Reading
) -> None:
    possible = {
        choice
        for deals in product(*map(known_states, states))
        for choice in choose_from_known(deals, reading)
    }
    assert choose_live(states, reading) == possible


@pytest.mark.parametrize("reading", Reading)
@pytest.mark.parametrize(
    ("deals", "possible"),
    [
        ([], {None}),
        ([A_OPEN], {0}),
        ([A_OPEN, B_OPEN], {None}),
        ([LOST_LAST, (LOST, 2)], {None}),
    ],
    ids=["no deal", "one deal", "two open deals", "two lost deals"],
)
def test_an_email_from_before_the_mailbox_was_connected_is_linked_to_a_single_deal_only(
    deals: list[tuple[int, int]], possible: set[int | None], reading: Reading
) -> None:
    assert choose_backlog([state(*facts) for facts in deals], reading) == possible


@pytest.mark.parametrize(
    "deals", [[A_OPEN, LOST_LAST], [A_OPEN, WON_LAST], [WON_LAST]], ids=["lost", "won", "only won"]
)
def test_whether_closed_deals_count_before_the_mailbox_was_connected_is_open(
    deals: list[tuple[int, int]],
) -> None:
    choice = choose_backlog([state(*facts) for facts in deals], Reading.STRICT)
    assert {0, None} <= choice


@given(
    st.lists(uncertain_states, min_size=1, max_size=3),
    st.sampled_from(Reading),
    st.sampled_from([{OPEN}, {OPEN, WON, LOST}]),
)
def test_a_backlog_choice_allows_every_count_of_deals(
    states: list[DealState], reading: Reading, counted: set[int]
) -> None:
    for deals in product(*map(known_states, states)):
        singles = [place for place, (forecast, _) in enumerate(deals) if forecast in counted]
        expected = {None} if len(singles) != 1 else set(choose_from_known(deals, reading))
        assert expected <= choose_backlog(states, reading)
