"""Pages about load tests: what they say, and that texts of a file cannot act."""

from __future__ import annotations

import math
import re
from html import unescape
from typing import Any

import msgspec
import pytest

from bulklink.html_pages.load.side_by_side import plot_interval
from bulklink.load_analysis.comparison import LoadComparison, LoadVerdict, compare_loads
from bulklink.load_analysis.merging import merge_results
from bulklink.load_results import (
    BothHistograms,
    BothLatencies,
    HistogramBins,
    LoadResult,
    LoadTarget,
    ThresholdResult,
)
from tests.hostile_text import HOSTILE, find_acting_characters
from tests.html_pages.load.pages import (
    closed_result,
    compared_results,
    comparison_page,
    load_page,
    stalled_result,
)
from tests.load_results import load_result


def words(page: str) -> str:
    """Return the texts of a page, with single spaces."""
    body = page.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture(scope="module")
def stalled() -> LoadResult:
    return stalled_result()


def test_the_page_begins_with_thresholds_and_headline_figures(stalled: LoadResult) -> None:
    text = words(load_page(stalled))
    assert "Load test of an emulator ✗ 2 of 4 thresholds missed." in text
    assert "60.0 of 60.0 calls a second were started for 20 s; 99% were answered within" in text
    assert "✗ missed p99 < 400ms 2.0" in text
    assert '<td class="good"><strong>✓ met' in load_page(stalled)
    assert '<td class="bad"><strong>✗ missed' in load_page(stalled)
    assert "✓ met service.p99 < 400ms " in text
    assert "Failed calls" in text
    assert "all were started" in text
    assert "3 calls were answered with HTTP 429" in text
    assert "ramp 5 s 20 s 60.0 to 80.0 60.0" in text
    assert "memory 16.0 GiB" in text
    assert "This machine was not the bottleneck" in text


def test_without_a_schedule_the_page_has_one_latency_and_says_what_it_hides() -> None:
    page = load_page(closed_result())
    text = words(page)
    assert "only an arrival rate shows them" in text
    assert "from the intended start" not in text
    assert "Late calls" not in text
    assert "The client may have been the bottleneck." in text
    assert 'id="thresholds"' not in page
    assert 'id="phases"' not in page


def test_a_load_test_that_was_cut_short_before_an_answer_has_a_page(stalled: LoadResult) -> None:
    no_bins = HistogramBins(relative_error=0.005, bins={}, total=0, longest=0)
    nothing = msgspec.structs.replace(
        stalled,
        cut_short=True,
        stopped_by="interrupted",
        calls=0,
        errors={},
        phases=[],
        series=[],
        seconds=0.0,
        latency=BothLatencies(service=None, intended=None),
        histogram=BothHistograms(service=no_bins, intended=no_bins),
    )
    text = words(load_page(nothing))
    assert "Cut short (interrupted). The figures are of the 0 s until then." in text
    assert "No call was answered." in text
    comparison = compare_loads([(nothing, stalled)])
    assert "p99 was not measured on both sides" in words(
        comparison_page(nothing, stalled, comparison)
    )


def test_settings_of_merged_clients_are_side_by_side() -> None:
    target = LoadTarget(url="http://127.0.0.1:8080", world_digest=None)
    merged = merge_results(
        [
            load_result(seconds=5, target=target, rate=rate, machine={"system": system})
            for rate, system in ((50, "Linux"), (100, "Darwin"))
        ]
    )
    text = words(load_page(merged))
    assert "Load test of http://127.0.0.1:8080" in text
    assert "Name Client 1 Client 2 arrival_rate differs 50 100" in text
    assert "system differs Linux Darwin" in text
    assert "Run folder" not in text


def test_a_comparison_shows_its_verdict_warnings_and_figures() -> None:
    a, b, comparison = compared_results()
    text = words(comparison_page(a, b, comparison))
    assert "B is slower The p50 of B is 2.0" in text
    assert "There is one load test of each" in text
    assert "The machines differ: processors 8 and 4." in text
    assert re.search(r"p50 compared [\d.]+ ms [\d.]+ ms 2\.0", text)
    assert "Settings No value differs. 3 equal values" in text
    assert "processors differs 8 4 6 equal values" in text
    assert text.count("p99.9") == 2  # from the intended start, and service time
    a, b = (msgspec.structs.replace(side, asked_calls_per_second=None) for side in (a, b))
    text = words(comparison_page(a, b, compare_loads([(a, b)])))
    assert "Service time mean" not in text


@pytest.mark.parametrize("verdict", LoadVerdict)
def test_every_verdict_has_its_words(verdict: LoadVerdict) -> None:
    a, b, comparison = compared_results()
    comparison = msgspec.structs.replace(comparison, verdict=verdict, rounds=7, warnings=[])
    page = comparison_page(a, b, comparison)
    heading = {"faster": "B is faster", "slower": "B is slower", "no difference": "No difference"}
    assert f"<h1>{heading.get(verdict, 'Cannot tell which is faster')}</h1>" in page
    assert "one of 7 rounds" in page
    assert "Before you quote this" not in page


def test_an_interval_is_drawn_around_equality() -> None:
    def comparison(low: float, ratio: float, high: float) -> LoadComparison:
        drawn: LoadComparison = msgspec.structs.replace(
            compared_results()[2], ratio=ratio, interval=(low, high), margin=0.05
        )
        return drawn

    plot = plot_interval(comparison(0.8, 0.9, 1.1))
    assert plot is not None
    assert 0 < plot.low < plot.margin_low < 50 < plot.margin_high < plot.high < 100
    assert plot.low < plot.ratio < plot.margin_low
    assert plot.low == pytest.approx(50 - 50 / 1.15, abs=0.01)
    assert plot.ratios == ()
    margin = 50 / 1.15 * math.log(1.05) / math.log(1.25)
    assert (plot.margin_low, plot.margin_high) == pytest.approx(
        (50 - margin, 50 + margin), abs=0.01
    )
    rounds = msgspec.structs.replace(comparison(0.8, 0.9, 1.1), rounds=2, ratios=[0.5, 1.0])
    plot = plot_interval(rounds)
    assert plot is not None
    assert plot.ratios == pytest.approx((50 - 50 / 1.15, 50), abs=0.01)
    extreme = plot_interval(comparison(1e-304, 1, 1e304))
    assert extreme is not None
    assert (extreme.low, extreme.high) == pytest.approx((0, 100), abs=0.01)


def poisoned(value: Any) -> Any:
    """Return the fields of a result with every text made hostile."""
    match value:
        case str():
            return value + HOSTILE
        case list():
            return list(map(poisoned, value))
        case dict():
            return {key: poisoned(part) for key, part in value.items()}
        case _:
            return value


def test_texts_of_a_file_cannot_act_on_a_page(stalled: LoadResult) -> None:
    fields = msgspec.to_builtins(stalled, str_keys=True)
    hostile = msgspec.convert(poisoned(fields), LoadResult, strict=False)
    hostile = msgspec.structs.replace(
        hostile,
        started=stalled.started,
        errors={HOSTILE: 3},
        settings={HOSTILE: HOSTILE, "nested": {"deep": [HOSTILE]}},
        thresholds=[ThresholdResult(expression=f"{HOSTILE} < 1ms", value=1.0, met=False)],
        cut_short=True,
        stopped_by=HOSTILE,
    )
    comparison = compare_loads([(stalled, hostile)])
    for page in (load_page(hostile), comparison_page(stalled, hostile, comparison)):
        assert find_acting_characters(page) == []
        assert "<b>" not in page
        assert "<script" not in page
        assert "</script" not in page
        assert len(page) < 200_000


def test_the_page_runs_no_script_and_fetches_nothing(stalled: LoadResult) -> None:
    for page in (load_page(stalled), comparison_page(*compared_results())):
        assert "<script" not in page
        assert "default-src 'none'" in unescape(page)
        assert not re.search(r"""\s(src|style|on\w+)=["']""", page)
        assert not re.search(r"https?:", page)
