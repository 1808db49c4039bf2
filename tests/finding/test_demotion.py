"""A tier whose promise a sample contradicts is demoted, by the exact test at 5 %."""

from __future__ import annotations

import pytest

from bulklink.finding.demotion import MOVE_PROMISES, is_rejected, least_precision, lower_tier
from bulklink.finding.verdicts import Tier


@pytest.mark.parametrize(
    ("promise", "proposed", "fewest_rejected"),
    [(0.995, 100, 3), (0.995, 1000, 10), (0.97, 100, 7), (0.97, 1000, 40)],
)
def test_a_promise_is_rejected_from_the_errors_that_it_makes_improbable(
    promise: float, proposed: int, fewest_rejected: int
) -> None:
    """The numbers are from tables of the binomial distribution."""
    assert is_rejected(promise, proposed, fewest_rejected)
    assert not is_rejected(promise, proposed, fewest_rejected - 1)


def test_no_error_rejects_nothing() -> None:
    assert not any(is_rejected(promise, 10**6, 0) for promise in MOVE_PROMISES.values())


@pytest.mark.parametrize(
    ("proposed", "wrong", "bound"), [(598, 0, 0.995), (100, 0, 0.9705), (100, 5, 0.8977), (5, 5, 0)]
)
def test_the_bound_is_that_of_clopper_and_pearson(proposed: int, wrong: int, bound: float) -> None:
    assert least_precision(proposed, wrong) == pytest.approx(bound, abs=1e-4)


def test_what_is_demoted_gets_the_next_lower_tier() -> None:
    assert [lower_tier(tier) for tier in MOVE_PROMISES] == [Tier.LIKELY, Tier.LOOK]
