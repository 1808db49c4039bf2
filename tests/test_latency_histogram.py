"""The histogram of latencies."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.latency_histogram import LatencyHistogram, histogram_between

latencies = st.lists(st.floats(min_value=1e-5, max_value=1e5), min_size=1, max_size=200)
shares = st.floats(min_value=0, max_value=1)


def _histogram(values: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(latencies, shares)
def test_a_quantile_is_within_half_a_percent_of_the_latency_at_its_rank(
    values: list[float], share: float
) -> None:
    histogram = _histogram(values)
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    assert histogram.quantile(share) == pytest.approx(exact, rel=0.005 + 1e-9)
    assert histogram.quantile(1) == max(values)
    assert histogram.mean == pytest.approx(math.fsum(values) / len(values))


@given(latencies, latencies)
def test_a_sum_of_histograms_is_the_histogram_of_all_latencies(
    left: list[float], right: list[float]
) -> None:
    added, whole = _histogram(left), _histogram(left + right)
    added.add(_histogram(right))
    assert (added.bins, added.longest) == (whole.bins, whole.longest)
    assert added.total == pytest.approx(whole.total)
    assert histogram_between(_histogram(left).bins, whole).bins == _histogram(right).bins


def test_a_histogram_without_latencies_has_no_figures() -> None:
    empty = LatencyHistogram()
    assert (empty.count, empty.mean, empty.quantile(0.5)) == (0, None, None)


def test_every_latency_of_a_bin_is_below_its_upper_edge() -> None:
    histogram = _histogram([0.05])
    (index,) = histogram.bins
    assert histogram.highest_of(index - 1) < 0.05 <= histogram.highest_of(index) * (1 + 1e-12)


def test_histograms_of_different_errors_are_not_added() -> None:
    with pytest.raises(ValueError, match="different errors"):
        _histogram([1.0]).add(LatencyHistogram(0.02))


def test_more_latencies_than_floating_point_numbers_can_count_have_quantiles() -> None:
    histogram = LatencyHistogram()
    histogram.record(1.0, count=2**53 + 3)
    assert list(histogram.quantiles([0.5, 1.0])) == [pytest.approx(1.0, rel=0.005), 1.0]
