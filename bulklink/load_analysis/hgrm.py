"""Percentile distribution in the text format of HdrHistogram, which its plotters read."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bulklink.latency_histogram import LatencyHistogram

_TICKS_PER_HALVING = 5
"""Lines each time that the distance to 100% halves, as HdrHistogram writes by default."""
_HEADER = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
_MILLISECONDS = 1000


def format_hgrm(histogram: LatencyHistogram) -> str:
    """Return the distribution of latencies in milliseconds.

    The format is that of `AbstractHistogram.outputPercentileDistribution` of HdrHistogram 2 in
    Java. Its buckets are the bins of our histogram, which have no parts.
    """
    return "".join((_HEADER, *_lines(histogram), *_footer(histogram)))


def _lines(histogram: LatencyHistogram) -> Iterator[str]:
    """Yield a line for each level that a bin reaches, and one for the longest latency."""
    total, counted, levels = histogram.count, 0, _levels()
    level = next(levels)
    for index, count in sorted(histogram.bins.items()):
        counted += count
        latency = min(histogram.latency_of(index), histogram.longest)
        while level <= counted / total:
            yield f"{_columns(latency, level, counted)} {1 / (1 - level):14.2f}\n"
            level = next(levels)
            if counted == total:
                break
    if total:
        yield f"{_columns(histogram.longest, 1.0, total)}\n"


def _levels() -> Iterator[float]:
    """Yield shares from 0 towards 1, which come closer each time that the rest is halved."""
    rest = 1.0
    while True:
        for tick in range(_TICKS_PER_HALVING):
            yield 1 - rest + tick * rest / 2 / _TICKS_PER_HALVING
        rest /= 2


def _columns(latency: float, level: float, counted: int) -> str:
    return f"{latency * _MILLISECONDS:12.3f} {level:.12f} {counted:10d}"


def _footer(histogram: LatencyHistogram) -> Iterator[str]:
    mean = histogram.mean or 0.0
    deviation = _deviation(histogram, mean)
    longest = histogram.longest * _MILLISECONDS
    yield (
        f"#[Mean    = {mean * _MILLISECONDS:12.3f}, "
        f"StdDeviation   = {deviation * _MILLISECONDS:12.3f}]\n"
    )
    yield f"#[Max     = {longest:12.3f}, Total count    = {histogram.count:12d}]\n"
    yield f"#[Buckets = {len(histogram.bins):12d}, SubBuckets     = {1:12d}]\n"


def _deviation(histogram: LatencyHistogram, mean: float) -> float:
    squares = (
        count * (histogram.latency_of(index) - mean) ** 2 for index, count in histogram.bins.items()
    )
    return math.sqrt(math.fsum(squares) / histogram.count) if histogram.bins else 0.0
