"""What limited a run: the figures, and what they say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bulklink.engine.limiting import Figures, LimitedBy, Meter, limited_by

FIGURES = Figures(
    calls=100,
    seconds=10.0,
    in_flight=5.0,
    most_in_flight=10.0,
    calls_a_second=10.0,
    rate=50.0,
    latency=0.5,
    cpu=0.1,
    waited=0.0,
)


@pytest.mark.parametrize(
    ("changed", "out", "by"),
    [
        ({}, False, LimitedBy.LATENCY),
        ({"in_flight": 9.7}, False, LimitedBy.IN_FLIGHT),
        ({"in_flight": 9.7, "calls_a_second": 49.5}, False, LimitedBy.RATE),
        ({"in_flight": 9.7, "calls_a_second": 49.5, "rate": None}, False, LimitedBy.IN_FLIGHT),
        ({"in_flight": 9.7, "cpu": 0.97}, False, LimitedBy.CPU),
        ({"waited": 86_400.0, "in_flight": 9.7}, False, LimitedBy.CREDITS),
        ({"waited": 2.0, "in_flight": 9.7}, False, LimitedBy.IN_FLIGHT),
        ({"in_flight": 9.7}, True, LimitedBy.CREDITS),
        ({"in_flight": 0.2}, False, LimitedBy.BETWEEN),
        ({"in_flight": 9.7, "seconds": 1.2}, False, LimitedBy.NOTHING),
        ({"in_flight": 9.7, "calls": 23}, False, LimitedBy.NOTHING),
    ],
)
def test_what_is_used_up_limits(changed: dict[str, Any], out: bool, by: LimitedBy) -> None:
    figures = msgspec.structs.replace(FIGURES, **changed)
    assert limited_by(figures, out_of_credits=out) is by


def test_means_are_over_the_time_from_the_first_call_to_the_last_answer() -> None:
    """Two calls of 3 s, the second a second later, then 10 s of nothing, then one of 2 s."""
    now, cpu, most = [100.0], [7.0], [4]
    meter = Meter(lambda: most[0], lambda: now[0], lambda: cpu[0])
    for wait, step in (
        (0, meter.left),
        (1, meter.left),
        (2, meter.landed),
        (1, meter.landed),
        (10, meter.left),
        (2, meter.landed),
    ):
        now[0], cpu[0] = now[0] + wait, cpu[0] + wait / 4
        step()
    figures = meter.figures(rate=None, waited=8.0)
    assert figures is not None
    assert (figures.calls, figures.seconds, figures.waited) == (3, 8.0, 8.0)
    assert (figures.in_flight, figures.most_in_flight) == (1.0, 4.0)
    assert figures.latency == pytest.approx(8 / 3, abs=1e-4)
    assert figures.calls_a_second == 0.38
    assert figures.cpu == 0.5


def test_where_no_call_left_there_are_no_figures() -> None:
    assert Meter(lambda: 1, lambda: 0.0, lambda: 0.0).figures(None, 0.0) is None
