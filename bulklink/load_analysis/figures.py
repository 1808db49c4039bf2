"""Histograms of latencies as `loadtest.json` has them, and the figures taken from them."""

from __future__ import annotations

from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_results import HistogramBins, LatencyFigures

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}


def latency_figures(histogram: LatencyHistogram) -> LatencyFigures | None:
    """Return mean and percentiles; None without a latency."""
    mean = histogram.mean
    if mean is None:
        return None
    values = histogram.quantiles(_SHARES.values())
    return LatencyFigures(
        mean=mean, **dict(zip(_SHARES, values, strict=True)), max=histogram.longest
    )


def bins_of_histogram(histogram: LatencyHistogram) -> HistogramBins:
    """Return a histogram as `loadtest.json` has it."""
    return HistogramBins(
        relative_error=histogram.relative_error,
        bins=dict(sorted(histogram.bins.items())),
        total=histogram.total,
        longest=histogram.longest,
    )


def histogram_of_bins(bins: HistogramBins) -> LatencyHistogram:
    """Return the histogram that `loadtest.json` has, to merge it or to read quantiles."""
    histogram = LatencyHistogram(bins.relative_error)
    histogram.bins.update(bins.bins)
    histogram.total, histogram.longest = bins.total, bins.longest
    return histogram
