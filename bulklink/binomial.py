"""Tails of binomial distributions: how likely is it by chance?"""

from __future__ import annotations

from math import exp, lgamma, log

_NEGLIGIBLE = 1e-18
"""Share of the sum below which a term, and all that follow it, do not matter."""


def binomial_tail(trials: int, hits: int, share: float) -> float:
    """Return the chance of at least this many hits; 1 if they do not exceed the mean.

    If the trials have different chances, pass their mean as `share`: the result is then an upper
    bound (Hoeffding).
    """
    if hits <= trials * share or share >= 1:
        return 1.0
    term = _binomial_term(trials, hits, share)
    total = 0.0
    number = hits
    while number <= trials and term > total * _NEGLIGIBLE:
        total += term
        term *= (trials - number) / (number + 1) * share / (1 - share)
        number += 1
    return min(total, 1.0)


def _binomial_term(trials: int, hits: int, share: float) -> float:
    ways = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    return exp(ways + hits * log(share) + (trials - hits) * log(1 - share))
