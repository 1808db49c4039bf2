"""Charts of load tests stay within their plot area, and agree with their tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.html_pages.chart import Chart
from bulklink.html_pages.load.charts import build_comparison_charts, build_load_charts
from bulklink.html_pages.plot_area import PLOT_HEIGHT, PLOT_WIDTH
from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.figures import bins_of_histogram, latency_figures
from bulklink.load_results import BothHistograms, BothLatencies, LoadInterval, LoadResult
from tests.html_pages.paths import path_points
from tests.load_results import SimulatedServer, load_result

STALLED = SimulatedServer(stalls=[(8, 2)])
NO_BINS = bins_of_histogram(LatencyHistogram())
EMPTY = load_result(
    seconds=1,
    rate=1,
    series=[],
    latency=BothLatencies(service=None, intended=None),
    histogram=BothHistograms(service=NO_BINS, intended=NO_BINS),
)


@pytest.fixture(scope="module")
def stalled() -> LoadResult:
    return load_result(STALLED, rate=60, places=4)


def paths(chart: Chart) -> dict[str, list[tuple[float, float]]]:
    return {layer.series: list(path_points(layer.path)) for layer in chart.layers}


def test_a_stall_shows_in_latencies_from_the_intended_start(stalled: LoadResult) -> None:
    charts = build_load_charts(stalled)
    rows = {share: cells for share, *cells in charts.percentiles.rows}
    intended, service = rows["99%"]
    assert intended is not None
    assert service is not None
    assert float(intended.replace(",", "")) > 1500
    assert float(service) < 100
    assert charts.unit.name == "ms"
    assert charts.late is not None
    late = {since: int(count) for since, count in charts.late.rows if count is not None}
    assert sum(late.values()) == stalled.late > 600
    assert late["8 s"] == 0  # nothing left during the stall
    gap = next(row for row in charts.intended.rows if row[0] == "9 s")
    assert gap[1:] == (None, None, None, None)


def test_both_latencies_share_a_scale(stalled: LoadResult) -> None:
    charts = build_load_charts(stalled)
    assert charts.intended.ticks == charts.service.ticks
    assert charts.intended.ticks[-1].label == "2500"
    intended, service = (
        next(row[1] for row in chart.rows if row[0] == "12 s")
        for chart in (charts.intended, charts.service)
    )
    assert intended is not None
    assert service is not None
    assert 1 < float(service) < 100 < 1000 < float(intended.replace(",", ""))
    slow = msgspec.structs.replace(
        stalled, histogram=load_result(SimulatedServer(median=20)).histogram
    )
    assert build_load_charts(slow).unit.name == "s"


def test_without_a_schedule_there_is_one_latency_and_nothing_is_late() -> None:
    charts = build_load_charts(load_result(rate=None, places=3, seconds=5))
    assert charts.late is None
    assert list(paths(charts.percentiles)) == ["intended"]
    assert {cells[1] for cells in charts.calls.rows} == {None}


def test_the_percentile_axis_ends_at_the_last_call(stalled: LoadResult) -> None:
    charts = build_load_charts(stalled)
    full = charts.nines.ticks[-1].labels
    assert [label.lines[0] for label in full] == ["0%", "50%", "90%", "99%", "99.9%"]
    assert [label.at for label in full] == [0, 98, 325, 650, 974]
    curve = paths(charts.percentiles)["intended"]
    assert (curve[0][0], curve[-1][0]) == (0, PLOT_WIDTH)
    heights = [y for _, y in curve]
    assert heights == sorted(heights, reverse=True)
    assert [row[0] for row in charts.percentiles.rows][-3:] == ["99.5%", "99.9%", "100%"]


def test_a_long_load_test_is_drawn_in_few_intervals(stalled: LoadResult) -> None:
    series = [msgspec.structs.replace(stalled.series[n % 20], at=float(n)) for n in range(3 * 3600)]
    charts = build_load_charts(msgspec.structs.replace(stalled, series=series, seconds=3 * 3600.0))
    assert 150 < len(charts.calls.rows) <= 200
    assert charts.calls.rows[1][0] == "54 s"
    labels = [label.lines[0] for label in charts.time.ticks[-1].labels]
    assert labels == ["0 s", "30 min", "1 h", "1 h 30 min", "2 h", "2 h 30 min", "3 h"]
    assert charts.late is not None
    total = sum(int((row[1] or "0").replace(",", "")) for row in charts.late.rows)
    assert total == sum(each.late for each in series)


def test_rates_are_drawn_until_the_last_call_leaves_and_latencies_until_it_is_answered(
    stalled: LoadResult,
) -> None:
    tail = msgspec.structs.replace(stalled.series[0], at=20.0, calls=0, asked=0.0)
    charts = build_load_charts(msgspec.structs.replace(stalled, series=[*stalled.series, tail]))
    assert charts.late is not None
    assert [chart.rows[-1][0] for chart in (charts.calls, charts.in_flight, charts.late)] == [
        *("19 s", "19 s", "19 s"),
    ]
    assert charts.intended.rows[-1][0] == "20 s"


def test_two_load_tests_share_their_axes(stalled: LoadResult) -> None:
    longer = load_result(rate=60, seconds=30)
    charts = build_comparison_charts(stalled, longer)
    assert [row[0] for row in charts.messages.rows] == [f"{n} s" for n in range(30)]
    assert charts.messages.rows[25][1] is None
    assert charts.messages.rows[25][2] is not None
    assert paths(charts.messages)["a"][-1][0] == pytest.approx(PLOT_WIDTH * 2 / 3, abs=1)
    assert list(paths(charts.intended)) == ["a", "b"]


def hostile_series(draw: st.DrawFn) -> LoadInterval:
    number = st.sampled_from([0.0, 5e-324, 1.0, 1e9]) | st.floats(min_value=0, max_value=1e9)
    count = st.integers(0, 1 << 53)
    histogram = LatencyHistogram()
    for latency in draw(st.lists(st.floats(1e-9, 1e9), max_size=3)):
        histogram.record(latency)
    figures = latency_figures(histogram)
    return LoadInterval(
        at=draw(number),
        seconds=draw(number),
        asked=draw(st.none() | number),
        calls=draw(count),
        answered=draw(count),
        messages=draw(count),
        errors=draw(count),
        late=draw(count),
        in_flight=draw(number),
        latency=BothLatencies(service=figures, intended=figures),
    )


@settings(max_examples=40)
@given(st.data())
def test_any_file_is_drawn_within_the_plot_area(data: st.DataObject) -> None:
    interval = st.composite(hostile_series)()
    series = data.draw(st.lists(interval, max_size=4))
    histogram = LatencyHistogram()
    for latency in data.draw(st.lists(st.floats(1e-9, 1e9), max_size=4)):
        histogram.record(latency)
    bins = bins_of_histogram(histogram)
    fields: dict[str, Any] = {
        "series": series,
        "histogram": BothHistograms(service=bins, intended=bins),
    }
    result = msgspec.structs.replace(EMPTY, **fields)
    charts, both = build_load_charts(result), build_comparison_charts(result, EMPTY)
    drawn = [charts.calls, charts.intended, charts.service, charts.in_flight, charts.percentiles]
    for chart in [*drawn, both.messages, both.p99, both.intended, both.service]:
        for points in paths(chart).values():
            assert all(0 <= x <= PLOT_WIDTH and 0 <= y <= PLOT_HEIGHT for x, y in points)
