"""The charts of a page are valid, bounded and small SVG, each with a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.html_pages.plot_area import PLOT_HEIGHT, PLOT_WIDTH
from bulklink.html_pages.report.charts import ChartData, build_chart_data
from bulklink.html_pages.report.timeline import MAX_SPANS, Measurement
from bulklink.models import Status
from tests.html_pages.paths import path_points
from tests.html_pages.report.run_folders import (
    NOON,
    mapping_rows,
    plan_run,
    render_page,
    result,
    write_results,
    write_timeline,
)

MAX_PAGE = 150_000
"""Bytes of a page, apart from the embedded rows."""
NAMES = ("throughput", "in_flight", "latency", "answered_429")


def measurement(began: float, seconds: float = 1.0, **changes: object) -> Measurement:
    fields: dict[str, object] = {
        "settled": {"done": 18, "failed": 2},
        "in_flight": 8.0,
        "allowed": 10.0,
        "latency": {0.25: 18, 0.5: 1, 1.5: 1},
    }
    ended = began + seconds
    return Measurement(began=began, ended=ended, **(fields | changes))  # type: ignore[arg-type]


def charts_of(*measurements: Measurement) -> ChartData:
    charts = build_chart_data(measurements, UTC)
    assert charts is not None
    return charts


def layers_of(charts: ChartData, name: str) -> dict[str, str]:
    (chart,) = (chart for chart in charts.charts if chart.name == name)
    return {layer.series: layer.path for layer in chart.layers}


def test_statuses_are_stacked() -> None:
    layers = layers_of(charts_of(measurement(NOON.timestamp())), "throughput")
    assert layers == {"done": "M0 14H1000V140H0Z", "failed": "M0 0H1000V14H0Z"}


def test_negative_rates_are_only_in_the_table() -> None:
    """A correction subtracts the earlier result from its status."""
    charts = charts_of(measurement(0.0, settled={"done": 10, "in_doubt": -1}))
    assert list(layers_of(charts, "throughput")) == ["done"]
    assert charts.charts[0].rows == (("00:00:00", "10", "-1"),)


@pytest.mark.parametrize(
    ("settled", "text"),
    [(1_234_567, "20,576.1"), (1200, "20"), (110, "1.8"), (1, "0.017"), (0, "0"), (-3, "-0.05")],
)
def test_rates_have_significant_digits(settled: int, text: str) -> None:
    charts = charts_of(measurement(0.0, 60.0, settled={"done": settled, "failed": 60}))
    assert charts.charts[0].rows[0][1:] == ((text, "1") if settled else ("1",))


def test_latencies_are_a_line_at_the_median_and_bands_above_it() -> None:
    layers = layers_of(charts_of(measurement(0.0)), "latency")
    assert layers == {
        "p95": "M0 93.3H1000V116.7H0Z",
        "p99": "M0 0H1000V93.3H0Z",
        "p50": "M0 116.7H1000",
    }


def test_the_limit_of_calls_in_flight_is_a_line_that_pauses_interrupt() -> None:
    charts = charts_of(measurement(0.0, 50.0), measurement(5_000.0, 50.0))
    (pause,) = charts.pauses
    assert pause.length == "1 h 22 min"
    end, begin = pause.x, pause.x + pause.width
    assert layers_of(charts, "in_flight")["allowed"] == f"M0 0H{end:g}M{begin:g} 0H1000"


def test_a_span_without_calls_has_no_latency() -> None:
    charts = charts_of(measurement(0.0, latency={}), measurement(1.0))
    assert charts.charts[2].rows[0] == ("00:00:00", None, None, None)
    assert layers_of(charts, "latency")["p50"] == "M500 116.7H1000"


def test_times_have_a_day_only_if_the_axis_covers_several_days() -> None:
    noon = NOON.timestamp()
    assert charts_of(measurement(noon)).charts[0].rows[0][0] == "12:00:00"
    rows = charts_of(measurement(noon), measurement(noon + 86_400)).charts[0].rows
    assert [row[0] for row in rows] == ["22 Nov 12:00:00", "23 Nov 12:00:00"]


def test_times_have_their_offset_if_the_clock_was_put_back_during_the_run() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first = 1_792_886_400.0  # 25 October 2026, 02:00 in summer time
    charts = build_chart_data([measurement(first), measurement(first + 3600)], zone)
    assert charts is not None
    assert [row[0] for row in charts.charts[0].rows] == ["02:00:00+02:00", "02:00:00+01:00"]
    assert charts.offsets == ("+01:00", "+02:00")


_MEASUREMENTS = st.lists(
    st.builds(
        measurement,
        st.floats(0, 3e10) | st.floats(1.7e9, 1.7e9 + 1e5),
        st.floats(0, 1e9) | st.floats(0, 60),
        settled=st.dictionaries(
            st.sampled_from(["done", "unchanged", "failed", "in_doubt", "<b>"]),
            st.integers(-(2**53), 2**53) | st.integers(0, 20),
        ),
        answered_429=st.integers(0, 2**53) | st.just(0),
        in_flight=st.none() | st.floats(0, 1e6),
        allowed=st.none() | st.floats(0, 1e6),
        latency=st.dictionaries(st.floats(0, 1e9), st.integers(0, 2**53)),
    ),
    min_size=1,
    max_size=12,
)


@given(_MEASUREMENTS)
def test_any_timeline_is_drawn_within_the_plot_area(
    measurements: list[Measurement],
) -> None:
    """Even if a clock was put back or the file was edited."""
    charts = charts_of(*measurements)
    for chart in charts.charts:
        assert len(chart.rows) == len(charts.middles) <= len(measurements)
        assert all(0 <= tick.y <= PLOT_HEIGHT for tick in chart.ticks)
        for layer in chart.layers:
            for x, y in path_points(layer.path):
                assert 0 <= x <= PLOT_WIDTH
                assert 0 <= y <= PLOT_HEIGHT
    positions = [*charts.middles, *(label.at for ticks in charts.ticks for label in ticks.labels)]
    positions += [edge for pause in charts.pauses for edge in (pause.x, pause.x + pause.width)]
    assert all(0 <= position <= PLOT_WIDTH + 0.01 for position in positions)


def drawings(page: str) -> Iterator[ET.Element]:
    """Yield the charts of a page, read as XML."""
    for text in re.findall(r'<svg class="chart".*?</svg>\n(?=</div>)', page, re.DOTALL):
        yield ET.fromstring(text)


def embedded_rows_size(page: str) -> int:
    found = re.search(r'<script type="application/json" id="rows".*?</script>', page, re.DOTALL)
    return len(found[0].encode()) if found else 0


def page_of(folder: Path, rows: int, *moments: timedelta) -> str:
    """Return the page of a run whose rows all failed and whose seconds all differ."""
    cells = [
        (contact, str(6000 + number % 60), message, deal, f"Owner {number % 60}", *names)
        for number, (contact, _, message, deal, _, *names) in enumerate(
            mapping_rows(rows, deals=100, name="Deal of a customer with a long name")
        )
    ]
    run = plan_run(folder, cells)
    write_results(
        run,
        (
            result(row, cells[row - 1], Status.FAILED, f"CODE_{row % 50:02}")
            for row in range(1, rows + 1)
        ),
    )
    for number, after in enumerate(moments):
        settled = dict.fromkeys(("done", "unchanged", "failed"), number * 7919 % 97)
        metrics = {"in_flight": number * 31 % 17 / 3, "most_in_flight": 6 + number * 37 % 19 / 3}
        latency = {0.1 + number * 41 % 23 / 50: 50, 0.6: number % 7, 1 + number % 13 / 7: 2}
        write_timeline(
            run,
            1,
            after=after,
            settled=settled | {"in_doubt": number % 11},
            answered_429=number * 13 % 5,
            latency={str(seconds): calls for seconds, calls in latency.items()},
            **metrics,
        )
    return render_page(run)


@pytest.mark.parametrize(
    ("moments", "names"),
    [
        pytest.param([], NAMES[:1], id="no timeline"),
        pytest.param([timedelta()], NAMES, id="a second"),
        pytest.param([timedelta(), timedelta(seconds=1), timedelta(days=3)], NAMES, id="a pause"),
    ],
)
def test_each_chart_is_sound_xml_with_a_title_and_a_table(
    tmp_path: Path, moments: list[timedelta], names: tuple[str, ...]
) -> None:
    page = page_of(tmp_path, 100, *moments)
    charts = list(drawings(page))
    assert [chart.get("aria-labelledby") for chart in charts] == [f"{name}-title" for name in names]
    for chart, name in zip(charts, names, strict=True):
        assert chart.get("role") == "img"
        assert chart[0].get("id") == f"{name}-title"
        assert chart[0].tag == "title"
        assert " over time" in (chart[0].text or "")
        assert not [e for e in chart.iter() if e.get("style") or e.get("fill")]
    assert page.count("<summary>Values as a table</summary>") == len(names)
    has_pause = len(moments) > 2
    assert page.count("; 1 pause is shortened</title>") == has_pause * len(names)
    pause_row = (
        "<tr><th>22 Nov 12:00:02</th><td>25 Nov 12:00:00</td><td>3 d</td><td>finished</td></tr>"
    )
    assert (pause_row in page) == has_pause


def assert_small(page: str) -> None:
    """Check the size of a page without its rows."""
    assert len(page.encode()) - embedded_rows_size(page) < MAX_PAGE
    assert page.count("<details data-field") == 3 * 40
    throughput = page.split("<figure>")[1]
    assert MAX_SPANS / 2 <= throughput.count("<tr><th>") <= MAX_SPANS


def test_a_page_of_weeks_with_many_pauses_is_small_compared_with_its_rows(tmp_path: Path) -> None:
    moments = [timedelta(minutes=30 * number) for number in range(1500)]
    assert_small(page_of(tmp_path, 2000, *moments))


def test_a_page_of_hours_without_a_pause_is_small_compared_with_its_rows(tmp_path: Path) -> None:
    moments = [timedelta(seconds=number) for number in range(3000)]
    assert_small(page_of(tmp_path, 2000, *moments))
