"""The system's headless Chromium; without it these tests are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.open_page import find_chromium


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start the browser; on CI it is required."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium())
        yield browser
        browser.close()
