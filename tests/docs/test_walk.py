"""The README's walk: a change is planned, approved, tried, sent, verified and taken back."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.docs.test_readme import README, clean_env, run

_WALK = README.partition("## Change 200,000 links without fear")[2].partition("```shell\n")[2]
COMMANDS = [line.partition("#")[0].split() for line in _WALK.partition("```")[0].splitlines()]
EMAILS = 260
"""Enough for a canary."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in which half of the emails are on a wrong deal, and a mapping that mends it."""
    folder = tmp_path_factory.mktemp("walk")
    recipe = ["--messages", str(EMAILS), "--contacts", "13", "--linked-wrong", "0.5"]
    done = run(
        ["bulklink", "generate", *recipe, "--linked-right", "0.1", "--out", "."],
        folder,
        clean_env(folder),
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def env(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a user whose org is the emulator of that world."""
    command = [sys.executable, "-m", "bulklink", "emulator", "--world", str(folder / "world.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as emulator:
        assert emulator.stdout is not None
        url = orjson.loads(emulator.stdout.readline())["url"]
        connection = {
            "BULKLINK_API_URL": url,
            "BULKLINK_ACCOUNTS_URL": url,
            "BULKLINK_CLIENT_ID": "demo",
            "BULKLINK_CLIENT_SECRET": "demo",
            "BULKLINK_REFRESH_TOKEN": "demo",
        }
        try:
            yield clean_env(folder) | connection
        finally:
            emulator.terminate()


def links(env: dict[str, str]) -> dict[str, str | None]:
    """Return the deal of each email, as the CRM has it now."""
    with urllib.request.urlopen(env["BULKLINK_API_URL"] + "/_emulator/state") as answer:
        world = orjson.loads(answer.read())["world"]
    return {email["message_id"]: email["deal_id"] for email in world["emails"]}


def test_the_walk_changes_the_links_and_takes_them_back(folder: Path, env: dict[str, str]) -> None:
    assert [command[1] for command in COMMANDS] == [
        *("fetch", "plan", "plan", "apply", "verify", "undo", "undo")
    ]
    before = links(env)
    digest, wanted = "", wanted_deals(folder)
    seen: list[dict[str, str | None]] = []
    said: list[str] = []
    for command in COMMANDS:
        done = run([digest if word == "DIGEST" else word for word in command], folder, env)
        assert done.returncode == 0, (command, done.stderr.decode())
        said.append((done.stdout + done.stderr).decode())
        found = re.search(r"Digest: (\w+)", said[-1])
        digest = found[1] if found else digest
        seen.append(links(env))
    compared, _, applied, verified, undoable, _ = said[1:]
    assert "130 emails move" in compared
    assert "26 already right" in compared
    assert seen[2] == before, "planning changes nothing"
    assert seen[3] == wanted
    assert "Canary: passed" in applied
    assert "at most" in verified
    assert seen[5] == wanted, "a dry run changes nothing"
    assert "234" in undoable
    assert seen[6] == before


def wanted_deals(folder: Path) -> dict[str, Any]:
    """Return the deal that the mapping wants each email on."""
    header, *rows = (folder / "mapping.csv").read_text(encoding="utf-8").splitlines()
    message, deal = header.split(",").index("message_id"), header.split(",").index("deal_id")
    return {cells[message]: cells[deal] for cells in (row.split(",") for row in rows)}
