"""The tail of a binomial distribution is exact, and cheap for any number of trials."""

from __future__ import annotations

from math import comb

import pytest

from bulklink.binomial import binomial_tail


@pytest.mark.parametrize(
    ("trials", "hits", "share"),
    [(30, 30, 0.5), (300, 5, 0.01), (50, 20, 0.1), (1, 1, 0.25), (1000, 520, 0.5)],
)
def test_the_tail_is_that_of_the_binomial_distribution(
    trials: int, hits: int, share: float
) -> None:
    exact = sum(
        comb(trials, n) * share**n * (1 - share) ** (trials - n) for n in range(hits, trials + 1)
    )
    assert binomial_tail(trials, hits, share) == pytest.approx(exact, rel=1e-9)


def test_the_tail_of_a_million_trials_is_computed_in_few_steps() -> None:
    assert binomial_tail(1_000_000, 1_000_000, 0.001) == 0
    assert binomial_tail(1_000_000, 990, 0.001) == 1


def test_a_tail_of_many_terms_is_added_up_to_its_end() -> None:
    """Its terms fall slowly: three quarters of the tail lie beyond the first 200."""
    assert binomial_tail(10_000_000, 5_000_001, 0.5) == pytest.approx(0.5, abs=2e-4)
