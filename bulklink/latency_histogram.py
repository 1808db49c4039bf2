"""Histogram of latencies with a bounded relative error, which can be merged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil, exp, log

SHORTEST_LATENCY = 1e-6
"""Seconds; shorter latencies count as this long."""


@dataclass(slots=True)
class LatencyHistogram:
    """Latencies counted in bins that grow geometrically, as in DDSketch.

    The source of the mapping is Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile
    sketch with relative-error guarantees" (2019). Memory: one entry for each bin that is not empty,
    about 2,800 between a microsecond and a day at an error of 0.5%.

    Args:
        relative_error: largest relative error of a quantile.

    Attributes:
        bins: latencies by bin; bin n counts those above f^(n-1) seconds and up to f^n, where f is
            (1 + relative_error) / (1 - relative_error).
        total: sum of the latencies in seconds, for the exact mean.
        longest: longest latency in seconds, exact; 0 without one.
    """

    relative_error: float = 0.005
    bins: Counter[int] = field(default_factory=Counter)
    total: float = 0.0
    longest: float = 0.0
    _log_factor: float = field(init=False)

    def __post_init__(self) -> None:
        self._log_factor = log((1 + self.relative_error) / (1 - self.relative_error))

    def record(self, latency: float, count: int = 1) -> None:
        """Count a latency in seconds, once or several times."""
        if latency < SHORTEST_LATENCY:
            latency = SHORTEST_LATENCY
        self.bins[ceil(log(latency) / self._log_factor)] += count
        self.total += latency * count
        if latency > self.longest:
            self.longest = latency

    def add(self, other: LatencyHistogram) -> None:
        """Add the latencies of another histogram.

        Raises:
            ValueError: if its relative error is another one.
        """
        if other.relative_error != self.relative_error:
            raise ValueError("histograms of different errors cannot be added")
        self.bins.update(other.bins)
        self.total += other.total
        self.longest = max(self.longest, other.longest)

    @property
    def count(self) -> int:
        """Number of latencies."""
        return self.bins.total()

    @property
    def mean(self) -> float | None:
        """Mean latency in seconds; None without any."""
        return self.total / self.count if self.bins else None

    def quantile(self, share: float) -> float | None:
        """Return the latency in seconds that a share of all latencies does not exceed.

        It is within `relative_error` of the latency at the nearest rank; None without any.

        Args:
            share: from 0 to 1; 1 is the longest latency, exactly.
        """
        return next(self.quantiles([share])) if self.bins else None

    def quantiles(self, shares: Iterable[float]) -> Iterator[float]:
        """Yield the quantiles of increasing shares, of a histogram that is not empty."""
        ordered, count = iter(sorted(self.bins.items())), self.count
        index, counted = next(ordered)
        for share in shares:
            rank = min(max(1, ceil(share * count - 1e-9)), count)
            while counted < rank:
                index, added = next(ordered)
                counted += added
            yield self.longest if rank == count else min(self.latency_of(index), self.longest)

    def latency_of(self, index: int) -> float:
        """Return the latency in seconds within `relative_error` of every latency of a bin."""
        factor = exp(self._log_factor)
        return factor**index * 2 / (1 + factor)

    def highest_of(self, index: int) -> float:
        """Return the highest latency in seconds that a bin counts."""
        return exp(self._log_factor * index)


def histogram_between(earlier: Mapping[int, int], later: LatencyHistogram) -> LatencyHistogram:
    """Return the latencies counted since earlier bins; their total and maximum are approximate."""
    added = LatencyHistogram(later.relative_error)
    for index, count in later.bins.items():
        new = count - earlier.get(index, 0)
        if new:
            latency = added.latency_of(index)
            added.bins[index] = new
            added.total += new * latency
            added.longest = max(added.longest, latency)
    return added
