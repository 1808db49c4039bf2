"""Every command reads and writes files of any name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import Command, CommandResult, row, rows, write_mapping
from tests.e2e.servers import Emulator
from tests.e2e.world import Contact

DECOYS = {
    "year=[a]*?": "year=a1x",
    "~": "x",
    "a\\[b]": "a[b]",
    "q'\"|;%41{a,b}$HOME\n": "q",
    os.fsdecode(b"\xff[\xe9]\xfe"): "x",
    "-m.gz": "m",
}
"""Names of folders and files, and of others beside them that some would be taken for."""
LINK = ("plan", "--op", "link")
SKIP = ("--on-invalid", "skip", "--json")
GENERATE = ("generate", "--messages", "9", "--contacts", "1")


class Files:
    """Files of one name in a folder of that name.

    Args:
        folder: folder of the test.
        name: the name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self.name = name
        (folder / name).mkdir()

    @property
    def folder(self) -> str:
        """The folder, as typed."""
        return f"./{self.name}" if self.name.startswith("-") else self.name

    def __call__(self, suffix: str) -> str:
        """Return a path as it is typed in the folder of the test; it has no `./` unless needed."""
        return f"{self.folder}/{self.name}{suffix}"

    def path(self, suffix: str) -> Path:
        """Return the same path, absolute."""
        return self._folder / self(suffix)

    def notes(self, suffix: str) -> set[str]:
        """Return the notes in an exported file."""
        with self.path(suffix).open(encoding="utf-8", newline="") as file:
            return {line["Note"] for line in csv.DictReader(file)}


def succeed(command: Command, *arguments: str) -> CommandResult:
    """Run a command that succeeds, and return its result."""
    result = command(*arguments)
    assert result.code == 0, (arguments, result)
    return result


@pytest.fixture(params=DECOYS.items(), ids=lambda item: ascii(item[0]))
def files(
    request: pytest.FixtureRequest, connected_command: Command, contact: Contact
) -> Iterator[Files]:
    """Mappings of one name, next to decoys with other content that must stay unchanged."""
    name, decoy_name = request.param
    folder = connected_command.folder
    files, decoys = Files(folder, name), Files(folder, decoy_name)
    bad = row(contact.free[5], contact.a, Note="refused") | {"owner_id": "x"}
    for suffix in (".csv", ".jsonl"):
        write_mapping(files.path(suffix), [*rows(contact.free[:4], contact.a, Note="right"), bad])
        decoy_rows = [*rows(contact.free[:4], contact.b, Note="decoy"), bad]
        write_mapping(decoys.path(suffix), decoy_rows)
        write_mapping(folder / name / f"{decoy_name}{suffix}", decoy_rows)
    for suffix in (".csv", ".parquet", ".xlsx"):
        decoys.path(f"-fetched{suffix}").write_text("decoy")
    planned = connected_command(*LINK, decoys(".csv"), "--run-dir", decoys("-run"), *SKIP)
    assert planned.object["messages"] == 4
    before = {path: path.read_bytes() for path in (folder / decoy_name).rglob("*.*")}
    yield files
    assert {path: path.read_bytes() for path in before} == before


def test_a_plan_is_sealed_sent_and_inspected(
    connected_command: Command, contact: Contact, emulator: Emulator, files: Files
) -> None:
    command, run = connected_command, files("-run")
    assert command(*LINK, files(".csv"), "--run-dir", run, *SKIP).object["messages"] == 4
    assert command("apply", run, "--log", files(".log"), "--json").object["counts"]["done"] == 4
    links = emulator.links()
    assert {links[email.message] for email in contact.free[:4]} == {contact.a}
    succeed(command, "status", run, "--check", "--json")
    for suffix in (".csv", ".jsonl", ".parquet", ".xlsx"):
        succeed(command, "export", run, "-o", files(f"-out{suffix}"))
    assert files.notes("-out.csv") == {"right", "refused"}
    succeed(command, "report", run)
    succeed(command, "report", run, "-o", files(".html"))
    succeed(command, "verify", run, "--settle-after", "0", "--log", files(".log"))
    for again in ("resume", "retry"):
        assert command(again, run, "--json").object["counts"]["done"] == 4
    history = ("history", contact.free[0].message, "--runs-dir", files.folder, "--json")
    assert {event["deal_id"] for event in succeed(command, *history).object["events"]} >= {
        contact.a
    }
    assert command("status", "--runs-dir", files.folder, "--json").object["runs"]
    rejects = Path(run, "rejects.csv")
    mended = (
        (command.folder / rejects).read_text("utf-8").replace(",x,", f",{contact.free[5].owner},")
    )
    files.path(".csv").write_text(mended, "utf-8")
    succeed(command, "link", files(".csv"), "--run-dir", files("-link"), "--yes")
    succeed(command, "forget", run)
    succeed(command, *GENERATE, "--out", files("-world"))


def test_emails_are_fetched_compared_with_and_changed_by_a_job(
    connected_command: Command, contact: Contact, emulator: Emulator, files: Files
) -> None:
    command = connected_command
    files.path(".ids").write_text(contact.id)
    for suffix in (".csv", ".parquet", ".xlsx"):
        fetched = files(f"-fetched{suffix}")
        succeed(command, "fetch", f"@{files('.ids')}", "-o", fetched, "--json")
        compared = command(*LINK, files(".jsonl"), "--compare-with", fetched, *SKIP)
        assert compared.object["compare"]["linked"] == 4
    succeed(command, "fetch", "--from-mapping", files(".csv"), "-o", files("-2.csv"), "--json")
    mapping = (
        f"{files.name}.jsonl" if files.name.isascii() and files.name.isprintable() else "m.jsonl"
    )
    write_mapping(files.path(".csv").with_name(mapping), rows(contact.free[:4], contact.a))
    files.path(".toml").write_text(f'op = "relink"\nmapping = {json.dumps(mapping)}\n')
    relinked = command("run", files(".toml"), "--run-dir", files("-relink"), "--json")
    assert relinked.object["counts"]["done"] == 4
    links = emulator.links()
    assert {links[email.message] for email in contact.free[:4]} == {contact.a}
    undo = ("undo", files("-relink"), "--run-dir", files("-undo"), "--yes", "--json")
    assert command(*undo).object["counts"]["done"] == 4
    write_mapping(files.path(".csv"), rows(contact.free[:4]))
    succeed(command, "unlink", files(".csv"), "--runs-dir", files("-runs"), "--yes")
