"""Estimates of a ratio from few measurements, each the logarithm of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev, variance

from bulklink.student_t import t_quantile

CONFIDENCE = 0.95
POWER = 0.8
"""Share of estimates that find a difference of the size called visible."""
_FEWEST_TO_ADJUST = 4
"""Rounds from which the effect of the order is removed; it costs a degree of freedom."""


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """Estimate of a mean log ratio.

    Args:
        log_ratio: the estimate.
        error: its standard error; infinite if there are too few measurements to know it.
        freedom: degrees of freedom of the error.
        resolution: how far the log ratio may be off because figures are rounded.
    """

    log_ratio: float
    error: float
    freedom: int
    resolution: float = 0.0

    @property
    def half_width(self) -> float:
        """Distance from the estimate to each end of its interval."""
        return t_quantile((1 + CONFIDENCE) / 2, self.freedom) * self.error + self.resolution

    @property
    def visible(self) -> float:
        """Log ratio whose interval excludes 0 in a share `POWER` of such estimates."""
        return self.half_width + t_quantile(POWER, self.freedom) * self.error


def estimate_rounds(
    logs: Sequence[float], b_first: Sequence[bool], resolution: float
) -> RatioEstimate:
    """Return the estimate from rounds of pairs, as in a crossover trial.

    If both orders occur, it is the mean of the means of both: what changes steadily from one load
    test to the next adds to one and subtracts from the other.

    Args:
        logs: log ratio of B to A in each round; two or more.
        b_first: whether B came first, for each round.
        resolution: how far a log ratio may be off because figures are rounded.
    """
    orders = [
        [log for log, first in zip(logs, b_first, strict=True) if first is order]
        for order in (False, True)
    ]
    if len(logs) < _FEWEST_TO_ADJUST or not all(orders):
        error = stdev(logs) / math.sqrt(len(logs))
        return RatioEstimate(fmean(logs), error, len(logs) - 1, resolution)
    means = [fmean(order) for order in orders]
    squares = math.fsum(
        (log - mean) ** 2 for order, mean in zip(orders, means, strict=True) for log in order
    )
    freedom = len(logs) - 2
    spread = sum(1 / len(order) for order in orders)
    error = math.sqrt(squares / freedom * spread) / 2
    return RatioEstimate(fmean(means), error, freedom, resolution)


def estimate_batches(
    log_ratio: float, a: Sequence[float], b: Sequence[float], resolution: float
) -> RatioEstimate:
    """Return the estimate from one load test of each, with the error of Welch's test.

    The variance of a logarithm is approximated by that of the figure relative to its mean.

    Args:
        log_ratio: log ratio of B to A, of the whole load tests.
        a: the figure in each batch of A; fewer than two leave the error unknown.
        b: the same of B.
        resolution: how far the log ratio may be off because figures are rounded.
    """
    if min(len(a), len(b)) < 2 or not (fmean(a) and fmean(b)):
        return RatioEstimate(log_ratio, math.inf, 1, resolution)
    parts = [variance(batches) / fmean(batches) ** 2 / len(batches) for batches in (a, b)]
    total = sum(parts)
    if not total:
        return RatioEstimate(log_ratio, 0.0, len(a) + len(b) - 2, resolution)
    freedom = total**2 / sum(
        part**2 / (len(batches) - 1) for part, batches in zip(parts, (a, b), strict=True)
    )
    return RatioEstimate(log_ratio, math.sqrt(total), max(1, int(freedom)), resolution)
