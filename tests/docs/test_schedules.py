"""The commands in docs/schedules.md parse, and its exit codes are those of a run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bulklink.errors import ExitCode
from tests.cli.command_tree import parse_context

TEXT = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text("utf-8")
COMMANDS = re.findall(r"bulklink (?:resume|relink|run) [^\n`]*?--yes[^\n>\"]*", TEXT)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_scheduled_command_asks_nobody(command: str, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text('op = "link"\nmapping = "mapping.csv"\n', encoding="utf-8")
    words = shlex.split(command.replace("\\", "/").replace("/srv/crm/nightly.toml", str(job)))
    assert parse_context(words).params["yes"]


def test_cron_and_the_task_scheduler_are_shown_with_their_five_fields() -> None:
    assert len(COMMANDS) == 4
    entries = re.findall(r"```crontab\n(.*?)\n```", TEXT)
    assert len(entries) == 2
    for entry in entries:
        assert re.match(r"(\d+|\*)( (\d+|\*)){4} \S", entry)
        assert "%" not in entry.replace("\\%", ""), "cron ends the command at a bare %"
    assert "schtasks /Create /TN" in TEXT


def test_every_exit_code_of_a_resume_has_its_row() -> None:
    cells = re.findall(r"^\| (\d[\d, ]*) \|", TEXT, re.MULTILINE)
    codes = {int(code) for cell in cells for code in cell.split(", ")}
    assert codes == set(ExitCode) - {ExitCode.OUTPUT_CLOSED}
