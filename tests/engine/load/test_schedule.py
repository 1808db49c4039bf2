"""When calls are due in a load test."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.load.schedule import LoadSchedule, SchedulePhase, with_warm_up

rates = st.floats(min_value=0.1, max_value=500)
phases = st.lists(
    st.builds(SchedulePhase, st.just("ramp"), st.floats(min_value=0.1, max_value=20), rates, rates),
    min_size=1,
    max_size=4,
)


@given(phases)
def test_calls_are_due_in_order_and_as_many_as_the_rates_ask_for(
    drawn: list[SchedulePhase],
) -> None:
    schedule = LoadSchedule(tuple(drawn))
    due = list(schedule.due_times())
    assert due[0] == 0
    assert all(earlier < later for earlier, later in pairwise(due))
    assert due[-1] < schedule.seconds
    assert abs(len(due) - schedule.asked_between(0, schedule.seconds)) <= 1


@given(phases, st.floats(min_value=0, max_value=1))
def test_the_calls_due_until_a_moment_are_the_area_below_the_rates(
    drawn: list[SchedulePhase], share: float
) -> None:
    schedule = LoadSchedule(tuple(drawn))
    moment = share * schedule.seconds
    due_by_then = sum(due < moment for due in schedule.due_times())
    steps = 400
    area = sum(
        rate_at(schedule, (step + 0.5) * moment / steps) * moment / steps for step in range(steps)
    )
    assert due_by_then == pytest.approx(area, abs=1 + 0.02 * area + 5 * moment / steps * 500)


def rate_at(schedule: LoadSchedule, seconds: float) -> float:
    for start, phase in zip(schedule.starts, schedule.phases, strict=True):
        if seconds < start + phase.seconds:
            return phase.rate_at(seconds - start) or 0.0
    return 0.0


def test_a_constant_rate_has_equal_gaps_without_an_end() -> None:
    schedule = LoadSchedule((SchedulePhase("constant", math.inf, 50.0, 50.0),))
    assert list(islice(schedule.due_times(), 4)) == pytest.approx([0, 0.02, 0.04, 0.06])


def test_a_warm_up_comes_first_at_the_first_rate() -> None:
    schedule = with_warm_up([SchedulePhase("ramp", 10.0, 5.0, 50.0)], 2.0)
    assert (schedule.warm_up, schedule.starts, schedule.seconds) == (2.0, [0.0, 2.0], 12.0)
    assert sum(due < 2.0 for due in schedule.due_times()) == 10
    assert with_warm_up([SchedulePhase("closed", 5.0)], 0.0).warm_up == 0
