"""Call metrics, of a whole run and of intervals."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bulklink.engine.metrics import (
    CallMeter,
    MeterTotals,
    figures_between,
    interval_between,
    latencies_between,
)
from bulklink.zoho.http import CallKind


def take_totals(meter: CallMeter, waited: float = 0.0) -> MeterTotals:
    return meter.totals(answered_429=0, credit_wait=waited, paused_seconds=0.0)


def test_means_are_over_the_time_without_waits_for_credits() -> None:
    """A look-up of 5 s before; two overlapping calls of 3 s, a wait of 8 s, and a call of 2 s."""
    now, cpu = [100.0], [7.0]
    meter = CallMeter(lambda: 4, lambda: now[0], lambda: cpu[0])
    in_flight: list[float] = []

    def start() -> None:
        in_flight.append(meter.call_started())

    def end() -> None:
        meter.call_ended(CallKind.LINK, in_flight.pop(0))

    def work(*steps: tuple[float, Callable[[], None]]) -> None:
        for wait, step in steps:
            now[0], cpu[0] = now[0] + wait, cpu[0] + wait / 4
            step()

    work((0, start), (5, end))
    began = take_totals(meter)
    assert figures_between(began, take_totals(meter), None) is None
    work((0, start), (1, start), (2, end), (1, end), (10, start), (2, end))
    figures = figures_between(began, take_totals(meter, waited=8.0), 50.0)
    assert figures is not None
    assert (figures.calls, figures.seconds, figures.waited, figures.rate) == (3, 8.0, 8.0, 50.0)
    assert (figures.in_flight, figures.most_in_flight) == (1.0, 4.0)
    assert figures.latency == pytest.approx(8 / 3, abs=1e-4)
    assert figures.calls_a_second == 0.38
    assert figures.cpu == 0.5


def test_an_interval_has_the_calls_since_the_previous_totals() -> None:
    """A link of 4 s spans both intervals; a read of 1 s overlaps its second half."""
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


def test_the_latencies_of_an_interval_are_within_half_a_percent() -> None:
    now = [0.0]
    meter = CallMeter(lambda: 1, lambda: now[0], lambda: 0.0)
    rng = random.Random(5)
    durations = sorted(rng.lognormvariate(-2, 2) for _ in range(2000))

    def call(seconds: float) -> None:
        started_at = meter.call_started()
        now[0] += seconds
        meter.call_ended(CallKind.LINK, started_at)

    call(0.123)
    began = take_totals(meter)
    for seconds in durations:
        call(seconds)
    latencies = latencies_between(began, take_totals(meter))
    reported = [seconds for seconds, count in latencies.items() for _ in range(count)]
    assert len(reported) == len(durations)
    assert reported == sorted(reported)
    for duration, latency in zip(durations, reported, strict=True):
        assert latency == pytest.approx(duration, rel=0.0055)
    assert len(latencies) < 1000, "a histogram is small"
