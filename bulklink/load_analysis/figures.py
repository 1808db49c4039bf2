"""Histograms of latencies as `loadtest.json` has them, and the figures taken from them."""

from __future__ import annotations

from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_results import BothLatencies, HistogramBins, LatencyFigures

LATENCY_FIGURES = LatencyFigures.__struct_fields__
"""Figures of latencies: alone from the intended start, after `service.` of the service time."""
SERVICE = "service."
LATENCY_NAMES = (*LATENCY_FIGURES, *(f"{SERVICE}{name}" for name in LATENCY_FIGURES))
_ALIASES = {"p99.9": "p999", "service.p99.9": "service.p999"}
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


def figure_name(text: str) -> str:
    """Return the name of a figure that a user wrote, such as `p999` for `p99.9`."""
    return _ALIASES.get(text, text)


def figure_label(name: str) -> str:
    """Return the name of a figure as users read it, such as `p99.9` for `p999`."""
    return name.replace("p999", "p99.9")


def named_latency(latency: BothLatencies, name: str) -> float | None:
    """Return a latency in seconds by one of `LATENCY_NAMES`; None without an answered call."""
    field = name.removeprefix(SERVICE)
    figures = latency.intended if field == name else latency.service
    if figures is None:
        return None
    value: float = getattr(figures, field)
    return value
