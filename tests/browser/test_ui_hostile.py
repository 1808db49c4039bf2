"""Hostile pages, names and addresses in a browser that also has the page open get nowhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from yarl import URL

from bulklink.runs.folder import RunFolder
from bulklink.runs.record import InputRecord, OrgRecord, RunRecord, RunState
from tests.browser.open_page import OpenPage, find_chromium, in_thread
from tests.browser.served_ui import ServedUi, serve_ui
from tests.e2e.servers import StandIn, serve_stand_in
from tests.e2e.world import World

EVIL = (
    '</title></script><script>document.title = "run"</script><img src=x onerror="document.title=1">'
)


class EvilSite(msgspec.Struct):
    """A website on another port of this machine.

    Args:
        url: its address.
        html: the page that it serves.
        visits: paths that were requested, with their queries.
    """

    url: str
    html: str = ""
    visits: list[str] = []


@pytest.fixture
def evil() -> Iterator[EvilSite]:
    """Serve a hostile website."""
    site = EvilSite("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.visits.append(self.path)
            body = site.html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedUi]:
    """Serve the page with a plan that waits for approval."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    world = World()
    with serve_stand_in(world) as crm, serve_ui(crm, world, tmp_path) as served:
        served.plan(contacts=1)
        yield served


@pytest.fixture
def context(chromium: Browser, ui: ServedUi) -> Iterator[BrowserContext]:
    """Open a browser where the page is open in another tab."""
    opened = chromium.new_context()
    opened.new_page().goto(ui.url)
    yield opened
    opened.close()


def is_untouched(ui: ServedUi) -> bool:
    record: RunRecord = in_thread(RunFolder(ui.runs / "march").read)
    crm: StandIn = ui.crm
    return record.state is RunState.PLANNED and not record.invocations and not crm.requests


def digest_of(ui: ServedUi) -> str:
    record: RunRecord = in_thread(RunFolder(ui.runs / "march").read)
    return record.digest or ""


def post_form(ui: ServedUi, token: str) -> str:
    return f"""<form method=post action="{ui.origin}/runs/march/apply">
        <input name=token value="{token}"><input name=digest value="{digest_of(ui)}"></form>
        <script>document.forms[0].submit()</script>"""


@pytest.mark.parametrize("knows_token", [False, True], ids=["without the token", "with it"])
def test_a_form_of_another_port_starts_nothing(
    context: BrowserContext, ui: ServedUi, evil: EvilSite, knows_token: bool
) -> None:
    evil.html = post_form(ui, ui.token if knows_token else "f" * 32)
    tab = context.new_page()
    path = "/runs/march/apply"
    with tab.expect_response(lambda response: URL(response.url).path == path) as answer:
        tab.goto(evil.url, wait_until="commit")
    assert answer.value.status == 403
    assert is_untouched(ui)


def test_a_form_in_a_frame_without_an_origin_starts_nothing(
    context: BrowserContext, ui: ServedUi, evil: EvilSite
) -> None:
    form = post_form(ui, ui.token).replace('"', "&quot;")
    evil.html = f'<iframe sandbox="allow-forms allow-scripts" srcdoc="{form}"></iframe>'
    tab = context.new_page()
    seen: list[str] = []
    tab.on("request", lambda request: seen.append(URL(request.url).path))
    for _ in range(20):  # a request of so young a frame is not always reported
        if "/runs/march/apply" in seen:
            break
        tab.goto(evil.url)
    assert "/runs/march/apply" in seen
    assert context.request.get(ui.url).status == 200, "the server has seen the form before this"
    assert is_untouched(ui)


REQUESTS = {
    "fetch": 'fetch("{url}").then(r => r.text())',
    "fetch without CORS": 'fetch("{url}", {{mode: "no-cors"}}).then(r => r.text())',
    "fetch with credentials": 'fetch("{url}", {{credentials: "include"}}).then(r => r.text())',
    "post": 'fetch("{url}", {{method: "POST", body: new URLSearchParams({{a: "b"}})}})'
    ".then(r => r.text())",
    "post with the header": 'fetch("{url}", {{method: "POST",'
    ' headers: {{"X-Bulklink-Token": "{token}"}}}}).then(r => r.text())',
}


@pytest.mark.parametrize("script", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("path", ["/", "/runs/march", "/runs/march/state", "/runs/march/stop"])
def test_another_port_reads_nothing_even_if_it_knew_the_token(
    context: BrowserContext, ui: ServedUi, evil: EvilSite, script: str, path: str
) -> None:
    tab = context.new_page()
    tab.goto(evil.url)
    script = script.format(url=ui.address(path), token=ui.token)
    text = tab.evaluate(f"{script}.catch(error => 'blocked')")
    assert text in ("blocked", "")
    assert is_untouched(ui)


def test_pictures_scripts_and_styles_of_the_page_do_not_load_elsewhere(
    context: BrowserContext, ui: ServedUi, evil: EvilSite
) -> None:
    tab = context.new_page()
    tab.goto(evil.url)
    kinds = {"img": "src", "script": "src", "link": "href"}
    for kind, attribute in kinds.items():
        outcome = tab.evaluate(
            """([kind, attribute, url]) => new Promise((resolve) => {
              const element = document.createElement(kind);
              if (kind === "link") element.rel = "stylesheet";
              element.onload = () => resolve("loaded");
              element.onerror = () => resolve("blocked");
              element[attribute] = url;
              document.head.append(element);
            })""",
            [kind, attribute, ui.address("/assets/ui.js")],
        )
        assert outcome == "blocked", kind


def test_the_page_is_in_no_frame(context: BrowserContext, ui: ServedUi, evil: EvilSite) -> None:
    evil.html = f'<iframe src="{ui.address("/runs/march")}"></iframe>'
    opened = context.new_page()
    opened.goto(evil.url)
    frame = opened.frames[1]
    assert "march" not in frame.content()
    assert frame.get_by_role("button").count() == 0


def test_a_window_that_another_page_opened_is_out_of_its_reach(
    context: BrowserContext, ui: ServedUi, evil: EvilSite
) -> None:
    tab = context.new_page()
    tab.goto(evil.url)
    with context.expect_page() as opened:
        tab.evaluate("url => { window.theirs = window.open(url); }", ui.address("/runs/march"))
    opened.value.wait_for_load_state()
    assert tab.evaluate("window.theirs === null || window.theirs.closed")
    assert opened.value.evaluate("window.opener") is None


def test_a_link_from_the_page_tells_nobody_its_token(
    context: BrowserContext, ui: ServedUi, evil: EvilSite
) -> None:
    tab = context.pages[0]
    evil.html = "<script>document.title = document.referrer || 'none'</script>"
    tab.evaluate(
        """url => {
          const link = document.createElement("a");
          link.href = url;
          document.body.append(link);
          link.click();
        }""",
        evil.url,
    )
    tab.wait_for_url(f"{evil.url}/**")
    assert tab.title() == "none"
    assert not any(ui.token in visit for visit in evil.visits)


def test_a_rebound_name_is_refused(ui: ServedUi, tmp_path: Path) -> None:
    """The name of the attacker's site leads to this machine, so the browser sees one origin."""
    in_thread(partial(_check_rebinding, ui))


def _check_rebinding(ui: ServedUi) -> None:
    port = URL(ui.url).port
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=find_chromium(),
            args=["--host-resolver-rules=MAP evil.example 127.0.0.1"],
        )
        tab = browser.new_page()
        answer = tab.goto(f"http://evil.example:{port}/?token={ui.token}")
        assert answer is not None
        assert answer.status == 421
        assert "march" not in tab.content()
        script = f"""fetch("/runs/march/apply", {{method: "POST",
            headers: {{"X-Bulklink-Token": "{ui.token}"}}}}).then(r => r.status)"""
        assert tab.evaluate(script) == 421
        browser.close()
    assert is_untouched(ui)


@pytest.mark.parametrize("path", ["/", "/runs/march", "/runs/march/report"])
def test_hostile_texts_do_nothing(context: BrowserContext, ui: ServedUi, path: str) -> None:
    def tamper() -> None:
        run = RunFolder(ui.runs / "march")
        record = run.read()
        hostile = record.replace(
            op=EVIL,
            digest=EVIL,
            state=RunState.STOPPED,
            stopped_by=EVIL,
            reason=EVIL,
            org=OrgRecord(EVIL, EVIL, EVIL),
            inputs=(InputRecord(EVIL, EVIL, 1, 1),),
        )
        run.write(hostile)

    in_thread(tamper)
    page = tmp_page(context)
    page.tab.goto(ui.address(path))
    assert page.tab.title() not in ("run", "1")
    assert page.tab.locator("img").count() == 0
    assert {URL(url).origin() for url in page.requests if url.startswith("http")} == {
        URL(ui.origin)
    }
    assert [text for text in page.console_messages if "error" in text.lower()] == []


def tmp_page(context: BrowserContext) -> OpenPage:
    """Return an empty tab whose requests and messages are recorded."""
    return OpenPage(context.new_page(), Path("/dev/null"))


def test_a_cookie_of_another_port_is_no_token(
    context: BrowserContext, ui: ServedUi, evil: EvilSite
) -> None:
    tab = context.new_page()
    tab.goto(evil.url)
    tab.evaluate("token => { document.cookie = `token=${token}`; }", ui.token)
    answer = tab.goto(f"{ui.origin}/")
    assert answer is not None
    assert answer.status == 401
