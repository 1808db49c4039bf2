"""The page of `bulklink ui` in a browser: the way of a run, by mouse, by keyboard, on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.open_page import weak_texts
from tests.browser.served_ui import (
    EMAILS,
    ServedUi,
    answering_org,
    expect_state,
    press_button,
    press_by_keyboard,
    serve_ui,
)
from tests.e2e.command import Command, ensure_terminated
from tests.e2e.servers import (
    StandIn,
    answer_links,
    hold_calls,
    item_error,
    item_success,
    serve_stand_in,
)
from tests.e2e.world import World

Opener = Callable[..., Page]
RUN = "/runs/march"
_TARGETS = ".button, input:not([type=hidden]), header a"
_HEIGHT = "es => es.map(e => e.getBoundingClientRect().height)"


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep credit usage and tokens in the folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def crm() -> Iterator[StandIn]:
    """Serve a CRM from a thread; its gate is open."""
    with serve_stand_in(World()) as server:
        yield server


@pytest.fixture
def ui(crm: StandIn, tmp_path: Path) -> Iterator[ServedUi]:
    """Serve the page, whose CRM is on this machine, so that no change is to be confirmed."""
    with serve_ui(crm, crm.world, tmp_path) as served:
        yield served
        crm.gate.set()


@pytest.fixture
def remote_ui(crm: StandIn, tmp_path: Path) -> Iterator[ServedUi]:
    """Serve the page, whose CRM is as one on another machine."""
    with serve_ui(crm, crm.world, tmp_path, remote=True) as served:
        yield served
        crm.gate.set()


@pytest.fixture
def open_tab(chromium: Browser) -> Iterator[Opener]:
    """Open an address in a browser that knows nothing of earlier tests."""
    contexts = []

    def open_it(address: str, **options: Any) -> Page:
        context = chromium.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.goto(address)
        return tab

    yield open_it
    for context in contexts:
        context.close()


def check_look(tab: Page) -> None:
    """Check that everything fits, can be read and, on a phone, be touched."""
    tab.wait_for_load_state()  # a page without its style sheets is wider
    width = tab.evaluate("innerWidth")
    assert tab.evaluate("document.documentElement.scrollWidth") == width, tab.url
    assert weak_texts(tab) == [], tab.url
    heights = tab.eval_on_selector_all(_TARGETS, _HEIGHT)
    assert min(heights) >= 40, tab.url


LOOKS = [
    pytest.param(1280, "light", press_button, id="desktop, light, by mouse"),
    pytest.param(390, "dark", press_by_keyboard, id="phone, dark, by keyboard"),
    pytest.param(390, "light", press_button, id="phone, light, by mouse"),
    pytest.param(1280, "dark", press_by_keyboard, id="desktop, dark, by keyboard"),
]


@pytest.mark.parametrize(("width", "scheme", "press"), LOOKS)
def test_a_plan_is_approved_watched_stopped_resumed_verified_and_undone(
    open_tab: Opener, ui: ServedUi, width: int, scheme: str, press: Callable[[Page, str], None]
) -> None:
    ui.plan(settle_after=0.0)
    ui.crm.script = hold_calls(ui.crm, "link", after=3)
    tab = open_tab(ui.url, viewport={"width": width, "height": 800}, color_scheme=scheme)
    check_look(tab)
    tab.get_by_role("link", name="Link emails").click()
    check_look(tab)
    press(tab, "Approve and start")
    expect_state(tab, "running")
    tab.evaluate("window.isTheSamePage = true")
    progress = tab.locator("[data-live=progress]")
    expect(progress).to_have_text(f"{3 * EMAILS} of {12 * EMAILS} rows", timeout=20_000)
    expect(tab.locator("[data-live='counts.done']")).to_have_text(str(3 * EMAILS))
    assert tab.evaluate("window.isTheSamePage"), "the figures change without a reload"
    expect(tab).to_have_title(re.compile("^25% Link emails"))
    check_look(tab)

    press(tab, "Stop gently")
    expect_state(tab, "stopping")
    ui.crm.gate.set()
    expect_state(tab, "stopped")
    expect(tab.get_by_role("button", name="Resume")).to_be_visible()  # the page was reloaded
    check_look(tab)
    assert 0 < ui.linked() < 12 * EMAILS
    press(tab, "Resume")
    expect_state(tab, "finished")
    assert ui.linked() == 12 * EMAILS

    press(tab, "Verify")
    expect(tab.get_by_role("status").filter(has_text="Verified")).to_have_text(
        f"Verified {12 * EMAILS} emails: {12 * EMAILS} as recorded.", timeout=30_000
    )
    check_look(tab)
    press(tab, "Plan an undo")
    expect(tab.locator("h1")).to_contain_text("Undo a run")
    check_look(tab)
    assert ui.linked() == 12 * EMAILS, "a plan changes nothing"
    press(tab, "Approve and start")
    expect_state(tab, "finished")
    assert ui.linked() == 0
    tab.goto(ui.address(RUN))
    expect_state(tab, "undone")
    check_look(tab)


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lists_messages_and_long_names_fit(
    open_tab: Opener, ui: ServedUi, width: int, scheme: str
) -> None:
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": 800},
        "color_scheme": scheme,
    }
    tab = open_tab(ui.url, **options)
    expect(tab.get_by_text("There is no run yet.")).to_be_visible()
    check_look(tab)
    ui.plan("Donaudampfschifffahrtsgesellschaft" * 5, contacts=1)
    (ui.runs / "damaged").mkdir()
    (ui.runs / "damaged" / "run.json").write_text("{")
    tab.reload()
    expect(tab.locator(".card")).to_have_count(2)
    check_look(tab)
    tab.goto(ui.address("/runs/damaged"))
    expect(tab.locator("h1")).to_have_text("This cannot be done")
    check_look(tab)
    tab.goto(ui.address("/nothing"))
    check_look(tab)


def test_every_control_has_a_name_and_the_focus_is_seen(open_tab: Opener, ui: ServedUi) -> None:
    ui.plan(contacts=1)
    tab = open_tab(ui.address(RUN))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    unnamed = [
        line
        for line in tab.locator("body").aria_snapshot().splitlines()
        if line.strip(" -:") in ("button", "textbox", "link", "progressbar")
    ]
    assert unnamed == []
    for _ in range(4):
        tab.keyboard.press("Tab")
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", tab.evaluate("document.activeElement.outerHTML")


def test_without_scripts_status_and_report_still_show(open_tab: Opener, ui: ServedUi) -> None:
    ui.plan(settle_after=0.0)
    ui.crm.script = hold_calls(ui.crm, "link", after=3)
    tab = open_tab(ui.address(RUN), java_script_enabled=False)
    press_button(tab, "Approve and start")
    expect_state(tab, "running")
    expect(tab.locator("[data-live=progress]")).to_have_text(
        f"{3 * EMAILS} of {12 * EMAILS} rows", timeout=30_000
    )
    ui.crm.gate.set()
    expect_state(tab, "finished")
    tab.get_by_role("link", name="Report").click()
    expect(tab.locator("h1")).to_have_text("Link emails to deals")


def test_the_question_of_a_failed_canary_is_answered_on_the_page(
    open_tab: Opener, ui: ServedUi
) -> None:
    ui.plan(canary=None, settle_after=0.0)
    ui.crm.script = answer_links(ui.crm, lambda _, message: item_success(message))
    tab = open_tab(ui.address(RUN))
    press_button(tab, "Approve and start")
    question = tab.get_by_role("region", name="Send the 220 other emails anyway?")
    expect(question).to_be_visible(timeout=30_000)
    expect_state(tab, "waits for your answer")
    assert tab.evaluate("document.activeElement.id") == "question"
    check_look(tab)
    press_button(tab, "No")
    expect_state(tab, "stopped")
    expect(tab.get_by_role("button", name="Send the rest without another canary")).to_be_visible()
    assert len(ui.crm.requests_of("link")) == 1


def test_a_change_of_a_production_org_needs_the_number_typed(
    open_tab: Opener, remote_ui: ServedUi
) -> None:
    ui = remote_ui
    ui.plan(contacts=3, settle_after=0.0)
    ui.crm.script = answering_org("Production")
    tab = open_tab(ui.address(RUN))
    press_button(tab, "Approve and start")
    question = tab.get_by_role("region", name="Link: change 60 emails of Zylker (Production)?")
    expect(question).to_be_visible(timeout=30_000)
    check_look(tab)
    press_button(tab, "Yes")
    expect(tab.locator("main")).to_contain_text("Nothing was confirmed")
    assert ui.linked() == 0
    tab.get_by_role("link", name="Back").click()
    field = tab.get_by_label("To confirm, type 60")
    field.fill("6")
    field.press("Enter")
    expect(tab.locator("main")).to_contain_text("Nothing was confirmed")
    tab.get_by_role("link", name="Back").click()
    field.fill("60")
    field.press("Enter")
    expect_state(tab, "finished")
    assert ui.linked() == 60


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_failures_are_looked_through_row_by_row(
    open_tab: Opener, ui: ServedUi, width: int, scheme: str
) -> None:
    ui.plan(contacts=8, settle_after=0.0)

    def refuse_ten(place: int, message: str) -> dict[str, Any] | None:
        return item_error("INVALID_DATA", message) if place >= EMAILS - 10 else None

    ui.crm.script = answer_links(ui.crm, refuse_ten)
    viewport = {"width": width, "height": 800}
    tab = open_tab(ui.address(RUN), viewport=viewport, color_scheme=scheme)
    press_button(tab, "Approve and start")
    expect_state(tab, "finished, not all done")
    check_look(tab)
    tab.get_by_role("link", name="INVALID_DATA").click()
    expect(tab.locator("tbody tr")).to_have_count(50)
    expect(tab.locator("tbody tr").first).to_contain_text("refused")
    check_look(tab)
    tab.get_by_role("link", name="Next 50").click()
    expect(tab.get_by_text("Page 2 of 2")).to_be_visible()
    expect(tab.locator("tbody tr")).to_have_count(8 * 10 - 50)
    check_look(tab)
    tab.get_by_role("link", name="All codes").click()
    expect(tab.get_by_role("heading", name="Failures by code")).to_be_visible()
    check_look(tab)


def test_a_question_answered_in_one_window_is_gone_in_the_other(
    open_tab: Opener, remote_ui: ServedUi
) -> None:
    ui = remote_ui
    ui.plan(contacts=1, settle_after=0.0)
    tab = open_tab(ui.address(RUN))
    press_button(tab, "Approve and start")
    expect(tab.locator(".question")).to_be_visible(timeout=30_000)
    other = open_tab(ui.address(RUN))
    expect(other.locator(".question")).to_be_visible()
    press_button(tab, "No")
    expect_state(other, "waits for approval")
    expect(other.get_by_role("alert")).to_contain_text("Not confirmed; nothing was changed.")
    assert ui.linked() == 0


def test_a_run_of_a_terminal_is_shown_live_and_not_stopped_here(
    open_tab: Opener, ui: ServedUi, tmp_path: Path
) -> None:
    ui.plan(settle_after=0.0)
    ui.crm.script = hold_calls(ui.crm, "link", after=3)
    terminal = Command(tmp_path).with_env(**ui.crm.env())
    with ensure_terminated(terminal.start("apply", "runs/march", "--json")) as process:
        ui.crm.wait_until(lambda: len(ui.crm.requests_of("link")) == 4)
        tab = open_tab(ui.address(RUN))
        expect_state(tab, "running")
        expect(tab.get_by_text("It is stopped where it was started.")).to_be_visible()
        expect(tab.get_by_role("button")).to_have_count(0)
        expect(tab.locator("[data-live='counts.done']")).to_have_text(
            str(3 * EMAILS), timeout=20_000
        )
        ui.crm.gate.set()
        expect_state(tab, "finished")
        assert process.wait(30) == 0
    expect(tab.locator("[data-live='counts.done']")).to_have_text(str(12 * EMAILS))


def test_a_page_whose_server_is_gone_says_so(
    open_tab: Opener, crm: StandIn, tmp_path: Path
) -> None:
    with serve_ui(crm, crm.world, tmp_path) as ui:
        ui.plan(settle_after=0.0)
        crm.script = hold_calls(crm, "link", after=3)
        tab = open_tab(ui.address(RUN))
        press_button(tab, "Approve and start")
        expect(tab.locator("[data-live=progress]")).to_have_text(
            f"{3 * EMAILS} of {12 * EMAILS} rows", timeout=20_000
        )
        tab.context.set_offline(True)
        crm.gate.set()
        expect(tab.locator("#gone")).to_contain_text("does not answer", timeout=30_000)
        tab.context.set_offline(False)
        expect_state(tab, "finished")
        expect(tab.locator("#gone")).to_be_hidden()
