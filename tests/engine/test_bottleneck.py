"""Bottleneck of a run or an interval, from its figures."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bulklink.engine.metrics import (
    CallFigures,
    LimitedBy,
    MeterInterval,
    find_bottleneck,
    find_interval_bottleneck,
)

FIGURES = CallFigures(
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
        ({"in_flight": 0.2, "cpu": 0.5}, False, LimitedBy.LOCAL_WORK),
        ({"in_flight": 0.2}, False, LimitedBy.WAITS),
        ({"in_flight": 9.7, "seconds": 1.2}, False, LimitedBy.NOTHING),
        ({"in_flight": 9.7, "calls": 23}, False, LimitedBy.NOTHING),
    ],
)
def test_the_bottleneck_of_a_run_is_the_exhausted_resource(
    changed: dict[str, Any], out: bool, by: LimitedBy
) -> None:
    figures = msgspec.structs.replace(FIGURES, **changed)
    assert find_bottleneck(figures, out_of_credits=out) is by


INTERVAL = MeterInterval(
    seconds=5.0,
    calls=50,
    ended={},
    answered_429=0,
    in_flight=5.0,
    most_in_flight=10.0,
    cpu_seconds=0.5,
    credit_wait=0.0,
    paused_seconds=0.0,
)


@pytest.mark.parametrize(
    ("changed", "by"),
    [
        ({}, LimitedBy.LATENCY),
        ({"in_flight": 9.7}, LimitedBy.IN_FLIGHT),
        ({"in_flight": 9.7, "calls": 240}, LimitedBy.RATE),
        ({"in_flight": 9.7, "cpu_seconds": 4.8}, LimitedBy.CPU),
        ({"in_flight": 0.2, "cpu_seconds": 2.5}, LimitedBy.LOCAL_WORK),
        ({"in_flight": 0.2}, LimitedBy.WAITS),
        ({"in_flight": 0.0, "calls": 0}, LimitedBy.NOTHING),
        ({"in_flight": 1.0, "credit_wait": 4.0}, LimitedBy.CREDITS),
        ({"in_flight": 5.8, "credit_wait": 2.0}, LimitedBy.IN_FLIGHT),
        ({"calls": 0, "in_flight": 0.0, "paused_seconds": 4.9}, LimitedBy.PAUSE),
        ({"in_flight": 3.0, "answered_429": 2}, LimitedBy.PAUSE),
        ({"in_flight": 9.0, "answered_429": 1}, LimitedBy.IN_FLIGHT),
    ],
)
def test_the_bottleneck_of_an_interval_is_the_exhausted_resource(
    changed: dict[str, Any], by: LimitedBy
) -> None:
    assert find_interval_bottleneck(msgspec.structs.replace(INTERVAL, **changed), rate=50.0) is by
