"""Good run folders of every kind, and the commands that read them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.command import Command, CommandResult, rows, write_mapping
from tests.e2e.servers import Emulator

RUN = "runs/run"
"""Where a command of these tests finds the folder."""
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "status": ("status", RUN),
    "check": ("status", RUN, "--check"),
    "list": ("status",),
    "export": ("export", RUN, "-o", "out.csv"),
    "report": ("report", RUN),
    "verify": ("verify", RUN, "--settle-after", "0"),
    "apply": ("apply", RUN),
    "resume": ("resume", RUN),
    "retry": ("retry", RUN),
    "undo": ("undo", RUN, "--settle-after", "0"),
    "plan-undo": ("undo", RUN, "--dry-run"),
    "history": ("history", "MESSAGE"),
    "forget": ("forget", RUN, "--force"),
}
"""Every command that reads a run folder, by a name of these tests."""
READERS = frozenset(COMMANDS) - {"list", "history"}
"""Commands of one run; the others warn of a run that they cannot read, and go on."""
SENDERS = frozenset({"apply", "resume", "retry"})
LEDGER_READERS = READERS - {"check", "status"}
"""Commands that believe the ledger."""


@dataclass(frozen=True)
class GoodFolders:
    """One folder of each kind, which no test changes.

    Args:
        root: folder of the folders, each named by its kind.
        emulator: the CRM of the runs.
        message_id: an email in all of them.
    """

    root: Path
    emulator: Emulator
    message_id: str

    def copy(self, kind: str, folder: Path) -> Command:
        """Copy a folder, and return a command that works next to the copy."""
        shutil.copytree(self.root / kind, folder / RUN)
        return Command(folder).with_env(**self.emulator.env())

    def run(self, command: Command, name: str) -> CommandResult:
        """Run one of `COMMANDS`."""
        arguments = (self.message_id if word == "MESSAGE" else word for word in COMMANDS[name])
        return command(*arguments)


def make_good_folders(root: Path, emulator: Emulator) -> GoodFolders:
    """Create a folder of each kind: planned, stopped, killed and finished."""
    command = Command(root).with_env(**emulator.env())
    contact = emulator.world.contacts[0]
    mapping = write_mapping(root / "m.csv", rows(contact.free[:30], contact.a, Note="kept"))
    options = ("--batch-size", "5", "--settle-after", "0")
    planned = command("plan", "--op", "link", mapping, "--run-dir", "planned", *options[:2])
    assert planned.code == 0, planned
    stopped = command("link", mapping, "--run-dir", "stopped", "--max-credits", "6", *options)
    assert stopped.code == 4, stopped
    shutil.copytree(root / "stopped", root / "killed")
    edit_record(root / "killed", state="running", stopped_by=None, reason=None)
    with (root / "killed" / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"event":"call","ts":"20')
    refused = rows(contact.free[:1], "x")
    mapping = write_mapping(root / "n.csv", rows(contact.free[:30], contact.a, Note="") + refused)
    finished = command(
        "link", mapping, "--run-dir", "finished", "--on-invalid", "skip", "--snapshot", *options
    )
    assert finished.code == 1, finished
    assert command("verify", "finished", "--settle-after", "0").code == 0
    return GoodFolders(root, emulator, contact.free[0].message)


def edit_record(run: Path, **changes: object) -> None:
    """Change fields of a `run.json`."""
    record = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps(record | changes), "utf-8")


def contents(folder: Path) -> dict[str, bytes | str]:
    """Return the content of a folder: the bytes of regular files, the kind of anything else."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 24
        else str(path.lstat().st_mode)
        for path in folder.rglob("*")
    }
