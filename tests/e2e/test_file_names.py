"""Every command takes and makes the files that are named, whatever their names are."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from tests.e2e.command import Command, CommandResult, as_csv, row, rows, write_mapping
from tests.e2e.servers import Emulator
from tests.e2e.world import Contact

DECOYS = {
    "[a]*?": "a1x",
    "~": "x",
    "year=2026": "year",
    "a\\[b]": "a[b]",
    "q'\"|;%41{a,b}$HOME\n": "q",
    os.fsdecode(b"\xff[\xe9]\xfe"): "x",
    "-m.gz": "m",
}
"""Names of folders and files, and of others beside them that some would be taken for."""


class Files:
    """Files of one name in a folder of that name.

    Args:
        folder: folder of the test.
        name: the name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        (folder / name).mkdir()

    def __call__(self, suffix: str) -> str:
        """Return a path as it is typed in the folder of the test; it has no `./` unless needed."""
        path = f"{self._name}/{self._name}{suffix}"
        return f"./{path}" if path.startswith("-") else path

    def path(self, suffix: str) -> Path:
        """Return the same path, absolute."""
        return self._folder / self(suffix)

    def notes(self, suffix: str) -> set[str]:
        """Return the notes in an exported file."""
        with self.path(suffix).open(encoding="utf-8", newline="") as file:
            return {line["Note"] for line in csv.DictReader(file)}


def succeed(command: Command, *arguments: str) -> CommandResult:
    """Run a command that ends well, and return its result."""
    result = command(*arguments)
    assert result.code == 0, (arguments, result)
    return result


@pytest.mark.parametrize(("name", "decoy_name"), DECOYS.items(), ids=map(ascii, DECOYS))
def test_the_named_files_are_read_and_written_by_every_command(
    connected_command: Command, contact: Contact, emulator: Emulator, name: str, decoy_name: str
) -> None:
    command, folder = connected_command.with_env(BULKLINK_RATE="off"), connected_command.folder
    files, decoys = Files(folder, name), Files(folder, decoy_name)
    emails = contact.free[:4]
    bad = row(contact.free[5], contact.a, Note="refused") | {"owner_id": "x"}
    for suffix in (".csv", ".jsonl"):
        write_mapping(files.path(suffix), [*rows(emails, contact.a, Note="right"), bad])
        decoy_rows = [*rows(emails, contact.b, Note="decoy"), bad]
        write_mapping(decoys.path(suffix), decoy_rows)
        write_mapping(folder / name / f"{decoy_name}{suffix}", decoy_rows)
    skip = ("--on-invalid", "skip", "--json")
    assert (
        command("plan", "--op", "link", decoys(".csv"), "--run-dir", decoys("-run"), *skip).code
        == 1
    )
    before = {
        path: path.read_bytes() for path in (folder / decoy_name).rglob("*.*") if path.is_file()
    }

    # A plan, sealed, looked at, sent, and all that tells of it.
    run = files("-run")
    planned = command("plan", "--op", "link", files(".csv"), "--run-dir", run, *skip)
    assert planned.object["messages"] == 4
    assert command("apply", run, "--log", files(".log"), "--json").object["counts"]["done"] == 4
    for email in emails:
        assert emulator.links()[email.message] == contact.a
    succeed(command, "status", run, "--check", "--json")
    for suffix in (".csv", ".jsonl", ".parquet", ".xlsx"):
        succeed(command, "export", run, "-o", files(f"-out{suffix}"))
    assert files.notes("-out.csv") == {"right", "refused"}
    succeed(command, "report", run)
    succeed(command, "report", run, "-o", files(".html"))
    succeed(command, "verify", run, "--settle-after", "0", "--log", files(".log"))
    assert command("resume", run, "--json").code in (0, 1, 2)
    assert command("retry", run, "--json").code in (0, 1, 2)
    events = succeed(command, "history", emails[0].message, "--runs-dir", name, "--json")
    assert contact.a in events.out
    assert name in command("status", "--runs-dir", name).out or not name.isprintable()

    # Emails fetched, compared with, and filled in.
    files.path(".ids").write_text(contact.id)
    for suffix in (".csv", ".parquet"):
        succeed(command, "fetch", f"@{files('.ids')}", "-o", files(f"-fetched{suffix}"), "--json")
        compared = command(
            *("plan", "--op", "link", files(".jsonl"), "--on-invalid", "skip", "--json"),
            *("--compare-with", files(f"-fetched{suffix}")),
        )
        assert compared.object["compare"]["right"] == 4
    succeed(command, "fetch", "--from-mapping", files(".csv"), "-o", files("-2.csv"), "--json")

    # Another run, of a job file, undone; and the rows that were refused, mended.
    files.path(".toml").write_text(
        f'op = "relink"\nmapping = ["{decoy_name}.csv"]\non_invalid = "skip"\n'
    )
    relink = command("run", files(".toml"), "--run-dir", files("-relink"), "--json")
    assert relink.object["counts"]["done"] == 4
    undone = command("undo", files("-relink"), "--run-dir", files("-undo"), "--yes", "--json")
    assert undone.object["counts"]["done"] == 4
    rejects = files("-run/rejects.csv")
    mended = (folder / rejects).read_text("utf-8").replace(",x,", f",{emails[0].owner},")
    files.path(".csv").write_text(mended, "utf-8")
    succeed(command, "link", files(".csv"), "--run-dir", files("-link"), "--yes")
    files.path(".csv").write_text(as_csv(rows(emails)), "utf-8")
    succeed(command, "unlink", files(".csv"), "--runs-dir", files("-runs"), "--yes")

    succeed(command, "forget", run)
    succeed(command, "generate", "--messages", "9", "--contacts", "1", "--out", files("-world"))
    assert {path: path.read_bytes() for path in before} == before
