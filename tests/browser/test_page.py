"""The page of a run in a browser: it is drawn, it opens, it prints, and it fetches nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from bulklink.ledger.records import Result
from bulklink.models import Status
from bulklink.runs.folder import RunFolder
from tests.html_report.run_folders import (
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


class OpenPage:
    """A page in the browser, and all that it asked for and complained of."""

    def __init__(self, tab: Page, path: Path) -> None:
        self.tab = tab
        self.requests: list[str] = []
        self.console_messages: list[str] = []
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("console", lambda message: self.console_messages.append(message.text))
        tab.on("pageerror", lambda error: self.console_messages.append(str(error)))
        tab.goto(path.as_uri())

    def evaluate_all(self, selector: str, script: str = "e => e.outerHTML") -> list[Any]:
        """Return what a function says of each element."""
        values = self.tab.eval_on_selector_all(selector, f"es => es.map({script})")
        assert isinstance(values, list)
        return values


def result_of_row(row: int) -> Result:
    """Fail all but each tenth row; two codes, one of more rows than a page shows."""
    cells = ROWS[row - 1]
    if row % 10 == 0:
        return result(row, cells, Status.DONE)
    code = "NOT_ALLOWED" if row % 10 == 1 else "INVALID_DATA"
    return result(row, cells, Status.FAILED, code, message=f"{EVIL} {row}")


@pytest.fixture(scope="module")
def report_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that went on after three days."""
    run: RunFolder = plan_run(tmp_path_factory.mktemp("run"), ROWS)
    write_results(run, map(result_of_row, range(1, MANY + 1)))
    write_timeline(run, 20)
    write_timeline(run, 30, after=timedelta(days=3), answered_429=2)
    run.html_report.write_text(render_page(run), encoding="utf-8")
    return run.html_report


@pytest.fixture(scope="module")
def open_page(chromium: Browser, report_path: Path) -> Iterator[OpenPage]:
    """That page at a broad screen in light colours."""
    tab = chromium.new_page(viewport={"width": 1100, "height": 800}, color_scheme="light")
    yield OpenPage(tab, report_path)
    tab.close()


RECT = "e => { const b = e.getBBox(); return [b.width, b.height]; }"


def test_all_charts_are_drawn(open_page: OpenPage) -> None:
    names = open_page.evaluate_all("[data-chart] > svg", "e => e.parentNode.dataset.chart")
    assert names == ["throughput", "in_flight", "latency", "answered_429"]
    labels = open_page.evaluate_all("[data-chart] > svg", "e => e.getAttribute('aria-label')")
    assert all(" over time" in label for label in labels)

    def of(chart: str, series: str) -> str:
        return f"[data-chart={chart}] g[aria-description='{series}']"

    for chart, series, many in [
        ("throughput", "done", 50),
        ("throughput", "failed", 50),
        ("in_flight", "in flight", 50),
        ("answered_429", "answered 429", 30),
    ]:
        rects = open_page.evaluate_all(f"{of(chart, series)} rect", RECT)
        assert len(rects) == many, (chart, series)
        assert all(width > 2 and height > 5 for width, height in rects), (chart, series)
    for chart, series in [
        ("in_flight", "allowed"),
        *(("latency", p) for p in ("p50", "p95", "p99")),
    ]:
        lines = open_page.evaluate_all(f"{of(chart, series)} path", RECT)
        assert len(lines) == 2, (chart, series)  # before and after the pause
        assert all(width > 100 for width, _ in lines)
    heights = [
        open_page.evaluate_all(f"{of('latency', name)} path", "e => e.getBBox().y")[0]
        for name in ("p99", "p95", "p50")
    ]
    assert heights == sorted(heights)  # the slower, the higher
    assert open_page.evaluate_all(f"{of('throughput', 'pause')} rect", RECT)[0][0] > 5
    texts = open_page.evaluate_all("[data-chart=throughput] text", "e => e.textContent")
    assert "12:00:0022 Nov" in texts  # in two lines
    assert any("25 Nov" in text for text in texts), texts
    assert "paused 3 d" in texts


def test_nothing_is_fetched_run_or_complained_of(open_page: OpenPage, report_path: Path) -> None:
    assert open_page.requests == [report_path.as_uri()]
    assert open_page.console_messages == []
    assert open_page.tab.title().startswith("bulklink report: link, finished")
    blocked = open_page.tab.evaluate(
        "fetch('https://x.example/').then(() => 'fetched', (error) => error.name)"
    )
    assert blocked == "TypeError"
    assert any("Content Security Policy" in text for text in open_page.console_messages)
    open_page.console_messages.clear()


def test_a_click_opens_the_rows_of_a_class(open_page: OpenPage) -> None:
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


def test_it_fits_a_telephone_and_darkness(chromium: Browser, report_path: Path) -> None:
    tab = chromium.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    open_page = OpenPage(tab, report_path)
    assert tab.evaluate("document.documentElement.scrollWidth") == 400
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 28)"
    done = "[data-chart=throughput] g[aria-description=done]"
    dark = open_page.evaluate_all(done, "e => getComputedStyle(e).fill")
    widths = open_page.evaluate_all("[data-chart] > svg", "e => e.getBoundingClientRect().width")
    assert all(300 < width <= 368 for width in widths)
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert open_page.evaluate_all(done, "e => getComputedStyle(e).fill") != dark
    assert tab.is_visible("text=are not printed: open them first")
    assert tab.pdf(format="A4").startswith(b"%PDF")
    assert open_page.console_messages == []
    tab.close()


def test_without_scripts_the_figures_are_there(chromium: Browser, report_path: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(report_path.as_uri())
    text = tab.inner_text("body")
    assert "The charts are drawn where scripts may run" in text
    assert "INVALID_DATA" in text
    assert "1,170 rows failed" in text
    context.close()
