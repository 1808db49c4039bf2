"""The report in a browser: it draws, opens, prints, and fetches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from bulklink.ledger.records import Result
from bulklink.models import Status
from bulklink.runs.folder import RunFolder
from tests.browser.open_page import OpenPage
from tests.html_pages.report.run_folders import (
    mapping_rows,
    plan_run,
    render_page,
    result,
    write_results,
    write_timeline,
)

MANY = 1300
EVIL = "</script><script>document.title = 'run'</script><img src=https://x.example/a>"
ROWS = [(*cells[:5], EVIL, cells[6]) for cells in mapping_rows(MANY)]


def result_of_row(row: int) -> Result:
    """Fail all but each tenth row with two codes, one of them on more rows than a page shows."""
    cells = ROWS[row - 1]
    if row % 10 == 0:
        return result(row, cells, Status.DONE)
    code = "NOT_ALLOWED" if row % 10 == 1 else "INVALID_DATA"
    return result(row, cells, Status.FAILED, code, message=f"{EVIL} {row}")


@pytest.fixture(scope="module")
def report_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that was resumed after three days."""
    run: RunFolder = plan_run(tmp_path_factory.mktemp("run"), ROWS)
    write_results(run, map(result_of_row, range(1, MANY + 1)))
    write_timeline(run, 20)
    write_timeline(run, 30, after=timedelta(days=3), answered_429=2)
    run.html_report.write_text(render_page(run), encoding="utf-8")
    return run.html_report


@pytest.fixture(scope="module")
def open_page(chromium: Browser, report_path: Path) -> Iterator[OpenPage]:
    """The page on a wide screen in light colours."""
    tab = chromium.new_page(viewport={"width": 1100, "height": 800}, color_scheme="light")
    yield OpenPage(tab, report_path)
    tab.close()


NAMES = ("throughput", "in_flight", "latency", "answered_429")
BOX = "e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }"


def chart(name: str) -> str:
    return f".drawn:has(#{name}-title)"


def test_all_charts_are_drawn(open_page: OpenPage) -> None:
    titles = open_page.evaluate_all(".chart[role=img] > title", "e => [e.id, e.textContent]")
    assert [name for name, _ in titles] == [f"{name}-title" for name in NAMES]
    assert all(" over time" in title for _, title in titles)
    for name, series, height in [
        ("throughput", "fill-done", 126),
        ("in_flight", "fill-in_flight", 112),
        ("in_flight", "line-allowed", 0),
        ("latency", "fill-p95", 23.3),
        ("latency", "fill-p99", 93.3),
        ("latency", "line-p50", 0),
        ("answered_429", "fill-refused", 70),
    ]:
        ((_, _, width, found),) = open_page.evaluate_all(f"{chart(name)} path.{series}", BOX)
        assert width > (200 if name == "answered_429" else 400), (name, series)
        assert found == pytest.approx(height, abs=2), (name, series)
    cut = "e => document.querySelector(e.getAttribute('clip-path').slice(4, -1)).innerHTML"
    (clip,) = open_page.evaluate_all(f"{chart('throughput')} rect.fill-failed", cut)
    assert 'd="M0 0H' in clip  # the hatched area is as high as the chart allows
    texts = open_page.evaluate_all(f"{chart('throughput')} text", "e => e.textContent")
    assert {"0", "20", "12:00:00", "22 Nov", "25 Nov", "finished 3 d"} <= set(texts)
    pauses = open_page.evaluate_all(f"{chart('throughput')} use", BOX)
    assert 5 < pauses[0][2] < 30


def test_bars_are_next_to_their_numbers(open_page: OpenPage) -> None:
    widths = open_page.evaluate_all("#plan .bar rect", "e => e.getBoundingClientRect().width")
    assert len(widths) == 8
    assert all(width > 100 for width in widths)


VISIBLE_EDGES = """e => {
  const { x, width } = e.getBoundingClientRect();
  return width && [x, x + width];
}"""


@pytest.mark.parametrize("width", [320, 400, 700, 1100])
def test_labels_of_the_time_axis_do_not_collide(
    chromium: Browser, report_path: Path, width: int
) -> None:
    tab = chromium.new_page(viewport={"width": width, "height": 800})
    open_page = OpenPage(tab, report_path)
    media: Literal["screen", "print"]
    for media in ("screen", "print"):
        tab.emulate_media(media=media)
        for name in NAMES:
            first_lines = f"{chart(name)} .ticks text:not([y='182'])"
            boxes = [box for box in open_page.evaluate_all(first_lines, VISIBLE_EDGES) if box]
            assert len(boxes) >= 2
            assert all(right < left for (_, right), (left, _) in pairwise(boxes))
            assert boxes[-1][1] <= width
    tab.close()


def test_hovering_shows_the_values_at_a_time(open_page: OpenPage) -> None:
    tip = open_page.tab.locator(f"{chart('latency')} .tip")
    assert tip.is_hidden()
    open_page.tab.locator(chart("latency")).hover(position={"x": 48, "y": 50})
    assert tip.inner_text().splitlines() == [
        "22 Nov 12:00:00",
        "half of the calls within: 0.25 s",
        "95 % within: 0.5 s",
        "99 % within: 1.5 s",
    ]
    open_page.tab.mouse.move(1, 1)
    assert tip.is_hidden()


def test_arrow_keys_show_the_values_at_a_time(open_page: OpenPage) -> None:
    tip = open_page.tab.locator(f"{chart('throughput')} .tip")
    open_page.tab.focus(chart("throughput"))
    seen = []
    for key in ("End", "ArrowRight", "ArrowLeft", "Home", "ArrowRight"):
        open_page.tab.keyboard.press(key)
        assert "done: 18/s\nfailed: 2/s" in tip.inner_text()
        seen.append(tip.inner_text().splitlines()[0])
    assert seen == [
        *("25 Nov 12:00:29", "25 Nov 12:00:29", "25 Nov 12:00:28"),
        *("22 Nov 12:00:00", "22 Nov 12:00:01"),
    ]
    open_page.tab.keyboard.press("Escape")
    assert tip.is_hidden()


def test_each_chart_has_its_values_as_a_table(open_page: OpenPage) -> None:
    tables = open_page.evaluate_all(
        ".charts .values table",
        "e => [...e.rows].map(r => [...r.cells].map(c => c.textContent.trim()))",
    )
    assert [len(rows) for rows in tables] == [51] * 4
    assert [rows[0][1:] for rows in tables] == [
        *(["done", "failed"], ["in flight, mean", "allowed"]),
        *(["half of the calls within", "95 % within", "99 % within"], ["refused"]),
    ]
    assert [rows[50][1:] for rows in tables] == [
        *(["18", "2"], ["8", "10"], ["0.25", "0.5", "1.5"], ["2"]),
    ]


def test_nothing_is_fetched_injected_or_logged(open_page: OpenPage, report_path: Path) -> None:
    assert open_page.requests == [report_path.as_uri()]
    assert open_page.console_messages == []
    assert open_page.tab.title().startswith("bulklink report: link, finished")
    blocked = open_page.tab.evaluate(
        "fetch('https://x.example/').then(() => 'fetched', (error) => error.name)"
    )
    assert blocked == "TypeError"
    assert any("Content Security Policy" in text for text in open_page.console_messages)
    open_page.console_messages.clear()


def test_a_click_opens_the_rows_of_a_group(open_page: OpenPage) -> None:
    rows = "details[open] .rows tbody tr"
    assert open_page.evaluate_all(rows) == []
    open_page.tab.click("details[data-key=NOT_ALLOWED] > summary")
    open_page.tab.wait_for_selector(rows)
    cells = open_page.evaluate_all(rows, "e => [...e.cells].map(c => c.textContent)")
    assert len(cells) == 130
    assert cells[1][:9] == [
        *("11", "link", "101", "72", "m00011", "500", "failed", "NOT_ALLOWED"),
        f"{EVIL} 11",
    ]
    assert re.fullmatch(r"2026-11-22 12:00:0\d\+00:00", cells[1][9])
    open_page.tab.click("details[data-key=NOT_ALLOWED] > summary")

    open_page.tab.focus("details[data-key=INVALID_DATA] > summary")
    open_page.tab.keyboard.press("Enter")
    open_page.tab.wait_for_selector(rows)
    assert len(open_page.evaluate_all("details[data-key=INVALID_DATA] tbody tr")) == 1000
    assert "1,000 of 1,040 rows are here" in open_page.tab.inner_text(
        "details[data-key=INVALID_DATA]"
    )


def test_the_page_fits_a_phone_and_dark_mode(chromium: Browser, report_path: Path) -> None:
    tab = chromium.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    open_page = OpenPage(tab, report_path)
    assert tab.evaluate("document.documentElement.scrollWidth") == 400
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 28)"
    done = f"{chart('throughput')} .fill-done"
    dark = open_page.evaluate_all(done, "e => getComputedStyle(e).fill")
    widths = open_page.evaluate_all(".chart", "e => e.getBoundingClientRect().width")
    assert all(290 < width <= 368 for width in widths)
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert open_page.evaluate_all(done, "e => getComputedStyle(e).fill") != dark
    assert tab.is_visible("text=are not printed: open them first")
    assert tab.pdf(format="A4").startswith(b"%PDF")
    assert open_page.console_messages == []
    tab.close()


def test_figures_and_charts_work_without_scripts(chromium: Browser, report_path: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(report_path.as_uri())
    text = tab.inner_text("body")
    assert "The rows are shown only if scripts are enabled" in text
    assert "INVALID_DATA" in text
    assert "1,170 rows failed" in text
    charts = tab.locator(".chart")
    assert charts.count() == 4
    assert all(charts.nth(n).is_visible() for n in range(4))
    tab.locator(".values summary").first.click()
    assert tab.locator(".values table").first.is_visible()
    context.close()
