"""Proposals of an audit on the page of `bulklink ui`: reviewed, accepted, sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Frame, Page, expect
from yarl import URL

from bulklink import Connection
from bulklink.finding.verdicts import Tier
from bulklink.operations.environment import real_environment
from bulklink.ui.commands import Commands
from tests.browser.open_page import weak_texts
from tests.browser.served_ui import (
    Presser,
    expect_state,
    press_button,
    press_by_keyboard,
    serve_in_thread,
)
from tests.browser.test_review import audit_of
from tests.e2e.command import Command
from tests.e2e.mixed_up import all_contacts, deal_id, message_id, mixed_up_world
from tests.e2e.servers import Emulator, serve_world_file
from tests.html_pages.review.audits import usual_contact

CONTACTS = 2
EMAILS = 2 * CONTACTS
"""Emails of the world that an audit is sure about."""
EVIL = '</script><script>document.title = "run"</script><img src=x onerror="document.title=1">'
LOOKS = [
    pytest.param(1280, "light", press_button, id="desktop, light, by mouse"),
    pytest.param(390, "dark", press_by_keyboard, id="phone, dark, by keyboard"),
]


class AuditedUi(msgspec.Struct, frozen=True):
    """A served page beside whose folder of runs audits are.

    Args:
        url: its address, with the token.
        folder: folder of the audits, which contains that of the runs.
        emulator: the CRM.
    """

    url: str
    folder: Path
    emulator: Emulator

    @property
    def token(self) -> str:
        """The token of the page."""
        return URL(self.url).query["token"]


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep credit usage and tokens in the folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def ui(tmp_path: Path) -> Iterator[AuditedUi]:
    """Serve the page, with an emulator behind it."""
    world = tmp_path / "world.json"
    world.write_text(json.dumps(mixed_up_world(CONTACTS)), "utf-8")
    with serve_world_file(world, "--tokens-per-window", "0") as emulator:

        def connect(profile: str | None) -> Connection:
            del profile
            return Connection.from_values(
                api_url=emulator.url,
                accounts_url=emulator.url,
                client_id="demo",
                client_secret="demo",
                refresh_token="demo",
            )

        with serve_in_thread(Commands(tmp_path / "runs", connect, real_environment())) as url:
            yield AuditedUi(url, tmp_path, emulator)


Opener = Callable[..., Page]


@pytest.fixture
def open_tab(chromium: Browser, ui: AuditedUi) -> Iterator[Opener]:
    """Open the page in a browser that knows nothing of earlier tests."""
    contexts = []

    def open_it(init: str = "", **options: Any) -> Page:
        context = chromium.new_context(**options)
        contexts.append(context)
        if init:
            context.add_init_script(init)
        tab = context.new_page()
        tab.goto(ui.url)
        return tab

    yield open_it
    for context in contexts:
        context.close()


def open_audit(tab: Page, name: str = "m") -> Frame:
    """Open an audit of the list, and return the frame of its review page."""
    tab.get_by_role("link", name="Audits").click()
    tab.get_by_role("link", name=name, exact=True).click()
    return review_frame(tab)


def review_frame(tab: Page) -> Frame:
    """Return the frame of the review page once that can be used."""
    frame = tab.frame_locator("iframe")
    expect(frame.locator("#app")).to_be_visible(timeout=20_000)
    return tab.frames[1]


def check_looks(tab: Page) -> None:
    """See that nothing is wider than the screen, and every text can be read."""
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert weak_texts(tab) == []


@pytest.mark.parametrize(("width", "scheme", "press"), LOOKS)
def test_what_is_accepted_becomes_a_draft_is_sealed_approved_and_sent(
    open_tab: Opener, ui: AuditedUi, width: int, scheme: str, press: Presser
) -> None:
    bulklink = Command(ui.folder).with_env(**ui.emulator.env())
    words = ("-o", "m.csv", "--rate", "off", "--json")
    assert bulklink.run_in_subprocess("audit", *all_contacts(CONTACTS), *words).code == 1
    tab = open_tab(viewport={"width": width, "height": 800}, color_scheme=scheme)
    frame = open_audit(tab)
    check_looks(tab)
    check = tab.locator("[data-check]")
    expect(check).to_have_text("Nothing is accepted yet")
    expect(check).to_be_disabled()
    frame.locator("#accept-sure").click()
    expect(check).to_have_text(f"Check {EMAILS} accepted emails")
    check_looks(tab)
    with tab.expect_download() as downloaded:
        frame.locator("#download").click()
    assert downloaded.value.suggested_filename == "m.reviewed.csv"
    press(tab, f"Check {EMAILS} accepted emails")
    expect(tab.get_by_role("heading", name=f"{EMAILS} emails to change")).to_be_visible(
        timeout=20_000
    )
    expect(tab.locator("h1")).to_have_text("m.reviewed.jsonl")
    press(tab, "Seal this plan")
    before = ui.emulator.links()
    press(tab, "Approve and start")
    expect_state(tab, "finished")
    deals = ui.emulator.links()
    assert deals != before
    for number in range(CONTACTS):
        for place in (0, 2):
            assert deals[message_id(number, place)] == deal_id(number, 0)


def test_decisions_survive_a_reload_and_are_those_that_are_taken(
    open_tab: Opener, ui: AuditedUi
) -> None:
    audit_of(ui.folder, [usual_contact(n, Tier.SURE) for n in range(3)])
    tab = open_tab()
    frame = open_audit(tab)
    expect(frame.locator("#not-stored")).to_be_hidden()
    frame.locator("#list").press("a")
    expect(tab.locator("[data-check]")).to_have_text("Check 2 accepted emails")
    tab.reload()
    frame = review_frame(tab)
    expect(tab.locator("[data-check]")).to_have_text("Check 2 accepted emails")
    frame.locator("#list").press("End")
    frame.locator("#list").press("a")
    expect(tab.locator("[data-check]")).to_have_text("Check 4 accepted emails")
    tab.locator("[data-check]").click()
    expect(tab.get_by_role("heading", name="4 emails to change")).to_be_visible(timeout=20_000)
    tab.go_back()
    review_frame(tab)
    expect(tab.locator("[data-check]")).to_have_text("Check 4 accepted emails")


def test_hostile_texts_of_emails_do_nothing(open_tab: Opener, ui: AuditedUi) -> None:
    contact = usual_contact(0, Tier.SURE)
    evil = [
        msgspec.structs.replace(
            verdict, email=msgspec.structs.replace(verdict.email, subject=EVIL, owner_name=EVIL)
        )
        for verdict in contact
    ]
    audit_of(ui.folder, [evil], "<b>evil.csv")
    tab = open_tab()
    frame = open_audit(tab, "<b>evil")
    assert frame.evaluate("document.title") not in ("run", "1")
    frame.locator("#list").press("a")
    tab.get_by_role("button", name="Check 2 accepted emails").click()
    expect(tab.get_by_role("heading", name="2 emails to change")).to_be_visible(timeout=20_000)
    assert tab.locator("img").count() == 0
    assert not list((ui.folder / "runs").glob("*/run.json")), "nothing is sealed by itself"


ATTEMPTS = {
    "post": """fetch(ORIGIN + "/new", {method: "POST", body: new URLSearchParams({token: TOKEN})})
        .then(() => "sent", () => "refused")""",
    "post without CORS": """fetch(ORIGIN + "/new", {method: "POST", mode: "no-cors",
        body: new URLSearchParams({token: TOKEN})}).then(() => "sent", () => "refused")""",
    "read": """fetch(ORIGIN + "/?token=" + TOKEN).then(() => "read", () => "refused")""",
    "parent": """(() => { try { return parent.document.title; } catch { return "refused"; } })()""",
    "address of the parent": """(() => { try { return parent.location.href; }
        catch { return "refused"; } })()""",
    "navigate": """(() => { try { top.location = "about:blank"; return "gone"; }
        catch { return "refused"; } })()""",
    "window": """window.open(ORIGIN + "/?token=" + TOKEN) === null ? "refused" : "opened" """,
    "storage": """(() => { try { return String(localStorage.length); } catch { return "refused"; }
        })()""",
    "cookies": """(() => { try { return document.cookie; } catch { return "refused"; } })()""",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_code_in_the_frame_reaches_nothing(open_tab: Opener, ui: AuditedUi, attempt: str) -> None:
    audit_of(ui.folder, [usual_contact(0, Tier.SURE)])
    tab = open_tab()
    frame = open_audit(tab)
    origin = str(URL(ui.url).origin()).rstrip("/")
    script = attempt.replace("ORIGIN", repr(origin)).replace("TOKEN", repr(ui.token))
    assert frame.evaluate(script) == "refused"
    assert ui.token not in frame.evaluate("location.href + document.referrer + document.baseURI")
    assert ui.token not in frame.content()
    expect(tab.locator("h1")).to_have_text("m")
    assert not (ui.folder / "runs").exists()


def test_a_form_of_the_frame_is_not_sent(open_tab: Opener, ui: AuditedUi) -> None:
    audit_of(ui.folder, [usual_contact(0, Tier.SURE)])
    tab = open_tab()
    frame = open_audit(tab)
    seen: list[str] = []
    tab.on("request", lambda request: seen.append(request.method))
    frame.evaluate(
        """() => {
          const form = document.createElement("form");
          form.method = "post";
          form.target = "_top";
          form.action = "/new";
          document.body.append(form);
          form.submit();
        }"""
    )
    tab.get_by_role("link", name="Runs", exact=True).click()
    expect(tab.locator("h1")).to_have_text("Runs")
    assert "POST" not in seen


CAPTURE = """if (window.parent !== window) {
  window.addEventListener("message", (event) => { [window.stolen] = event.ports; });
}"""


def test_a_frame_that_lies_about_its_emails_is_not_believed(
    open_tab: Opener, ui: AuditedUi
) -> None:
    """Rows that nobody asked for are dropped; a number that is wrong is shown, and asked again."""
    audit_of(ui.folder, [usual_contact(0, Tier.SURE)])
    tab = open_tab(init=CAPTURE)
    frame = open_audit(tab)
    check = tab.locator("[data-check]")
    frame.locator("#list").press("a")
    expect(check).to_have_text("Check 2 accepted emails")
    rows = "rows: [[1], [2], [3]], columns: ['message_id']"
    frame.evaluate("stolen.postMessage({ rows: [[1], [2]], columns: ['message_id'] })")
    frame.evaluate(f"parent.postMessage({{{rows}, accepted: 7}}, '*')")
    frame.evaluate("stolen.postMessage({ accepted: '<img src=x>' })")
    frame.evaluate("stolen.postMessage({ accepted: 1 })")
    expect(check).to_have_text("Check 1 accepted email")
    frame.evaluate(f"stolen.onmessage = () => stolen.postMessage({{{rows}}})")
    check.click()
    expect(check).to_have_text("Check 3 accepted emails")
    expect(tab.get_by_role("status").last).to_contain_text("another one now")
    expect(tab.locator("h1")).to_have_text("m")
    assert not (ui.folder / "runs").exists()


def test_a_page_with_a_script_of_its_own_does_not_run_it(open_tab: Opener, ui: AuditedUi) -> None:
    files = audit_of(ui.folder, [usual_contact(0, Tier.SURE)])
    page = files.review.read_text("utf-8")
    script = "<script>document.title = 'run'; top.location = 'about:blank'</script>"
    refresh = '<meta http-equiv="refresh" content="0; url=http://evil.example/">'
    files.review.write_text(page.replace("<body>", f"{refresh}<body>{script}"), "utf-8")
    tab = open_tab()
    seen: list[str] = []
    tab.on("request", lambda request: seen.append(request.url))
    tab.get_by_role("link", name="Audits").click()
    tab.get_by_role("link", name="m", exact=True).click()
    expect(tab.locator("h1")).to_have_text("m")
    tab.wait_for_load_state("networkidle")
    assert tab.frames[1].evaluate("document.title") != "run"
    assert {URL(url).origin() for url in seen if url.startswith("http")} == {
        URL(ui.url).origin()
    }, "the frame is led nowhere"


def test_without_scripts_the_downloaded_mapping_is_chosen(open_tab: Opener, ui: AuditedUi) -> None:
    files = audit_of(ui.folder, [usual_contact(0, Tier.SURE)])
    tab = open_tab(java_script_enabled=False)
    tab.get_by_role("link", name="Audits").click()
    tab.get_by_role("link", name="m", exact=True).click()
    tab.get_by_label("Mapping that was downloaded").set_input_files(files.mapping)
    tab.get_by_role("button", name="Check the mapping").press("Enter")
    expect(tab.get_by_role("heading", name="2 emails to change")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_and_an_audit_of_another_version_fit(
    open_tab: Opener, ui: AuditedUi, width: int, scheme: str
) -> None:
    tab = open_tab(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab.get_by_role("link", name="Audits").click()
    expect(tab.get_by_text("There is no audit yet.")).to_be_visible()
    check_looks(tab)
    name = "Donaudampfschifffahrtsgesellschaft" * 4
    (ui.folder / f"{name}.review.html").write_text("<p>an old page</p>", "utf-8")
    tab.reload()
    check_looks(tab)
    tab.get_by_role("link", name=name).click()
    expect(tab.get_by_text("Another version of bulklink made this review page")).to_be_visible()
    expect(tab.locator("iframe")).to_have_count(0)
    check_looks(tab)
