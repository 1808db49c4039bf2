"""The way from a mapping to a sealed plan in a browser: drop it, fix a column, seal."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Browser, Page, expect

from bulklink.operations.environment import real_environment
from bulklink.ui.commands import Commands
from bulklink.ui.drafts import Drafts
from bulklink.ui.server import serve_page
from bulklink.zoho.connection import Connection
from tests.browser.open_page import weak_texts
from tests.operations.local_crm import DEAL
from tests.ui.test_new_mapping import mapping

DROP = """([content, names]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
  for (const name of names) transfer.items.add(new File([bytes], name));
  const form = document.querySelector("[data-drop]");
  const init = { dataTransfer: transfer, bubbles: true, cancelable: true };
  for (const type of ["dragover", "drop"]) form.dispatchEvent(new DragEvent(type, init));
}"""
MAX_BYTES = 100_000
_BAD_VALUE = "status of 400"
SCREENS = {
    "desktop": (1280, 800, "light"),
    "phone": (390, 844, "light"),
    "desktop dark": (1280, 800, "dark"),
    "phone dark": (390, 844, "dark"),
}


def no_connection(profile: str | None) -> Connection:
    raise AssertionError(profile)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Serve the page of a folder that is not there yet."""
    runs_dir = tmp_path / "runs"
    commands = Commands(runs_dir, no_connection, real_environment())
    drafts = Drafts(runs_dir, commands.environment.clock.wall, max_bytes=MAX_BYTES)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve_page(commands, drafts=drafts)) as address,
    ):
        yield address


@pytest.fixture(params=list(SCREENS.values()), ids=list(SCREENS))
def tab(chromium: Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open the page of new mappings, and see that nothing was refused or logged but bad values."""
    width, height, scheme = request.param
    context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(url)
    page.get_by_role("link", name="New mapping").click()
    page.wait_for_url("**/new?*", wait_until="load")
    yield page
    context.close()
    assert [message for message in messages if _BAD_VALUE not in message] == []


def drop(tab: Page, content: bytes, *names: str) -> None:
    tab.evaluate(DROP, [base64.b64encode(content).decode(), list(names)])


def check_looks(tab: Page) -> None:
    """See that nothing is wider than the screen, and every text can be read."""
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert weak_texts(tab) == []


def test_a_mapping_is_dropped_and_a_column_fixed_and_the_plan_sealed(
    tab: Page, tmp_path: Path
) -> None:
    check_looks(tab)
    header = ("contact_id", "owner_id", "message_id", "Ziel")
    drop(tab, mapping(3, header, bad=1), "Q3 <b>.csv")
    tab.get_by_role("button", name="Check the mapping").click()
    expect(tab.get_by_role("heading", name="There is no column deal_id.")).to_be_visible()
    check_looks(tab)
    tab.get_by_label("deal_id", exact=True).select_option("Ziel")
    tab.get_by_role("button", name="Check again").click()
    expect(tab.get_by_role("heading", name="1 row is refused")).to_be_visible()
    expect(tab.get_by_role("button", name="Seal this plan")).to_have_count(0)
    check_looks(tab)
    tab.get_by_label("Invalid rows").select_option("Leave them out")
    tab.get_by_role("button", name="Check again").click()
    expect(tab.get_by_role("heading", name="3 emails to change")).to_be_visible()
    check_looks(tab)
    tab.get_by_role("button", name="Seal this plan").click()
    expect(tab.get_by_role("button", name="Approve and start")).to_be_visible()
    expect(tab.get_by_text("Q3 <b>.csv")).to_be_visible()
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 1


def test_an_option_that_is_not_valid_is_explained_at_its_field(tab: Page) -> None:
    drop(tab, mapping(), "mapping.csv")
    tab.get_by_role("button", name="Check the mapping").click()
    only = tab.get_by_label("Only rows with")
    expect(tab.get_by_role("button", name="Seal this plan")).to_be_visible()
    expect(only).to_be_hidden()
    tab.get_by_text("Options", exact=True).click()
    only.fill("=sure")
    tab.get_by_role("button", name="Check again").click()
    expect(tab.get_by_role("alert")).to_contain_text("Nothing was checked. Only rows with: '=sure'")
    check_looks(tab)
    expect(only).to_have_value("=sure")
    expect(only).to_have_accessible_description(re.compile("^'=sure' has no header"))
    tab.get_by_role("alert").get_by_role("link").click()
    only.fill(f"deal_id={DEAL}")
    tab.get_by_role("button", name="Check again").click()
    expect(tab.get_by_role("heading", name="3 emails to change")).to_be_visible()
    check_looks(tab)


def test_a_file_that_is_too_large_is_not_sent(tab: Page) -> None:
    drop(tab, b"x" * (MAX_BYTES + 1), "large.csv")
    expect(tab.get_by_role("alert")).to_contain_text("large.csv is too large")
    tab.get_by_role("button", name="Check the mapping").click()
    expect(tab.get_by_role("heading", name="New mapping")).to_be_visible()
    drop(tab, mapping(), "small.csv")
    expect(tab.get_by_role("alert")).to_have_count(0)


def test_several_files_are_not_taken(tab: Page) -> None:
    drop(tab, mapping(), "one.csv", "two.csv")
    expect(tab.get_by_role("alert")).to_contain_text("Drop one file.")


def test_the_whole_way_works_without_javascript(chromium: Browser, url: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(url)
    tab.get_by_role("link", name="New mapping").click()
    tab.get_by_label("CSV, JSON").set_input_files(
        {"name": "m.csv", "mimeType": "text/csv", "buffer": mapping()}
    )
    tab.get_by_role("button", name="Check the mapping").press("Enter")
    tab.get_by_role("button", name="Seal this plan").press("Enter", timeout=20_000)
    expect(tab.get_by_role("button", name="Approve and start")).to_be_visible()
    context.close()
