"""The adaptive limit finds the server's limit on calls in flight, even if it changes."""

from __future__ import annotations

import pytest

from tests.simulation.traffic import Org, TrafficResult, simulate_traffic

ORGS = {
    "a cap below the configured limit": (Org(10, 5, duration=120), 5),
    "a cap far below the configured limit": (Org(25, 3, duration=120), 3),
    "a cap shared with a program that is active at times": (
        Org(10, 10, background_calls=((20, 5), (50, 0), (80, 5)), duration=120),
        5,
    ),
    "a cap that changes in steps": (
        Org(20, 20, latency=1.0, background_calls=((30, 10), (45, 15), (90, 0)), duration=150),
        20,
    ),
    "a cap that falls gradually": (
        Org(
            20,
            20,
            latency=1.0,
            background_calls=[(25 + 3 * n, n) for n in range(1, 12)],
            duration=150,
        ),
        9,
    ),
    "a cap below the configured limit, with inconclusive 429s": (
        Org(25, 18, explains_429=False, duration=120),
        18,
    ),
    "a server that penalizes early calls and states for how long": (
        Org(20, 12, latency=1.0, penalty=4.0, retry_after=True, duration=300),
        12,
    ),
}
"""Orgs, and the fixed limit that is best for each in hindsight."""


@pytest.mark.parametrize(("org", "fixed"), ORGS.values(), ids=ORGS.keys())
def test_the_adaptive_limit_reaches_nine_tenths_of_the_best_fixed_limit(
    org: Org, fixed: int
) -> None:
    adaptive = simulate_traffic(org)
    assert len(adaptive.success_times) >= 0.9 * len(
        simulate_traffic(org, fixed_limit=fixed).success_times
    )
    assert adaptive.count_refusals(60) <= max_refusals(adaptive, 60, org.duration)


def max_refusals(result: TrafficResult, since: float, until: float) -> float:
    """Return the number of 429s allowed: one per hundred calls, or one per 30 s if that is more."""
    calls = result.count_successes(since) + result.count_refusals(since)
    return max(calls / 100, (until - since) / 30)


@pytest.mark.parametrize(("cap", "others", "latency"), [(20, 15, 1.0), (20, 10, 0.5), (10, 5, 0.5)])
def test_a_raised_cap_is_used_within_half_a_minute(cap: int, others: int, latency: float) -> None:
    org = Org(cap, cap, latency, background_calls=((0, others), (70, 0)), duration=110)
    result = simulate_traffic(org)
    assert result.count_successes(100, 110) >= 0.9 * 10 * cap / latency


SILENT_PENALTY_ORGS = {
    "unannounced 4 s": (Org(20, 12, latency=1.0, penalty=4.0, duration=900), 180),
    "unannounced 10 s": (Org(20, 12, latency=1.0, penalty=10.0, duration=900), 180),
    "unannounced 4 s, with an inconclusive text": (
        Org(20, 12, latency=1.0, penalty=4.0, explains_429=False, duration=900),
        180,
    ),
    "unannounced 10 s, far below the configured limit": (
        Org(25, 3, latency=1.0, penalty=10.0, duration=900),
        240,
    ),
}
"""Orgs that refuse all calls for a time without announcing it, and twice as long after each early
call; and the seconds within which that is learned."""


@pytest.mark.parametrize("seed", [3, 5, 7])
def test_a_penalty_is_outlasted_even_after_another_early_call(seed: int) -> None:
    result = simulate_traffic(Org(25, 3, latency=1.0, penalty=10.0, duration=600), seed)
    assert result.count_successes(480) >= 0.8 * 3 * 120


@pytest.mark.parametrize(
    ("org", "learned_after"), SILENT_PENALTY_ORGS.values(), ids=SILENT_PENALTY_ORGS.keys()
)
def test_an_unannounced_penalty_is_learned_once_and_then_costs_little(
    org: Org, learned_after: float
) -> None:
    result = simulate_traffic(org)
    best = org.server_limit / org.latency * (org.duration - learned_after)
    assert result.count_successes(learned_after) >= 0.9 * best
    max_late_refusals = max_refusals(result, learned_after, org.duration) / 2
    assert result.count_refusals(learned_after) <= max_late_refusals


@pytest.mark.parametrize("penalty", [10.0, 60.0])
def test_a_long_penalty_with_an_inconclusive_text_counts_as_a_lack_of_credits(
    penalty: float,
) -> None:
    """The two cannot be distinguished, and a run must not wait for minutes to find out."""
    result = simulate_traffic(Org(20, 12, latency=1.0, penalty=penalty, explains_429=False))
    first, last = result.refusal_times[0], result.refusal_times[-1]
    assert result.success_times[-1] <= last
    assert last - first <= 45.0
