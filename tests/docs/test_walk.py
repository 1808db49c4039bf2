"""A new user: the wheel in an empty environment, and the README from top to bottom.

Only the README and the wheel of the checkout are used. Every block of the README is run as written,
or listed below with its replacement and the reason.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.docs.dists import ROOT, UV, bare_environment, build_dists
from tests.e2e.servers import connection

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
REPLACED = {
    "pipx install .": "done by uv, as below; tests/docs/test_install.py runs it",
    "uv tool install .": "done by uv, as below; tests/docs/test_install.py runs it",
    "python3 -m venv .venv": "`uv venv .venv`, which is faster",
    ".venv/bin/pip install .": "`uv pip install` of the wheel that is built from `.`",
    "make demo": "`bulklink demo`, which the Makefile runs; the README shows its output",
    "make test": "nothing: `make test` runs this test",
}
"""Lines that are not run as written, and what replaces them."""
EMAILS = 260
"""Number of emails, enough for a canary."""
_UNREACHABLE = ("Failed to fetch", "error sending request", "Could not connect")
_NUMBER = re.compile(r"\d{4}-\d\d-\d\d [\d:]{8}[+-]\d\d:\d\d|\d[\d,.]*|runs/\S+/")


@dataclass
class Reader:
    """A user who follows the README in an empty folder."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    digest: str = ""

    def run(self, *command: str | Path, code: int = 0) -> str:
        """Run a command that must end with this exit code, and return what it printed."""
        process = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=50,
        )
        output = process.stdout.decode()
        assert process.returncode == code, (command, output)
        return output

    def run_line(self, line: str) -> str:
        """Run a command as written; DIGEST is replaced by the digest that a plan printed before."""
        words = line.partition("#")[0].split()
        output = self.run(*(self.digest if word == "DIGEST" else word for word in words))
        match = re.search(r"Digest: (\w+)", output)
        self.digest = match[1] if match else self.digest
        return output


@pytest.mark.timeout(300)  # uv's cache may be empty
def test_the_readme_is_followed_from_top_to_bottom(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "home", bare_environment(tmp_path))
    reader.folder.mkdir()
    shipped = _install(reader, build_dists(tmp_path / "dist").wheel)
    world = shipped / "demo" / "world.json"
    (reader.folder / "mapping.csv").write_bytes((shipped / "demo" / "mapping.csv").read_bytes())
    with _local_crm(reader, world) as variables:
        for language, text in BLOCKS:
            if language == "sh":
                _follow(reader, text, variables)
            elif language == "shell" and "bulklink audit" in text:
                _follow_the_audit(reader, text, tmp_path / "audit")
            elif language == "shell":
                _follow_the_change(reader, text, tmp_path / "change")
            elif language == "python":
                reader.env |= variables
                printed = reader.run("python", "-c", text)
                assert re.fullmatch(r"\d+ of 150\n", printed)
            elif language == "csv":
                _plan_what_is_shown(reader, text, tmp_path / "shown")
            elif language == "console":
                continue  # the output of the demo, which _see_the_demo compares
            else:
                pytest.fail(f"the walk does not know {text!r}")


def _follow(reader: Reader, block: str, variables: Mapping[str, str]) -> None:
    """Run the lines of a block against the local CRM."""
    for line in block.splitlines():
        command = line.partition("#")[0].strip()
        if command == "make demo":
            _see_the_demo(reader)
        elif command not in REPLACED:
            assert command.startswith("bulklink "), f"the walk does not know {command!r}"
            reader.env |= variables
            reader.run_line(line)


def _see_the_demo(reader: Reader) -> None:
    """Compare the output of the demo with that in the README, except for numbers."""
    (expected_text,) = (text for language, text in BLOCKS if language == "console")
    command, _, expected = expected_text.removeprefix("$ ").partition("\n")
    output = reader.run(*command.split())
    assert sorted(_normalize_lines(output)) == sorted(_normalize_lines(expected))  # two streams


def _follow_the_change(reader: Reader, block: str, folder: Path) -> None:
    """Plan, approve, send, verify and undo a change in a world with wrong links."""
    folder.mkdir()
    walker = Reader(folder, dict(reader.env))
    recipe = ["--messages", str(EMAILS), "--contacts", "13", "--linked-wrong", "0.5"]
    walker.run("bulklink", "generate", *recipe, "--linked-right", "0.1", "--out", ".")
    with _local_crm(walker, folder / "world.json") as variables:
        walker.env |= variables
        before, expected_links = _links(variables), _expected_links(folder)
        outputs, link_states = [], []
        *lines, last_line = block.splitlines()
        for line in (*lines, "bulklink undo change --dry-run", last_line):
            outputs.append(walker.run_line(line))
            link_states.append(_links(variables))
    _, compared, _, applied, verified, undoable, _ = outputs
    assert "130 emails move" in compared
    assert "26 already right" in compared
    assert link_states[2] == before, "planning changes nothing"
    assert link_states[3] == expected_links
    assert "Canary passed" in applied
    assert "at most" in verified
    assert link_states[5] == expected_links, "a dry run changes nothing"
    assert "234" in undoable
    assert link_states[6] == before


def _follow_the_audit(reader: Reader, block: str, folder: Path) -> None:
    """Find the wrong links of a world of conversations, ask why, and correct them."""
    folder.mkdir()
    walker = Reader(folder, dict(reader.env))
    recipe = ["--kind", "conversations", "--messages", "400", "--out", "."]
    walker.run("bulklink", "generate", *recipe)
    contacts = orjson.loads((folder / "world.json").read_bytes())["contacts"]
    (folder / "contacts.txt").write_text("\n".join(contact["id"] for contact in contacts))
    audit, explain, run = (line.partition("#")[0].split() for line in block.splitlines())
    with _local_crm(walker, folder / "world.json") as variables:
        walker.env |= variables
        assert "Proposed" in walker.run(*audit, code=1)
        header, first = (folder / "mapping.csv").read_text(encoding="utf-8").splitlines()[:2]
        message = first.split(",")[header.split(",").index("message_id")]
        named = [message if word == "MESSAGE_ID" else word for word in explain]
        assert f"Email {message}" in walker.run(*named)
        before = _links(variables)
        assert "finished" in walker.run(*run)
        assert _links(variables) != before


def _plan_what_is_shown(reader: Reader, mapping: str, folder: Path) -> None:
    folder.mkdir()
    (folder / "mapping.csv").write_text(mapping, encoding="utf-8")
    planner = Reader(folder, reader.env)
    output = planner.run("bulklink", "plan", "--op", "link", "mapping.csv", "--json")
    assert orjson.loads(output)["messages"] == 1


def _install(reader: Reader, wheel: Path) -> Path:
    """Install the wheel as the README says; return the folder of the shipped jobs."""
    reader.run(UV, "venv", "--quiet", "--python", sys.executable, ".venv")
    binaries = reader.folder / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / "python"
    process = subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", python, wheel],
        cwd=reader.folder,
        env=reader.env,
        capture_output=True,
        timeout=240,
    )
    error_output = process.stderr.decode()
    if any(text in error_output for text in _UNREACHABLE) and not os.environ.get("CI"):
        pytest.skip(f"the registry of packages cannot be reached: {error_output}")
    assert process.returncode == 0, error_output
    reader.env["PATH"] = f"{binaries}{os.pathsep}{reader.env['PATH']}"
    where = "import bulklink, importlib.util as u; print(bulklink.__file__, u.find_spec('pytest'))"
    file, tests = reader.run(python, "-c", where).split()
    assert Path(file).is_relative_to(reader.folder)
    assert tests == "None", "nothing of the tests is installed"
    return Path(file).parent / "_jobs"


@contextmanager
def _local_crm(reader: Reader, world: Path) -> Iterator[dict[str, str]]:
    """Serve a local CRM, and yield the variables that connect to it."""
    command = ["bulklink", "emulator", "--world", str(world)]
    with subprocess.Popen(
        command, cwd=reader.folder, env=reader.env, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield connection(orjson.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


def _normalize_lines(text: str) -> list[str]:
    """Return lines with every number and run folder replaced, because they differ between runs."""
    return [re.sub(r" +", " ", _NUMBER.sub("#", line)).strip() for line in text.splitlines()]


def _links(variables: Mapping[str, str]) -> dict[str, str | None]:
    """Return the deal of each email, as the CRM has it now."""
    with urllib.request.urlopen(variables["BULKLINK_API_URL"] + "/_emulator/state") as answer:
        world = orjson.loads(answer.read())["world"]
    return {email["message_id"]: email["deal_id"] for email in world["emails"]}


def _expected_links(folder: Path) -> dict[str, Any]:
    """Return the deal that the mapping wants each email on."""
    header, *rows = (folder / "mapping.csv").read_text(encoding="utf-8").splitlines()
    message, deal = header.split(",").index("message_id"), header.split(",").index("deal_id")
    return {cells[message]: cells[deal] for cells in (row.split(",") for row in rows)}


def test_every_replaced_line_is_in_the_readme() -> None:
    lines = {line.partition("#")[0].strip() for _, text in BLOCKS for line in text.splitlines()}
    assert set(REPLACED) <= lines, set(REPLACED) - lines
