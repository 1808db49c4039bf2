"""Exact bounds and tests on random samples from finite populations.

A sample is drawn without replacement, so the number of wrong items in it is hypergeometric. All
probabilities are compared in whole numbers, without rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

CONFIDENCE_PERCENT = 95


def max_wrong(population: int, size: int, wrong: int) -> int:
    """Return the 95 % upper bound on wrong items in a population.

    The bound is the largest number for which a sample as good as this one, or better, still has a
    probability above 5 %. For any true number, at least 95 of 100 samples bound it.

    Args:
        population: size of the population.
        size: size of the random sample.
        wrong: number of items in the sample that are or may be wrong.
    """
    return _last(
        lambda in_all: _is_plausible(population, size, wrong, in_all),
        wrong,
        population - size + wrong,  # every item that was not drawn is wrong
    )


def least_sample(population: int, wrong: int, allowed: int) -> int | None:
    """Return the smallest sample whose bound shows that a population has few wrong items.

    Args:
        population: size of the population.
        wrong: number of items in the sample that are or may be wrong.
        allowed: number of wrong items in the population that the sample is to bound.

    Returns:
        The size of the sample; None if it has more wrong items than the population may have.
    """
    if wrong > allowed:
        return None
    if allowed >= population:
        return wrong
    return 1 + _last(
        lambda size: _is_plausible(population, size, wrong, allowed + 1), wrong, population - 1
    )


def exceeds(population: int, size: int, wrong: int, allowed: int) -> bool:
    """Return whether a sample shows, at 5 %, that a population has more wrong items than allowed.

    If it has no more than allowed, at most 5 of 100 samples say so.

    Args:
        population: size of the population.
        size: size of the random sample.
        wrong: number of items in the sample that are wrong.
        allowed: number of wrong items that the population may have.
    """
    if wrong == 0:
        return False
    better, all_samples = _count_samples(population, size, wrong - 1, allowed)
    return (all_samples - better) * 100 <= (100 - CONFIDENCE_PERCENT) * all_samples


def _last(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the last number for which a condition holds, from `low`, where it holds, to `high`."""
    step = 1
    while low + step <= high and holds(low + step):
        low, step = low + step, step * 2
    end = min(low + step, high + 1)
    while end - low > 1:
        middle = (low + end) // 2
        if holds(middle):
            low = middle
        else:
            end = middle
    return low


def _is_plausible(population: int, size: int, wrong: int, total_wrong: int) -> bool:
    """Return whether a sample this good has a probability above 5 %."""
    this_good, all_samples = _count_samples(population, size, wrong, total_wrong)
    return this_good * 100 > (100 - CONFIDENCE_PERCENT) * all_samples


def _count_samples(population: int, size: int, wrong: int, total_wrong: int) -> tuple[int, int]:
    """Return numbers in the proportion of the samples this good or better, and of all samples."""
    # The proportion is symmetric in drawn and wrong items; the smaller number is cheaper.
    smaller, larger = sorted((size, total_wrong))
    remainder = population - larger - smaller
    overlap = max(0, -remainder)
    term = comb(larger, overlap) * comb(population - larger, smaller - overlap)
    weight = 0
    while overlap <= min(wrong, smaller):
        weight += term
        term = (
            term
            * (larger - overlap)
            * (smaller - overlap)
            // ((overlap + 1) * (remainder + overlap + 1))
        )
        overlap += 1
    return weight, comb(population, smaller)
