"""Scales have round ticks, and any path stays in the plot area."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.html_pages.plot_area import (
    PLOT_HEIGHT,
    PLOT_WIDTH,
    Step,
    area_path,
    fit_scale,
    format_coordinate,
    line_path,
)
from tests.html_pages.paths import path_points

ANY_NUMBER = st.none() | st.floats() | st.integers(-(2**63), 2**63)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0, 0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([None, 18], ["0", "5", "10", "15", "20"]),
        ([20], ["0", "5", "10", "15", "20"]),
        ([0.31], ["0.0", "0.1", "0.2", "0.3", "0.4"]),
        ([0.0009], ["0.0000", "0.0002", "0.0004", "0.0006", "0.0008", "0.0010"]),
        ([9_500], ["0", "2k", "4k", "6k", "8k", "10k"]),
        ([3_100_000], ["0", "1M", "2M", "3M", "4M"]),
        ([float("inf"), float("nan"), 3], ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]),
    ],
)
def test_a_scale_has_round_ticks_and_fits_all_values(
    values: list[float | None], labels: list[str]
) -> None:
    assert [tick.label for tick in fit_scale(values).ticks()] == labels


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (0, ["0", "1", "2", "3", "4"]),
        (1, ["0", "1", "2", "3", "4"]),
        (5, ["0", "1", "2", "3", "4", "5"]),
        (9, ["0", "2", "4", "6", "8", "10"]),
    ],
)
def test_a_scale_of_whole_numbers_has_no_fractions(highest: int, labels: list[str]) -> None:
    assert [tick.label for tick in fit_scale([highest], whole=True).ticks()] == labels


@given(st.lists(ANY_NUMBER, max_size=5), st.booleans())
def test_ticks_rise_from_the_bottom_to_the_top(values: list[float | None], whole: bool) -> None:
    ticks = fit_scale(values, whole=whole).ticks()
    assert 3 <= len(ticks) <= 8
    assert ticks[0].y == PLOT_HEIGHT
    assert ticks[-1].y == 0
    assert all(a.y > b.y for a, b in pairwise(ticks))
    assert len({tick.label for tick in ticks}) == len(ticks)
    assert all(len(tick.label) <= 6 for tick in ticks)


def test_areas_follow_their_values_and_skip_missing_ones() -> None:
    steps = [
        Step(0, 100, 0, 10),
        Step(100, 200, 0, 5),
        Step(200, 300, 0, 5),
        Step(300, 400, 0, None),
        Step(400, 500, 0, 10, 5),
    ]
    scale = fit_scale([10])
    assert area_path(steps, scale.y) == "M0 0H100V70H300V140H0ZM400 0H500V70H400Z"


def test_adjacent_areas_touch_and_lines_bridge_gaps() -> None:
    steps = [Step(0, 98.5, 0, 10), Step(100, 200, 0, 5), Step(300, 400, 0, 10)]
    scale = fit_scale([10])
    assert area_path(steps, scale.y) == "M0 0H100V70H200V140H0ZM300 0H400V140H300Z"
    assert line_path(steps, scale.y) == "M0 0H100V70H300V0H400"
    apart = [Step(0, 100, 0, 10), Step(100, 200, 1, 10)]
    assert line_path(apart, scale.y) == "M0 0H100M100 0H200"


@given(
    st.lists(
        st.tuples(
            st.floats(0, PLOT_WIDTH),
            st.floats(0, PLOT_WIDTH),
            st.integers(0, 2),
            ANY_NUMBER,
            st.floats(allow_nan=False) | st.floats(0, 10),
        ),
        max_size=8,
    )
)
def test_every_path_lies_in_the_plot_area(
    lines: list[tuple[float, float, int, float | None, float]],
) -> None:
    steps = [Step(*line) for line in lines]
    scale = fit_scale([step.upper for step in steps])
    for path in (area_path(steps, scale.y), line_path(steps, scale.y)):
        for x, y in path_points(path):
            assert 0 <= x <= PLOT_WIDTH
            assert 0 <= y <= PLOT_HEIGHT


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12.0, "12"), (12.04, "12"), (12.06, "12.1"), (100.0, "100")]
)
def test_a_coordinate_is_short(value: float, text: str) -> None:
    assert format_coordinate(value) == text
