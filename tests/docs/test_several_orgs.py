"""docs/several-orgs.md: its job can be planned, and a command that names no org goes to none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.reference import ROOT
from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.world import World

TEXT = (ROOT / "docs" / "several-orgs.md").read_text("utf-8")


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """The command where two profiles are stored, and none is called default."""
    command = Command(tmp_path)
    profiles = Path(command.environment()["XDG_CONFIG_HOME"]) / "bulklink" / "profiles"
    profiles.mkdir(parents=True)
    for name in ("acme", "globex"):
        text = 'client_id = "1000.ID"\nsecrets = "keyring"\ndata_centre = "eu"\n'
        (profiles / f"{name}.toml").write_text(text, "utf-8")
    contact = World().add(free=3)
    write_mapping(tmp_path / "mapping.csv", rows(contact.free, contact.a))
    return command


def test_the_job_can_be_planned(command: Command) -> None:
    (job,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (command.folder / "job.toml").write_text(job, "utf-8")
    planned = command("run", "job.toml", "--dry-run", "--json")
    assert (planned.code, planned.object["messages"]) == (0, 3)


def test_a_command_that_names_no_org_is_refused(command: Command) -> None:
    refused = command("link", "mapping.csv", "--yes", "--json")
    assert refused.code == 2
    assert "acme, globex" in refused.error["advice"]
