"""What a sample tells of the whole: which are drawn, and how many may be wrong. Pure.

The whole is finite and a sample is drawn from it without putting back, so the number of wrong ones
in it is hypergeometric, and so is the bound: it is exact, in whole numbers without rounding.
"""

from __future__ import annotations

import random
from math import comb

CONFIDENCE_PERCENT = 95


def draw_sample(population: int, size: int, seed: int) -> frozenset[int]:
    """Draw places of a sample, each set of so many being as likely as any other.

    Args:
        population: how many there are to draw from.
        size: how many are drawn; all, if there are no more.
        seed: the same draws the same.

    Returns:
        Places from 0.
    """
    rng = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    return frozenset(rng.sample(range(population), min(size, population)))


def max_wrong(population: int, size: int, wrong: int) -> int:
    """Return how many of a population are wrong at most, at 95 % confidence.

    It is the largest number with which a sample as good as this one, or better, still has a
    chance of more than 5 %. Whatever the true number is, at least 95 of 100 samples bound it.

    Args:
        population: how many there are.
        size: how many were drawn, each set being as likely as any other.
        wrong: how many of those were found to be wrong, or may be.
    """
    upper_bound = population - size + wrong  # all that was not drawn is wrong
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
    """Tell whether samples with so few wrong ones have a chance of more than 5 %."""
    smaller, larger = sorted(
        (size, total_wrong)
    )  # drawn and wrong may change places: fewer is cheaper
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
