"""The page of `bulklink ui` in a browser, with a scripted CRM behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Page, expect
from yarl import URL

from bulklink import Connection, Job, Op, plan
from bulklink.operations.environment import real_environment
from bulklink.ui.commands import Commands
from bulklink.ui.server import serve_page
from tests.browser.open_page import in_thread
from tests.e2e.command import free_rows, write_mapping
from tests.e2e.servers import ReceivedRequest, Reply, StandIn
from tests.e2e.world import World
from tests.ui.remote_connection import RemoteConnection

EMAILS = 20
"""Emails of a contact, which one call links."""
_ACTIVE = ("running", "stopping", "waits for your answer")
"""States of a run whose page is kept current."""


@contextmanager
def serve_in_thread(commands: Commands) -> Iterator[str]:
    """Serve the page from a thread, and yield its address."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve_page(commands)) as url,
    ):
        try:
            yield url
        finally:
            portal.call(commands.close)


class ServedUi(msgspec.Struct, frozen=True):
    """A served page.

    Args:
        url: its address, with the token.
        runs: the folder of runs.
        crm: the CRM behind it.
        world: what the CRM contains.
    """

    url: str
    runs: Path
    crm: StandIn
    world: World

    @property
    def origin(self) -> str:
        """Scheme, host and port of the page."""
        return str(URL(self.url).origin()).rstrip("/")

    @property
    def token(self) -> str:
        """The token of the page."""
        return URL(self.url).query["token"]

    def address(self, path: str) -> str:
        """Return the address of a path, with the token."""
        return f"{self.origin}{path}?token={self.token}"

    def plan(self, name: str = "march", contacts: int = 12, **options: Any) -> Path:
        """Seal a plan that links the emails of new contacts, a call for each; return its folder."""
        added = [self.world.add(free=EMAILS) for _ in range(contacts)]
        mapping = write_mapping(self.runs.parent / f"{name}.csv", free_rows(added))
        settings: dict[str, Any] = {"canary": 0, "rate": None, "concurrency": 1, "names": False}
        job = Job(
            mappings=(str(mapping),),
            op=Op.LINK,
            run_dir=self.runs / name,
            **(settings | options),
        )
        in_thread(lambda: plan(job))
        return self.runs / name

    def linked(self) -> int:
        """Return the number of emails that are on a deal."""
        return sum(deal is not None for deal in self.crm.links().values())


@contextmanager
def serve_ui(
    crm: StandIn, world: World, folder: Path, *, remote: bool = False
) -> Iterator[ServedUi]:
    """Serve a page with a CRM behind it, which counts as one of another machine if `remote`."""

    def connect(profile: str | None) -> Connection:
        del profile
        connection = Connection.from_values(
            api_url=crm.url,
            accounts_url=crm.url,
            client_id="demo",
            client_secret="demo",
            refresh_token="demo",
        )
        return RemoteConnection.of(connection) if remote else connection

    runs = folder / "runs"
    with serve_in_thread(Commands(runs, connect, real_environment())) as url:
        yield ServedUi(url, runs, crm, world)


def expect_state(tab: Page, state: str) -> None:
    """Wait until the run is in a state, and the page of an ended one has reloaded."""
    expect(tab.locator("h1 .badge")).to_have_text(state, timeout=30_000)
    if state not in _ACTIVE:
        expect(tab.locator('[data-watch]:not([data-watch=""])')).to_have_count(0)


def press_button(tab: Page, name: str) -> None:
    """Press a button by mouse."""
    tab.get_by_role("button", name=name, exact=True).click()


def tab_to(tab: Page, name: str) -> None:
    """Move the focus to a control by the tab key alone.

    A page reloads when a run ends, and only then has its next controls.
    """
    expect(tab.locator("a, button").get_by_text(name, exact=True).first).to_be_visible()
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("(document.activeElement.textContent || '').trim()") == name:
            return
    raise AssertionError(f"no tab leads to {name}")


Presser = Callable[[Page, str], None]


def press_by_keyboard(tab: Page, name: str) -> None:
    """Press a button by keyboard alone."""
    tab_to(tab, name)
    with tab.expect_navigation():
        tab.keyboard.press("Enter")


def answering_org(org_type: str) -> Any:
    """Return a script of a CRM whose org has a type."""

    async def answer(request: ReceivedRequest) -> Reply | None:
        org = {"id": "58", "company_name": "Zylker", "zgid": "9", "type": org_type}
        return Reply(body={"org": [org]}) if request.kind == "org" else None

    return answer
