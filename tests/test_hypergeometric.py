"""Bounds and tests of samples are exact: they agree with the enumeration of all samples."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from bulklink.hypergeometric import exceeds, least_sample, max_wrong
from bulklink.operations.sampling import draw_sample

ALLOWED = Fraction(1, 20)


def probability_of_at_most(
    population: int, size: int, population_wrong: int, wrong: int
) -> Fraction:
    """Return the probability of at most `wrong` wrong items in a sample."""
    ways = sum(
        comb(population_wrong, sample_wrong)
        * comb(population - population_wrong, size - sample_wrong)
        for sample_wrong in range(min(wrong, size) + 1)
        if size - sample_wrong <= population - population_wrong
    )
    return Fraction(ways, comb(population, size))


@pytest.mark.parametrize("population", [1, 2, 7, 20, 41])
def test_the_bound_is_the_largest_plausible_number(population: int) -> None:
    for size in range(population + 1):
        for wrong in range(size + 1):
            most = max_wrong(population, size, wrong)
            possible = [
                number
                for number in range(wrong, population - size + wrong + 1)
                if probability_of_at_most(population, size, number, wrong) > ALLOWED
            ]
            assert most == max(possible)


@pytest.mark.parametrize(("population", "size"), [(30, 5), (41, 17), (60, 30), (60, 59)])
def test_95_of_100_samples_bound_any_true_number(population: int, size: int) -> None:
    for in_all in range(population + 1):
        missed = max(
            (x for x in range(size + 1) if max_wrong(population, size, x) < in_all), default=-1
        )
        assert missed < 0 or probability_of_at_most(population, size, in_all, missed) <= ALLOWED


def test_the_bound_holds_over_many_draws() -> None:
    population, size, wrong = 200, 40, frozenset(range(0, 200, 13))
    missed = sum(
        max_wrong(population, size, len(wrong & draw_sample(population, size, seed))) < len(wrong)
        for seed in range(3000)
    )
    assert 0 < missed / 3000 <= 0.05


def test_299_of_299_bound_one_percent() -> None:
    # 0.99 to the 299th power is 0.0495: in an infinite population, at most 1 % is wrong
    assert max_wrong(10**7, 299, 0) == pytest.approx(99_690, abs=30)
    assert max_wrong(200_000, 299, 0) <= 2_000
    assert max_wrong(200_000, 298, 0) > max_wrong(200_000, 299, 0)


def test_a_complete_sample_is_exact() -> None:
    assert max_wrong(50, 50, 3) == 3
    assert max_wrong(50, 0, 0) == 50
    assert max_wrong(0, 0, 0) == 0


@pytest.mark.parametrize("population", [1, 2, 7, 20, 41])
def test_a_sample_exceeds_what_is_allowed_if_it_is_improbable(population: int) -> None:
    for size in range(population + 1):
        for allowed in range(population + 1):
            for wrong in range(size + 1):
                worse = 1 - probability_of_at_most(population, size, allowed, wrong - 1)
                assert exceeds(population, size, wrong, allowed) == (worse <= ALLOWED)


@pytest.mark.parametrize("population", [1, 2, 7, 20, 41])
def test_the_least_sample_is_the_first_whose_bound_is_allowed(population: int) -> None:
    for allowed in range(population):
        for wrong in range(population + 1):
            bounded = [
                size
                for size in range(wrong, population + 1)
                if max_wrong(population, size, wrong) <= allowed
            ]
            assert least_sample(population, wrong, allowed) == min(bounded, default=None)


def test_598_without_an_error_bound_half_a_percent_of_any_population() -> None:
    assert least_sample(10**7, 0, 50_000) == 598
    assert least_sample(1000, 0, 5) == 393
    assert least_sample(10, 0, 0) == 10
    assert least_sample(10, 0, 10) == 0
