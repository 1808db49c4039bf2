"""Search for the highest rate that meets a threshold, with noisy servers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from bulklink.load_analysis.capacity import (
    Capacity,
    RateProbe,
    SearchEnd,
    SearchSettings,
    next_rate,
)
from bulklink.load_analysis.thresholds import parse_threshold
from tests.load_results import SimulatedServer, load_result

SETTINGS = SearchSettings(first=50)
Server = Callable[[float], bool]


def search(server: Server, settings: SearchSettings = SETTINGS) -> tuple[Capacity, list[RateProbe]]:
    """Return the result of a search, and its probes."""
    history: list[RateProbe] = []
    while not isinstance(step := next_rate(history, settings), Capacity):
        history.append(RateProbe(step, server(step)))
    return step, history


@pytest.mark.parametrize("limit", [1.5, 3, 49, 50, 777, 99_000])
def test_the_limit_of_a_steady_server_is_enclosed(limit: float) -> None:
    capacity, history = search(lambda rate: rate <= limit)
    assert capacity.low is not None
    assert capacity.high is not None
    assert capacity.rate == capacity.low <= limit < capacity.high <= 1.05 * capacity.low + 0.01
    assert capacity.ended is SearchEnd.FOUND
    assert capacity.probes == len(history) <= 22
    for end, met in ((capacity.low, True), (capacity.high, False)):
        assert history.count(RateProbe(end, met)) >= 2


def noisy(limit: float, rng: random.Random) -> Server:
    """Return a server whose limit is blurred by 2%, and where one probe in 25 hiccups."""

    def meets(rate: float) -> bool:
        blurred = limit * math.exp(rng.gauss(0, 0.02))
        return rate <= blurred and rng.random() > 0.04

    return meets


def test_noise_and_hiccups_rarely_mislead_the_search() -> None:
    rng = random.Random(4)
    errors, probes = [], []
    for _ in range(300):
        limit = rng.uniform(20, 2000)
        capacity, history = search(noisy(limit, rng))
        assert capacity.rate is not None
        errors.append(abs(math.log(capacity.rate / limit)))
        probes.append(len(history))
    assert sum(error < 0.1 for error in errors) >= 0.95 * len(errors)
    assert sum(probes) / len(probes) < 16
    assert max(probes) < SETTINGS.most_probes


def test_a_hiccup_far_below_the_limit_is_repeated_and_outvoted() -> None:
    hiccups = iter([True, False])

    def server(rate: float) -> bool:
        return rate <= 1000 and (rate > 120 or next(hiccups, True))

    capacity, history = search(server)
    assert history[1] == RateProbe(100.0, met=False)
    assert capacity.rate == pytest.approx(1000, rel=0.05)
    assert [probe.met for probe in history if probe.rate == 100] == [False, True, True]


def test_a_server_without_a_limit_in_range_is_called_so() -> None:
    never_missed, history = search(lambda _: True, SearchSettings(first=50, highest=300))
    assert never_missed == Capacity(
        rate=300, low=300, high=None, ended=SearchEnd.NEVER_MISSED, probes=5
    )
    assert [probe.rate for probe in history] == [50, 100, 200, 300, 300]
    assert all(isinstance(probe.rate, float) for probe in history)
    never_met, history = search(lambda _: False, SearchSettings(first=5, lowest=2))
    assert never_met == Capacity(rate=None, low=None, high=2, ended=SearchEnd.NEVER_MET, probes=4)
    assert [probe.rate for probe in history] == [5, 2.5, 2, 2]


def test_a_server_that_never_settles_ends_the_search() -> None:
    rng = random.Random(3)
    settings = SearchSettings(first=50, precision=0.001, most_probes=12)
    capacity, history = search(lambda _: rng.random() < 0.5, settings)
    assert (capacity.ended, len(history)) == (SearchEnd.TOO_MANY_PROBES, 12)


def test_the_search_finds_where_a_queue_begins_to_grow() -> None:
    """Ten places of 50 ms bear 200 calls a second at most."""
    threshold = parse_threshold("p99 < 400ms")
    server = SimulatedServer(median=0.05, spread=0.1, slow_share=0)

    def meets(rate: float) -> bool:
        return threshold.check(load_result(server, rate=rate, seconds=5, places=10)).met

    capacity, _ = search(meets)
    assert capacity.rate == pytest.approx(200, rel=0.1)
