"""The part of the tutorial that is done in a browser, followed step by step."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bulklink import Connection
from bulklink.operations.environment import real_environment
from bulklink.ui.commands import Commands
from tests.browser.served_ui import serve_in_thread
from tests.browser.test_new_mapping import DROP
from tests.docs.test_tutorial import accept_the_sure_proposals
from tests.docs.tutorial import PAGE
from tests.e2e.command import TIMEOUT, Command
from tests.e2e.servers import Emulator, connection, serve_world_file

MILLISECONDS = 60_000
TEXT = PAGE.read_text("utf-8")
_SECTION = re.compile(r"^## The same in a browser\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_STEP = re.compile(r"^\d\. (.*)$", re.MULTILINE)
_WORD = re.compile(r'\*([^*]+)\*|"([^"]+)"|`([\w.]+\.csv)`')
"""What is pressed or filled in; what is chosen or seen; the file that is dropped."""


def run(command: Command, begin: str) -> None:
    """Run the first command of the tutorial that begins with these words."""
    words = re.search(rf"^\$ bulklink ({begin}.*)$", TEXT, re.MULTILINE)
    assert words, begin
    with command.start(*shlex.split(words[1])) as process:
        _, messages = process.communicate(timeout=TIMEOUT)
    assert process.returncode in (0, 1), messages


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[Emulator]:
    """Serve the world of the tutorial, audited, with the sure proposals accepted."""
    command = Command(tmp_path)
    run(command, "generate")
    with serve_world_file(tmp_path / "crm" / "world.json") as emulator:
        connected = command.with_env(**emulator.env())
        run(connected, "fetch")
        run(connected, "audit --fetched")
        accept_the_sure_proposals(tmp_path)
        yield emulator


@pytest.fixture
def tab(
    chromium: Browser, crm: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """Open the page that `bulklink ui` serves."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings = connection(crm.url)

    def connect(profile: str | None) -> Connection:
        assert profile is None
        return Connection.from_values(
            **{name.removeprefix("BULKLINK_").lower(): text for name, text in settings.items()}
        )

    commands = Commands(tmp_path / "runs", connect, real_environment())
    with serve_in_thread(commands) as url, chromium.new_context() as context:
        page = context.new_page()
        page.goto(url)
        yield page


def links(crm: Emulator) -> list[tuple[str, str, str | None]]:
    """Return contact, message and deal of each email."""
    emails = crm.state()["world"]["emails"]
    return [(email["contact_id"], email["message_id"], email["deal_id"]) for email in emails]


class Reader:
    """A reader who does what the tutorial says, word by word.

    Args:
        tab: the page.
        folder: the folder of the tutorial.
    """

    def __init__(self, tab: Page, folder: Path) -> None:
        self._tab = tab
        self._folder = folder
        self._field = ""

    def do(self, pressed: str, text: str, file: str) -> None:
        """Press, fill in, look or drop; two of the three are empty."""
        if file:
            content = base64.b64encode((self._folder / file).read_bytes()).decode()
            self._tab.evaluate(DROP, [content, [file]])
        elif text and self._field:
            self._tab.get_by_label(self._field).select_option(text)
            self._field = ""
        elif text:
            seen = self._tab.locator("h1 .badge, h2, [role=status]").filter(has_text=text)
            expect(seen.first).to_be_visible(timeout=MILLISECONDS)
        else:
            field = self._tab.get_by_label(pressed, exact=True)
            button = self._tab.get_by_role("button", name=pressed, exact=True)
            link = self._tab.get_by_role("link", name=pressed, exact=True)
            # The page may still be loading.
            field.or_(button).or_(link).first.wait_for(state="attached", timeout=MILLISECONDS)
            if field.count():
                self._field = pressed
            else:
                button.or_(link).first.click(timeout=MILLISECONDS)


@pytest.mark.timeout(300)
def test_the_part_in_the_browser_is_followed_word_for_word(
    tab: Page, crm: Emulator, tmp_path: Path
) -> None:
    section = _SECTION.search(TEXT)
    assert section
    steps = _STEP.findall(section[1])
    assert len(steps) == 5
    reader, before = Reader(tab, tmp_path), set(links(crm))
    changed = []
    for step in steps:
        for words in _WORD.findall(step):
            reader.do(*words)
        changed.append(len(set(links(crm)) - before))
    assert changed == [0, 0, 339, 339, 0], "what each step has changed in the CRM"
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 2
