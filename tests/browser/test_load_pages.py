"""Pages about load tests in a browser: readable on any screen, in any colours."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.open_page import OpenPage, weak_texts
from tests.html_pages.load.pages import (
    closed_result,
    compared_results,
    comparison_page,
    load_page,
    stalled_result,
)

NAMES = ("open", "closed", "comparison")
BOX = "e => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "open": load_page(stalled_result()),
        "closed": load_page(closed_result()),
        "comparison": comparison_page(*compared_results()),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("name", NAMES)
def test_the_page_fits_a_phone_in_light_and_dark_colours_and_on_paper(
    chromium: Browser, pages: dict[str, Path], name: str
) -> None:
    tab = chromium.new_page(viewport={"width": 320, "height": 800}, color_scheme="light")
    open_page = OpenPage(tab, pages[name])
    assert tab.evaluate("document.documentElement.scrollWidth") == 320
    assert weak_texts(tab) == []
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 28)"
    assert weak_texts(tab) == []
    tab.emulate_media(media="print")
    assert weak_texts(tab) == []
    assert open_page.requests == [pages[name].as_uri()]
    assert open_page.console_messages == []
    tab.close()


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_drawn_named_and_has_its_values(
    chromium: Browser, pages: dict[str, Path], name: str
) -> None:
    tab = chromium.new_page(viewport={"width": 1280, "height": 900})
    open_page = OpenPage(tab, pages[name])
    titles = open_page.evaluate_all("svg[role=img]", "e => e.querySelector('title').textContent")
    assert len(titles) == {"open": 6, "closed": 4, "comparison": 5}[name]
    assert len(set(titles)) == len(titles)
    ids = open_page.evaluate_all("[id]", "e => e.id")
    assert len(set(ids)) == len(ids)
    for selector in (".drawn .chart path[class^=line]", ".drawn .chart path[class^=fill]"):
        for _, _, width, height in open_page.evaluate_all(selector, BOX):
            assert width > 10
            assert height <= 141
    tables = open_page.evaluate_all(
        ".values table", "e => [...e.rows].map(row => row.cells.length)"
    )
    assert len(tables) == len(open_page.evaluate_all(".drawn"))
    assert all(len(set(cells)) == 1 and len(cells) > 5 for cells in tables)
    tab.locator(".values summary").first.click()
    assert tab.locator(".values table").first.is_visible()
    tab.close()


VISIBLE_EDGES = (
    "e => { const { x, width } = e.getBoundingClientRect(); return width && [x, x + width]; }"
)


@pytest.mark.parametrize("width", [320, 1280])
def test_labels_of_the_axes_do_not_collide(
    chromium: Browser, pages: dict[str, Path], width: int
) -> None:
    tab = chromium.new_page(viewport={"width": width, "height": 800})
    open_page = OpenPage(tab, pages["open"])
    for chart in ("percentiles", "calls", "late"):
        labels = f".drawn:has(#{chart}-title) .ticks text"
        boxes = [box for box in open_page.evaluate_all(labels, VISIBLE_EDGES) if box]
        assert len(boxes) >= 2
        assert all(right < left for (_, right), (left, _) in pairwise(boxes))
        assert boxes[-1][1] <= width
    tab.close()


def test_the_interval_is_drawn_in_its_place(chromium: Browser, pages: dict[str, Path]) -> None:
    tab = chromium.new_page(viewport={"width": 1280, "height": 900})
    open_page = OpenPage(tab, pages["comparison"])
    ((left, _, width, _),) = open_page.evaluate_all(".interval svg", BOX)
    ((x, _, size, _),) = open_page.evaluate_all(".interval .point", BOX)
    ((low, _, length, _), *_) = open_page.evaluate_all(".interval .range", BOX)
    equal = left + width / 2
    assert equal < low < x + size / 2 < low + length < left + width
    tab.close()
