"""A page in the browser, with its requests and messages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from playwright.sync_api import Page

T = TypeVar("T")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_CONTRAST = Path(__file__).with_name("contrast.js").read_text("utf-8").strip().rstrip(";")


def find_chromium() -> str:
    """Return the system's browser; without it the test is skipped, and fails on CI."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        reason = "there is no Chromium to look at pages with: install the package chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def in_thread(function: Callable[[], T]) -> T:
    """Run a function that blocks: Playwright runs an event loop on the thread of the tests."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def weak_texts(tab: Page) -> list[str]:
    """Return the texts with a contrast below 4.5, by class, each with its contrast."""
    found: list[str] = tab.evaluate(f"({_CONTRAST.partition(chr(10))[2]})()")
    return found


class OpenPage:
    """A page in the browser.

    Args:
        tab: tab of the browser.
        path: file of the page.

    Attributes:
        requests: addresses of its requests.
        console_messages: what it logged, and its errors.
    """

    def __init__(self, tab: Page, path: Path) -> None:
        self.tab = tab
        self.requests: list[str] = []
        self.console_messages: list[str] = []
        tab.on("request", lambda request: self.requests.append(request.url))
        tab.on("console", lambda message: self.console_messages.append(message.text))
        tab.on("pageerror", lambda error: self.console_messages.append(str(error)))
        tab.goto(path.as_uri())

    def evaluate_all(self, selector: str, script: str = "e => e.outerHTML") -> list[Any]:
        """Return the results of a function for each element."""
        values = self.tab.eval_on_selector_all(selector, f"es => es.map({script})")
        assert isinstance(values, list)
        return values
