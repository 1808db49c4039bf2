"""What is measured of calls: over all of a run, and between two looks."""

from __future__ import annotations

import random

import pytest

from bulklink.engine.metrics import (
    LATENCY_ERROR,
    CallMeter,
    MeterTotals,
    interval_between,
    latencies_between,
)
from bulklink.zoho.http import CallKind


def test_means_are_over_the_time_from_the_first_call_to_the_last_answer() -> None:
    """Two calls of 3 s, the second a second later, then 10 s of nothing, then one of 2 s."""
    now, cpu, most = [100.0], [7.0], [4]
    meter = CallMeter(lambda: most[0], lambda: now[0], lambda: cpu[0])
    flying: list[float] = []

    def leave() -> None:
        flying.append(meter.call_started())

    def land() -> None:
        meter.call_ended(CallKind.LINK, flying.pop(0))

    for wait, step in (
        (0, leave),
        (1, leave),
        (2, land),
        (1, land),
        (10, leave),
        (2, land),
    ):
        now[0], cpu[0] = now[0] + wait, cpu[0] + wait / 4
        step()
    figures = meter.figures(rate=None, credit_wait=8.0)
    assert figures is not None
    assert (figures.calls, figures.seconds, figures.waited) == (3, 8.0, 8.0)
    assert (figures.in_flight, figures.most_in_flight) == (1.0, 4.0)
    assert figures.latency == pytest.approx(8 / 3, abs=1e-4)
    assert figures.calls_a_second == 0.38
    assert figures.cpu == 0.5


def test_without_calls_there_are_no_figures() -> None:
    assert CallMeter(lambda: 1, lambda: 0.0, lambda: 0.0).figures(None, 0.0) is None


def take_totals(meter: CallMeter, waited: float = 0.0) -> MeterTotals:
    return meter.totals(answered_429=0, credit_wait=waited, paused_seconds=0.0)


def test_an_interval_has_the_calls_since_the_previous_totals() -> None:
    """A link of 4 s is looked at in its middle; a read of 1 s flies beside its second half."""
    now, cpu = [0.0], [0.0]
    meter = CallMeter(lambda: 4, lambda: now[0], lambda: cpu[0])
    now[0] = 10.0
    began = take_totals(meter)
    link = meter.call_started()
    now[0] = 12.0
    middle = take_totals(meter)
    now[0], cpu[0] = 13.0, 0.5
    read = meter.call_started()
    now[0] = 14.0
    meter.call_ended(CallKind.LINK, link)
    meter.call_ended(CallKind.READ, read)
    now[0] = 16.0
    first, second = (
        interval_between(began, middle),
        interval_between(middle, take_totals(meter, waited=1.5)),
    )
    assert (first.seconds, first.calls, first.in_flight, first.most_in_flight) == (2, 1, 1, 4)
    assert not any(first.ended.values())
    assert (second.seconds, second.calls, second.in_flight, second.most_in_flight) == (
        4,
        1,
        0.75,
        4,
    )
    assert (second.cpu_seconds, second.credit_wait) == (0.5, 1.5)
    assert second.ended == {
        CallKind.LINK: 1,
        CallKind.READ: 1,
        CallKind.UNLINK: 0,
        CallKind.LOOKUP: 0,
    }


def test_the_latencies_of_an_interval_are_within_two_percent() -> None:
    now = [0.0]
    meter = CallMeter(lambda: 1, lambda: now[0], lambda: 0.0)
    chance = random.Random(5)
    taken = sorted(chance.lognormvariate(-2, 2) for _ in range(2000))

    def call(seconds: float) -> None:
        left_at = meter.call_started()
        now[0] += seconds
        meter.call_ended(CallKind.LINK, left_at)

    call(0.123)
    began = take_totals(meter)
    for seconds in taken:
        call(seconds)
    latencies = latencies_between(began, take_totals(meter))
    each = [seconds for seconds, count in latencies.items() for _ in range(count)]
    assert len(each) == len(taken)
    assert each == sorted(each)
    for measured, shown in zip(taken, each, strict=True):
        assert shown == pytest.approx(max(measured, 0.0001), rel=LATENCY_ERROR + 0.001)
    assert len(latencies) < 500, "a histogram is small"
