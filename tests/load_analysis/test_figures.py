"""Figures of histograms."""

from __future__ import annotations

from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.figures import (
    bins_of_histogram,
    histogram_of_bins,
    latency_figures,
)


def test_a_histogram_keeps_its_figures_in_a_file() -> None:
    histogram = LatencyHistogram()
    for n in range(1, 1001):
        histogram.record(n / 1000)
    figures = latency_figures(histogram)
    assert figures is not None
    assert abs(figures.p50 / 0.5 - 1) < 0.0051
    assert abs(figures.p999 / 0.999 - 1) < 0.0051
    assert figures.max == 1
    assert latency_figures(histogram_of_bins(bins_of_histogram(histogram))) == figures


def test_without_latencies_there_are_no_figures() -> None:
    assert latency_figures(LatencyHistogram()) is None
