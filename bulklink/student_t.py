"""Quantiles of Student's t distribution: how wide is an interval from few measurements?"""

from __future__ import annotations

from math import cos, pi, sin, sqrt, tan

_HALVINGS = 60


def t_quantile(share: float, freedom: int) -> float:
    """Return the value that a share of the distribution does not exceed.

    Args:
        share: from 0.5 to less than 1.
        freedom: degrees of freedom, 1 or more.
    """
    low, high = 0.0, pi / 2
    for _ in range(_HALVINGS):
        angle = (low + high) / 2
        if _share_within(angle, freedom) < 2 * share - 1:
            low = angle
        else:
            high = angle
    return tan(high) * sqrt(freedom)


def _share_within(angle: float, freedom: int) -> float:
    """Return the share between -t and t, where t is tan(angle) * sqrt(freedom).

    The source of the sum is Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and
    26.7.4.
    """
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for n in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (n - 1) / n * cos(angle) ** 2
    total *= sin(angle)
    return (angle + total) * 2 / pi if odd else total
