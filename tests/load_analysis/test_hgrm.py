"""The text format of HdrHistogram."""

from __future__ import annotations

import re

from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.hgrm import format_hgrm


def test_the_distribution_is_printed_as_hdrhistogram_prints_it() -> None:
    """The lines are those of HdrHistogram for these values, as its ports test them."""
    histogram = LatencyHistogram(1e-8)
    for milliseconds in (100, 200, 250, 600):
        histogram.record(milliseconds / 1000)
    assert (
        format_hgrm(histogram)
        == """\
       Value     Percentile TotalCount 1/(1-Percentile)

     100.000 0.000000000000          1           1.00
     100.000 0.100000000000          1           1.11
     100.000 0.200000000000          1           1.25
     200.000 0.300000000000          2           1.43
     200.000 0.400000000000          2           1.67
     200.000 0.500000000000          2           2.00
     250.000 0.550000000000          3           2.22
     250.000 0.600000000000          3           2.50
     250.000 0.650000000000          3           2.86
     250.000 0.700000000000          3           3.33
     250.000 0.750000000000          3           4.00
     600.000 0.775000000000          4           4.44
     600.000 1.000000000000          4
#[Mean    =      287.500, StdDeviation   =      188.331]
#[Max     =      600.000, Total count    =            4]
#[Buckets =            4, SubBuckets     =            1]
"""
    )


def test_levels_go_on_to_the_last_of_many_latencies() -> None:
    histogram, total = LatencyHistogram(), 100_000
    for n in range(1, total + 1):
        histogram.record(0.001 * total / n)
    rows = re.findall(r"^ *([\d.]+) ([\d.]+) +(\d+)", format_hgrm(histogram), re.MULTILINE)
    levels = [float(level) for _, level, _ in rows]
    assert levels == sorted(set(levels))
    assert 0.9999 < levels[-2] < levels[-1] == 1
    for value, share, count in rows[:-1]:
        rest = total * (1 - float(share))
        assert abs(float(value) * rest / total - 1) < 0.012 + 1 / rest, share
        assert total - rest <= int(count) <= total - rest + 0.01 * total


def test_no_latency_gives_no_line() -> None:
    assert format_hgrm(LatencyHistogram()).count("\n") == 5
