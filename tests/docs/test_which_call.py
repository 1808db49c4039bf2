"""The example in docs/which-call.md corrects an email as shown, and so does its job file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.audit import audit_run
from tests.e2e.command import Command
from tests.e2e.servers import Emulator, serve_world_file

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "which-call.md").read_text("utf-8")
PROGRAM = DOCS / "examples" / "business_logic.py"
JOB = PROGRAM.with_suffix(".toml")
INPUT = PROGRAM.with_suffix("")
TRAVEL, HOUSE = "5843104000004382122", "5843104000004382130"
EMAIL = json.loads((INPUT / "email.json").read_text("utf-8"))
CORRECTED = {"5d20c1aa": TRAVEL, "77f0be31": HOUSE, EMAIL["message_id"]: TRAVEL}


@pytest.fixture
def crm() -> Iterator[Emulator]:
    """Serve the world of the example."""
    with serve_world_file(INPUT / "world.json") as emulator:
        yield emulator


def run_program(command: Command) -> subprocess.CompletedProcess[str]:
    """Run the program of the page in the folder of a command."""
    return subprocess.run(
        [sys.executable, PROGRAM, "corrected"],
        cwd=command.folder,
        env=command.environment(),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=45,
    )


def test_the_program_unlinks_links_and_verifies_as_shown(tmp_path: Path, crm: Emulator) -> None:
    ended = run_program(Command(tmp_path, crm.env()))
    (shown,) = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", shown)
    assert crm.links() == CORRECTED
    calls = crm.state()["calls"]
    assert (calls["unlink"], calls["link"]) == (1, 1)


def test_a_refused_link_leaves_the_email_to_be_put_back(tmp_path: Path, crm: Emulator) -> None:
    crm.post("faults", {"kind": "NOT_ALLOWED", "op": "link"})
    command = Command(tmp_path, crm.env())
    assert run_program(command).returncode == 1
    assert crm.links()[EMAIL["message_id"]] is None
    crm.delete("faults")
    (undo,) = re.findall(r"`bulklink (undo [^`]+)`", TEXT.partition("If Zoho refused")[2])
    assert command(*undo.split()).code == 0
    assert crm.links()[EMAIL["message_id"]] == HOUSE


def test_the_job_sends_the_mapping_of_the_program_as_one_relink(
    tmp_path: Path, crm: Emulator
) -> None:
    assert crm.post("receive", EMAIL)["deal_id"] == HOUSE
    command = Command(tmp_path, crm.env())
    result = command("run", JOB, "--json")
    run = audit_run(result, tmp_path, 1)
    assert (result.code, run.summary["op"], run.counts) == (0, "relink", {"done": 1})
    assert crm.links() == CORRECTED
    assert command("verify", run.folder, "--settle-after", "0").code == 0
    assert command("undo", run.folder).code == 0
    assert crm.links()[EMAIL["message_id"]] == HOUSE


def test_the_job_leaves_an_email_alone_that_somebody_moved(tmp_path: Path, crm: Emulator) -> None:
    crm.post("receive", EMAIL)
    command = Command(tmp_path, crm.env())
    rows = (INPUT / "mapping.csv").read_text("utf-8")
    (tmp_path / "moved.csv").write_text(rows, "utf-8")
    assert command("unlink", "moved.csv").code == 0
    result = command("run", JOB, "--json")
    (line,) = audit_run(result, tmp_path, 1).results.values()
    assert (result.code, line["status"], line["code"]) == (1, "failed", "changed-since")
    assert crm.links()[EMAIL["message_id"]] is None


def test_the_shipped_mapping_is_the_one_that_the_program_writes(
    tmp_path: Path, crm: Emulator
) -> None:
    assert run_program(Command(tmp_path, crm.env())).returncode == 0
    written = (tmp_path / "corrected" / "mapping.csv").read_bytes()
    assert (INPUT / "mapping.csv").read_bytes() == written


def test_the_comments_of_the_job_explain_every_key() -> None:
    text = JOB.read_text("utf-8")
    lines = text.splitlines()
    for key in tomllib.loads(text):
        (at,) = (at for at, line in enumerate(lines) if line.startswith(f"{key} = "))
        assert lines[at - 1].startswith("#"), key


def test_the_table_compares_four_calls_in_four_aspects() -> None:
    table = TEXT.partition("## The four compared")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")]
    assert {len(row) for row in rows} == {5}
    assert [row[0].strip() for row in rows[2:]] == ["works on", "needs", "changes", "undone by"]
