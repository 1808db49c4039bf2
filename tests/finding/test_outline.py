"""The outline of the deals' states has all that the rule's choices depend on."""

from __future__ import annotations

import random
from collections.abc import Hashable
from math import inf

import pytest

from bulklink.finding.deal_state import ABSENT, EXISTING, LOST, OPEN, WON, DealState
from bulklink.finding.prediction_rule import Reading, choose_backlog, choose_live, outline
from bulklink.finding.uncertainty import Uncertainty

_FORECASTS = (ABSENT, OPEN, OPEN, WON, LOST, OPEN | WON, EXISTING, OPEN | ABSENT)


def random_state(draws: random.Random) -> DealState:
    forecasts = draws.choice(_FORECASTS)
    if forecasts == ABSENT:
        return DealState(ABSENT, inf, -inf)
    modified_from = draws.choice([-inf, 0.0, 0.5, 1.0, 3.0, 10.0])
    is_certain = modified_from > -inf and draws.random() < 0.6
    modified_to = modified_from if is_certain else draws.choice([20.0, inf])
    uncertainty = None if forecasts in (OPEN, WON, LOST) else Uncertainty.STAGE_UNKNOWN
    return DealState(forecasts, modified_from, modified_to, uncertainty)


@pytest.mark.parametrize("deals", [0, 1, 2, 3, 7])
def test_states_of_the_same_outline_lead_to_the_same_choices(deals: int) -> None:
    draws = random.Random(deals)
    choices: dict[Hashable, object] = {}
    outlines = 0
    for _ in range(5_000):
        states = [random_state(draws) for _ in range(deals)]
        chosen = [
            choose(states, reading)
            for choose in (choose_live, choose_backlog)
            for reading in Reading
        ]
        key = outline(states)
        outlines += key not in choices
        assert choices.setdefault(key, chosen) == chosen
    assert deals > 3 or outlines < 2_500, "hardly any outline came twice"


def test_the_outline_of_one_deal_does_not_change_with_its_times() -> None:
    states = [DealState(OPEN, time, time) for time in (1.0, 2.0)]
    assert outline(states[:1]) == outline(states[1:])
