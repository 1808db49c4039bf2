"""The rate of a run is estimated from recent results, once there are enough."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bulklink.operations.monitor import RateEstimator


def estimator_after(
    seconds: float, per_second: float, estimator: RateEstimator | None = None
) -> RateEstimator:
    """Sample every half second while emails are sent in calls of twenty."""
    estimator, emails_due = estimator or RateEstimator(), 0.0
    for _ in range(int(seconds * 2)):
        emails_due += per_second / 2
        calls = int(emails_due // 20)
        emails_due -= 20 * calls
        estimator.add(0.5, 20 * calls, calls)
    return estimator


@pytest.mark.parametrize(
    ("seconds", "a_second", "is_known"),
    [(4.5, 1000, False), (5, 1000, True), (5, 4, False), (59, 0.5, False), (61, 0.5, True)],
)
def test_no_rate_is_estimated_from_too_few_samples(
    seconds: float, a_second: float, is_known: bool
) -> None:
    assert (estimator_after(seconds, a_second).rate is not None) is is_known


def test_no_time_left_is_estimated_without_a_result() -> None:
    assert estimator_after(3600, 0).seconds_for(10) is None


def test_the_time_left_follows_from_the_rate() -> None:
    estimator = estimator_after(60, 400)
    assert estimator.rate == pytest.approx(400, rel=0.01)
    assert estimator.seconds_for(40_000) == pytest.approx(100, rel=0.01)


def test_recent_samples_count_most() -> None:
    estimator = estimator_after(120, 100, estimator_after(600, 1000))
    assert estimator.rate == pytest.approx(100, rel=1.3)
    assert estimator_after(300, 100, estimator).rate == pytest.approx(100, rel=0.05)


def test_the_time_left_does_not_jump_when_a_rate_is_steady() -> None:
    estimator, times_left = RateEstimator(), []
    for second in range(240):
        estimator_after(1, 37, estimator)
        if (left := estimator.seconds_for(100_000 - 37 * second)) is not None:
            times_left.append(left)
    assert all(
        abs(later - earlier) < 0.03 * earlier for earlier, later in pairwise(times_left[60:])
    )


def test_remaining_credits_are_converted_to_emails_at_the_recent_cost() -> None:
    estimator = estimator_after(60, 400)
    assert estimator.items_for(500) == pytest.approx(10_000, rel=0.01)
    assert RateEstimator().items_for(500) is None
