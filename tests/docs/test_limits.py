"""The commands in docs/limits.md parse, and its numbers agree with the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from bulklink.cli.app import cli
from bulklink.engine.quota.daily_allowance import BLOCK_SIZE
from bulklink.engine.quota.gate import RELINK_RESERVE
from bulklink.errors import ExitCode

TEXT = (Path(__file__).parents[2] / "docs" / "limits.md").read_text("utf-8")
COMMANDS = re.findall(r"bulklink (?:resume|relink) [^\n`]*?--yes[^\n>\"]*", TEXT)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_parse(command: str) -> None:
    words = shlex.split(command.replace("\\", "/"))
    with click.Context(cli) as top:
        name, found, rest = cli.resolve_command(top, words[1:])
        assert found is not None
        assert name is not None
        context = found.make_context(name, list(rest), parent=top)
    assert context.params["yes"]


def test_cron_and_the_task_scheduler_are_shown_with_their_five_fields() -> None:
    assert len(COMMANDS) == 3
    (entry,) = re.findall(r"```crontab\n(.*?)\n```", TEXT)
    assert re.match(r"(\d+|\*)( (\d+|\*)){4} \S", entry)
    assert "schtasks /Create /TN" in TEXT


def test_what_it_says_of_codes_and_numbers_is_so() -> None:
    for code in (ExitCode.CREDITS, ExitCode.STOPPED, ExitCode.REFUSED):
        assert re.search(rf"^\| {code:d} \|", TEXT, re.MULTILINE)
    assert f"blocks of {BLOCK_SIZE} and" in TEXT
    assert RELINK_RESERVE == 2
