"""The limit of calls in flight finds what the server takes, in orgs whose limits move."""

from __future__ import annotations

import pytest

from tests.simulation.traffic import Org, Seen, watch

ORGS = {
    "a cap that nobody told": (Org(10, 5, seconds=120), 5),
    "a cap far below what was told": (Org(25, 3, seconds=120), 3),
    "a cap shared with a program that comes and goes": (
        Org(10, 10, others=((20, 5), (50, 0), (80, 5)), seconds=120),
        5,
    ),
    "a cap that steps": (
        Org(20, 20, latency=1.0, others=((30, 10), (45, 15), (90, 0)), seconds=150),
        20,
    ),
    "a cap that ramps": (
        Org(20, 20, latency=1.0, others=[(25 + 3 * n, n) for n in range(1, 12)], seconds=150),
        9,
    ),
    "a cap that nobody told, in words that tell nothing": (
        Org(25, 18, words=False, seconds=120),
        18,
    ),
    "a server that punishes early calls and says for how long": (
        Org(20, 12, latency=1.0, penalty=4.0, retry_after=True, seconds=300),
        12,
    ),
}
"""An org, and the fixed limit that is best there in hindsight."""


@pytest.mark.parametrize(("org", "fixed"), ORGS.values(), ids=ORGS.keys())
def test_nine_tenths_of_the_best_fixed_limit_in_hindsight_are_reached(org: Org, fixed: int) -> None:
    adaptive = watch(org)
    assert len(adaptive.done) >= 0.9 * len(watch(org, fixed=fixed).done)
    assert adaptive.refusals(60) <= most_refusals(adaptive, 60, org.seconds)


def most_refusals(seen: Seen, since: float, until: float) -> float:
    """Return the 429s that are allowed: one call in a hundred, or one in 30 s."""
    calls = seen.calls(since) + seen.refusals(since)
    return max(calls / 100, (until - since) / 30)


@pytest.mark.parametrize(("cap", "others", "latency"), [(20, 15, 1.0), (20, 10, 0.5), (10, 5, 0.5)])
def test_a_risen_cap_is_used_within_half_a_minute(cap: int, others: int, latency: float) -> None:
    org = Org(cap, cap, latency, others=((0, others), (70, 0)), seconds=110)
    seen = watch(org)
    assert seen.calls(100, 110) >= 0.9 * 10 * cap / latency


SILENT = {
    "unannounced 4 s": (Org(20, 12, latency=1.0, penalty=4.0, seconds=900), 180),
    "unannounced 10 s": (Org(20, 12, latency=1.0, penalty=10.0, seconds=900), 180),
    "unannounced 10 s, in words that tell nothing": (
        Org(20, 12, latency=1.0, penalty=10.0, words=False, seconds=900),
        180,
    ),
    "unannounced 10 s, far below what was told": (
        Org(25, 3, latency=1.0, penalty=10.0, seconds=900),
        240,
    ),
}
"""Orgs that refuse everything for a while without a word, twice as long after each early call;
and the seconds within which that is learned."""


@pytest.mark.parametrize("seed", [3, 5, 7])
def test_a_penalty_is_outlasted_though_one_more_call_was_too_early(seed: int) -> None:
    seen = watch(Org(25, 3, latency=1.0, penalty=10.0, seconds=600), seed)
    assert seen.calls(480) >= 0.8 * 3 * 120


@pytest.mark.parametrize(("org", "learned"), SILENT.values(), ids=SILENT.keys())
def test_penalties_that_nobody_announces_are_learned_once_and_cost_little_then(
    org: Org, learned: float
) -> None:
    seen = watch(org)
    best = org.cap / org.latency * (org.seconds - learned)
    assert seen.calls(learned) >= 0.9 * best
    assert seen.refusals(learned) <= most_refusals(seen, learned, org.seconds) / 2
