"""Random samples and their exact error bound. Pure.

The population is finite and the sample is drawn without replacement, so the number of wrong items
in it is hypergeometric. The bound is exact: it is computed in whole numbers, without rounding.
"""

from __future__ import annotations

import random
from math import comb

CONFIDENCE_PERCENT = 95


def draw_sample(population: int, size: int, seed: int) -> frozenset[int]:
    """Draw a sample without replacement; return positions from 0.

    Args:
        population: size of the population.
        size: size of the sample; the whole population if that is smaller.
        seed: random seed; the same seed draws the same sample.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return frozenset(rng.sample(range(population), min(size, population)))


def max_wrong(population: int, size: int, wrong: int) -> int:
    """Return the 95 % upper bound on wrong items in a population.

    The bound is the largest number for which a sample as good as this one, or better, still has a
    probability above 5 %. For any true number, at least 95 of 100 samples bound it.

    Args:
        population: size of the population.
        size: size of the random sample.
        wrong: number of items in the sample that are or may be wrong.
    """
    upper_bound = population - size + wrong  # every item that was not drawn is wrong
    low, step = wrong, 1
    while low + step <= upper_bound and _is_plausible(population, size, wrong, low + step):
        low, step = low + step, step * 2
    high = min(low + step, upper_bound + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if _is_plausible(population, size, wrong, middle):
            low = middle
        else:
            high = middle
    return low


def _is_plausible(population: int, size: int, wrong: int, total_wrong: int) -> bool:
    """Return whether a sample this good has a probability above 5 %."""
    # The probability is symmetric in drawn and wrong items; the smaller number is cheaper.
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
    return weight * 100 > (100 - CONFIDENCE_PERCENT) * comb(population, smaller)
