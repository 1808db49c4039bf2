"""The limit of calls in flight finds what the server takes, in orgs whose limits move."""

from __future__ import annotations

import pytest

from tests.simulation.traffic import Org, TrafficResult, simulate_traffic

ORGS = {
    "a cap below the configured limit": (Org(10, 5, duration=120), 5),
    "a cap far below the configured limit": (Org(25, 3, duration=120), 3),
    "a cap shared with a program that comes and goes": (
        Org(10, 10, background_calls=((20, 5), (50, 0), (80, 5)), duration=120),
        5,
    ),
    "a cap that steps": (
        Org(20, 20, latency=1.0, background_calls=((30, 10), (45, 15), (90, 0)), duration=150),
        20,
    ),
    "a cap that ramps": (
        Org(
            20,
            20,
            latency=1.0,
            background_calls=[(25 + 3 * n, n) for n in range(1, 12)],
            duration=150,
        ),
        9,
    ),
    "a cap below the configured limit, with 429s that explain nothing": (
        Org(25, 18, explains_429=False, duration=120),
        18,
    ),
    "a server that punishes early calls and says for how long": (
        Org(20, 12, latency=1.0, penalty=4.0, retry_after=True, duration=300),
        12,
    ),
}
"""An org, and the fixed limit that is best there in hindsight."""


@pytest.mark.parametrize(("org", "fixed"), ORGS.values(), ids=ORGS.keys())
def test_nine_tenths_of_the_best_fixed_limit_in_hindsight_are_reached(org: Org, fixed: int) -> None:
    adaptive = simulate_traffic(org)
    assert len(adaptive.success_times) >= 0.9 * len(
        simulate_traffic(org, fixed_limit=fixed).success_times
    )
    assert adaptive.count_refusals(60) <= max_refusals(adaptive, 60, org.duration)


def max_refusals(result: TrafficResult, since: float, until: float) -> float:
    """Return the 429s that are allowed: one call in a hundred, or one in 30 s."""
    calls = result.count_successes(since) + result.count_refusals(since)
    return max(calls / 100, (until - since) / 30)


@pytest.mark.parametrize(("cap", "others", "latency"), [(20, 15, 1.0), (20, 10, 0.5), (10, 5, 0.5)])
def test_a_risen_cap_is_used_within_half_a_minute(cap: int, others: int, latency: float) -> None:
    org = Org(cap, cap, latency, background_calls=((0, others), (70, 0)), duration=110)
    seen = simulate_traffic(org)
    assert seen.count_successes(100, 110) >= 0.9 * 10 * cap / latency


SILENT_PENALTY_ORGS = {
    "unannounced 4 s": (Org(20, 12, latency=1.0, penalty=4.0, duration=900), 180),
    "unannounced 10 s": (Org(20, 12, latency=1.0, penalty=10.0, duration=900), 180),
    "unannounced 4 s, in words that tell nothing": (
        Org(20, 12, latency=1.0, penalty=4.0, explains_429=False, duration=900),
        180,
    ),
    "unannounced 10 s, far below the configured limit": (
        Org(25, 3, latency=1.0, penalty=10.0, duration=900),
        240,
    ),
}
"""Orgs that refuse everything for a while without a word, twice as long after each early call;
and the seconds within which that is learned."""


@pytest.mark.parametrize("seed", [3, 5, 7])
def test_a_penalty_is_outlasted_though_one_more_call_was_too_early(seed: int) -> None:
    seen = simulate_traffic(Org(25, 3, latency=1.0, penalty=10.0, duration=600), seed)
    assert seen.count_successes(480) >= 0.8 * 3 * 120


@pytest.mark.parametrize(
    ("org", "learned"), SILENT_PENALTY_ORGS.values(), ids=SILENT_PENALTY_ORGS.keys()
)
def test_penalties_that_nobody_announces_are_learned_once_and_cost_little_then(
    org: Org, learned: float
) -> None:
    seen = simulate_traffic(org)
    best = org.server_limit / org.latency * (org.duration - learned)
    assert seen.count_successes(learned) >= 0.9 * best
    assert seen.count_refusals(learned) <= max_refusals(seen, learned, org.duration) / 2


@pytest.mark.parametrize("penalty", [10.0, 60.0])
def test_a_long_penalty_in_words_that_tell_nothing_is_taken_for_a_lack_of_credits(
    penalty: float,
) -> None:
    """Nothing tells one from the other, and a run must not wait for minutes to find out."""
    seen = simulate_traffic(Org(20, 12, latency=1.0, penalty=penalty, explains_429=False))
    first, last = seen.refusal_times[0], seen.refusal_times[-1]
    assert seen.success_times[-1] <= last
    assert last - first <= 45.0
