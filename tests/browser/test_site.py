"""The site of the documentation in a browser: phone and desktop, light and dark; its search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.browser.open_page import OpenPage, weak_texts
from tests.docs.site import shared_site

pytestmark = pytest.mark.timeout(180)  # the first test of a worker may have to build the site
PAGES = (
    "docs/README",
    "docs/tutorial",
    "docs/reference",
    "docs/running",
    "docs/conformance",
    "CONTRIBUTING",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shared_site(tmp_path_factory)


@pytest.fixture(params=["light", "dark"])
def phone(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Page]:
    """A tab of the width of a phone, in both schemes."""
    size = ViewportSize(width=390, height=844)
    with chromium.new_context(viewport=size, color_scheme=request.param) as context:
        yield context.new_page()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_phone_and_desktop_and_is_readable(name: str, phone: Page, site: Path) -> None:
    """Tables and code scroll in themselves."""
    page = OpenPage(phone, site / f"{name}.html")
    for size in (ViewportSize(width=390, height=844), ViewportSize(width=1280, height=800)):
        phone.set_viewport_size(size)
        width, viewport = phone.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= viewport
        assert weak_texts(phone) == []
    assert page.console_messages == []
    assert [url for url in page.requests if not url.startswith("file:")] == []


def test_the_first_page_leads_to_the_index(phone: Page, site: Path) -> None:
    OpenPage(phone, site / "index.html")
    expect(phone.locator("h1")).to_contain_text("Documentation of bulklink")


def test_the_search_works_without_a_server(phone: Page, site: Path) -> None:
    page = OpenPage(phone, site / "search.html")
    phone.goto(f"{(site / 'search.html').as_uri()}?q=outage")
    expect(phone.locator("#search-results li a").first).to_be_visible()
    assert page.console_messages == []
    phone.locator("#search-results a", has_text="Run, stop, resume").first.click()
    expect(phone.locator("h1")).to_contain_text("Run, stop, resume")
