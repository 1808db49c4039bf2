"""docs/worker.md: its services start a worker, and its rules have the numbers of the code.

tests/docs/test_guides.py follows its commands.
"""

from __future__ import annotations

import configparser
import re
import shlex

from bulklink.errors import ExitCode
from bulklink.worker.verdict import MAX_RESTARTS, Timing
from tests.cli.command_tree import parse_context
from tests.docs.test_reference import DOCS

TEXT = DOCS["worker.md"]
_NUMBERS = {5: "five"}


def block(language: str, text: str = TEXT) -> str:
    """Return the first block of a language in a page, without another one in this page."""
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def parameters(command: str) -> dict[str, object]:
    """Return the parameters of a command that starts a worker."""
    context = parse_context(shlex.split(command.replace("\\", "/")))
    assert context.command_path == "bulklink work"
    return context.params


def test_the_unit_starts_a_worker_that_waits_for_approvals_and_stops_gently() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    program, _, words = service["ExecStart"].partition(" ")
    assert program.startswith("/"), "systemd wants a whole path"
    assert not parameters(f"{program.rpartition('/')[2]} {words}")["drain"]
    assert service["KillMode"] == "mixed", "else the runs get SIGTERM from systemd too"
    assert int(service["SuccessExitStatus"]) == ExitCode.TERMINATED
    assert int(service["RestartPreventExitStatus"]) == ExitCode.REFUSED
    assert service["StateDirectory"].split() == ["bulklink", "bulklink/runs"]
    assert f"--home-dir {service['WorkingDirectory']} " in TEXT


def test_the_task_starts_a_worker_that_waits_for_approvals() -> None:
    (words,) = re.findall(r'\$program`" (work .*?) >> ', block("powershell"))
    assert not parameters(f"bulklink {words}")["drain"]


def test_the_container_keeps_runs_state_and_profiles_on_its_volume() -> None:
    (command,) = re.findall(r"docker run --detach(?:.*\\\n)+.*", TEXT)
    assert "--volume /srv/crm:/work" in command
    for name in ("STATE", "CONFIG"):
        assert f"--env XDG_{name}_HOME=/work/" in command
    assert not parameters(command[command.index("bulklink work") :])["drain"]


def test_the_rules_have_the_times_of_a_worker() -> None:
    timing = Timing()
    restarts = _NUMBERS[MAX_RESTARTS]
    assert f"{timing.restart:.0f} seconds apart, {restarts} times in all" in TEXT
    assert f"every {timing.locked:.0f} seconds" in TEXT
    assert timing.steady == 600
    assert "after ten minutes or more" in TEXT
    assert timing.credits == 60
    assert "at least a minute after it stopped" in TEXT


def test_every_exit_code_of_a_worker_has_its_row() -> None:
    cells = re.findall(r"^\| (\d[\d, ]*) \|", TEXT, re.MULTILINE)
    codes = {int(code) for cell in cells for code in cell.split(", ")}
    assert codes == set(ExitCode) - {ExitCode.OUTPUT_CLOSED, ExitCode.CREDITS}
