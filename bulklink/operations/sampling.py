"""Random samples that the same seed draws again. Pure."""

from __future__ import annotations

import random


def draw_sample(population: int, size: int, seed: int) -> frozenset[int]:
    """Draw a sample without replacement; return positions from 0.

    Args:
        population: size of the population.
        size: size of the sample; the whole population if that is smaller.
        seed: random seed; the same seed draws the same sample.
    """
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    return frozenset(rng.sample(range(population), min(size, population)))
