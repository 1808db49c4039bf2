"""What a sample tells of the whole: which are drawn, and how many may be wrong. Pure.

The whole is finite and a sample is drawn from it without putting back, so the number of wrong ones
in it is hypergeometric, and so is the bound: it is exact, in whole numbers without rounding.
"""

from __future__ import annotations

import random
from math import comb

CONFIDENCE_PERCENT = 95


def drawn_from(population: int, size: int, seed: int) -> frozenset[int]:
    """Draw places of a sample, each set of so many being as likely as any other.

    Args:
        population: how many there are to draw from.
        size: how many are drawn; all, if there are no more.
        seed: the same draws the same.

    Returns:
        Places from 0.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    return frozenset(chance.sample(range(population), min(size, population)))


def most_wrong(population: int, size: int, wrong: int) -> int:
    """Return how many of a population are wrong at most, at 95 % confidence.

    It is the largest number with which a sample as good as this one, or better, still has a
    chance of more than 5 %. Whatever the true number is, at least 95 of 100 samples bound it.

    Args:
        population: how many there are.
        size: how many were drawn, each set being as likely as any other.
        wrong: how many of those were found to be wrong, or may be.
    """
    best = population - size + wrong  # all that was not drawn is wrong
    low, step = wrong, 1
    while low + step <= best and _may_be(population, size, wrong, low + step):
        low, step = low + step, step * 2
    high = min(low + step, best + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if _may_be(population, size, wrong, middle):
            low = middle
        else:
            high = middle
    return low


def _may_be(population: int, size: int, wrong: int, in_all: int) -> bool:
    """Tell whether samples with so few wrong ones have a chance of more than 5 %."""
    marked, drawn = sorted((size, in_all))  # drawn and wrong may change places: fewer is cheaper
    rest = population - drawn - marked
    one = max(0, -rest)
    term = comb(drawn, one) * comb(population - drawn, marked - one)
    terms = 0
    while one <= min(wrong, marked):
        terms += term
        term = term * (drawn - one) * (marked - one) // ((one + 1) * (rest + one + 1))
        one += 1
    return terms * 100 > (100 - CONFIDENCE_PERCENT) * comb(population, marked)
