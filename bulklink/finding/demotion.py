"""Demotion of tiers whose promise a sample of their proposals contradicts."""

from __future__ import annotations

from bulklink.binomial import binomial_tail
from bulklink.finding.verdicts import ChangeKind, Tier

MOVE_PROMISES = {Tier.SURE: 0.995, Tier.LIKELY: 0.97}
"""Share of the proposed moves of each tier that is right."""
PROMISES = {
    ChangeKind.ATTACH: {Tier.SURE: 0.995, Tier.LIKELY: 0.95},
    ChangeKind.MOVE: MOVE_PROMISES,
    ChangeKind.DETACH: {Tier.SURE: 0.995, Tier.LIKELY: 0.95},
}
"""Share of the proposals of each kind and tier that is right; `likely` counts `sure` in."""
_SIGNIFICANCE = 0.05
_LOWER_TIER = {Tier.SURE: Tier.LIKELY, Tier.LIKELY: Tier.LOOK}
_BISECTIONS = 50


def is_rejected(promise: float, proposed: int, wrong: int) -> bool:
    """Return whether a tier that keeps its promise would be wrong so often in fewer than 5 %.

    Args:
        promise: share of proposals that is right.
        proposed: proposals of a random sample.
        wrong: those of them that are wrong.
    """
    return binomial_tail(proposed, wrong, 1 - promise) < _SIGNIFICANCE


def lower_tier(tier: Tier) -> Tier:
    """Return the tier that the proposals of a demoted tier get."""
    return _LOWER_TIER[tier]


def least_precision(proposed: int, wrong: int) -> float:
    """Return the exact lower bound, at 95 %, of the share of proposals that is right.

    Args:
        proposed: proposals of a random sample.
        wrong: those of them that are wrong.
    """
    if proposed == wrong:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # The bound is the least precision with which at most as many would be wrong in 5 %.
        if binomial_tail(proposed, proposed - wrong, middle) < _SIGNIFICANCE:
            low = middle
        else:
            high = middle
    return low
