"""Chance that the ids of an unaltered column look rounded."""

from __future__ import annotations

from math import exp, lgamma, log

#: Chance below which a column is refused, and below which a warning is given.
REFUSED_BELOW, WARNED_BELOW = 1e-6, 1e-3
#: Maximum number of terms to add up; each is at most half of the previous one.
_MAX_TERMS = 200


def binomial_tail(trials: int, hits: int, share: float) -> float:
    """Return the chance of at least this many hits; 1 if they do not exceed the mean.

    If the trials have different chances, pass their mean as `share`: the result is then an upper
    bound (Hoeffding).
    """
    if hits <= trials * share or share >= 1:
        return 1.0
    term = _binomial_term(trials, hits, share)
    total = 0.0
    for number in range(hits, min(trials, hits + _MAX_TERMS) + 1):
        total += term
        term *= (trials - number) / (number + 1) * share / (1 - share)
    return min(total, 1.0)


def _binomial_term(trials: int, hits: int, share: float) -> float:
    ways = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    return exp(ways + hits * log(share) + (trials - hits) * log(1 - share))
