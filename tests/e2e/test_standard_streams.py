"""Standard streams that are closed, full, cut off, or in an encoding without the characters."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.audit import audit_run
from tests.e2e.command import PROGRAM, TIMEOUT, Command, CommandResult, rows, write_mapping
from tests.e2e.servers import Emulator
from tests.e2e.world import Contact

CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]
ASCII_LOCALE = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def run_in_shell(command: Command, redirection: str, *arguments: str) -> CommandResult:
    """Run the installed command with its standard streams redirected by a shell."""
    process = subprocess.run(
        [
            "bash",
            "-c",
            f'"$@" {redirection}; exit "${{PIPESTATUS[0]}}"',
            "bash",
            PROGRAM,
            *arguments,
        ],
        cwd=command.folder,
        env=command.environment(),
        capture_output=True,
        timeout=TIMEOUT,
        check=False,
    )
    out, err = process.stdout.decode(), process.stderr.decode()
    assert "Traceback" not in out + err
    assert "Bug in bulklink" not in out + err
    return CommandResult(process.returncode, out, err)


@pytest.fixture(scope="module")
def sent(
    tmp_path_factory: pytest.TempPathFactory, emulator: Emulator, unused_contacts: Iterator[Contact]
) -> Command:
    """Return a command whose folder has a finished run, which no test changes."""
    command, contact = (
        Command(tmp_path_factory.mktemp("sent"), emulator.env()),
        next(unused_contacts),
    )
    write_mapping(command.folder / "m.csv", rows(contact.free[:2], contact.a))
    assert command("link", "m.csv", "--run-dir", "run").code == 0
    return command


@pytest.mark.parametrize("closed", CLOSED)
def test_a_run_is_sent_and_recorded_without_standard_streams(
    connected_command: Command, contact: Contact, closed: str
) -> None:
    """The ledger is not opened on the descriptor of a closed stream."""
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    arguments = ("link", "m.csv", "--run-dir", "run", "--yes")
    assert run_in_shell(connected_command, closed, *arguments).code == 0
    status = connected_command("status", "run", "--json")
    assert audit_run(status, connected_command.folder, 2).counts == {"done": 2}


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("status", "run", "--json"), 0),
        (("plan", "--op", "link", "-", "--format", "csv"), 2),
        (("nope",), 2),
    ],
    ids=["succeeds", "reads", "fails"],
)
def test_the_exit_code_is_the_same_without_standard_streams(
    sent: Command, arguments: tuple[str, ...], code: int, closed: str
) -> None:
    assert run_in_shell(sent, f"{closed} </dev/null" * (closed != "<&-"), *arguments).code == code


def test_rows_for_a_closed_standard_output_are_refused(sent: Command) -> None:
    result = run_in_shell(sent, ">&-", "export", "run", "-o", "-")
    assert (result.code, result.err.splitlines()[0]) == (2, "error: -: Standard output is closed.")


@pytest.mark.parametrize(
    "arguments", [("status", "run"), ("export", "run", "-o", "-"), ("--help",)]
)
def test_a_full_standard_output_is_reported(sent: Command, arguments: tuple[str, ...]) -> None:
    result = run_in_shell(sent, "> /dev/full", *arguments)
    assert result.code in (2, 3)
    assert "standard output: Cannot write: No space left on device." in result.err


@pytest.mark.parametrize("redirection", ["2> /dev/full", "| head -c 1", "| true"])
def test_a_closed_reader_and_a_full_standard_error_do_no_harm(
    sent: Command, redirection: str
) -> None:
    assert run_in_shell(sent, redirection, "export", "run", "-o", "-").code in (0, 141)


def test_an_unreadable_standard_input_is_reported(sent: Command) -> None:
    result = run_in_shell(sent, "0> /dev/null", "plan", "--op", "link", "-", "--format", "csv")
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        "error: -: The file cannot be read: Bad file descriptor.",
    )


@pytest.fixture(params=["utf-8", "ascii"])
def in_locale(request: pytest.FixtureRequest, bulklink: Command) -> Command:
    """Return the command next to mappings with such names, in a UTF-8 or ASCII locale."""
    for name in (b"caf\xc3\xa9", b"\xff[x]"):
        path = Path(bulklink.folder, os.fsdecode(name) + ".csv")
        path.write_text("contact_id,owner_id,message_id,deal_id\n1,2,ab,3\n")
    return bulklink.with_env(**(ASCII_LOCALE if request.param == "ascii" else {}))


@pytest.mark.parametrize(
    ("name", "text"), [(b"caf\xc3\xa9", "caf\u00e9"), (b"\xff[x]", "\\xff[x]")]
)
def test_json_is_utf8_in_any_locale_and_files_may_have_any_name(
    in_locale: Command, name: bytes, text: str
) -> None:
    stem = os.fsdecode(name)
    plan = ("plan", "--op", "link", f"{stem}.csv", "--json", "--run-dir", stem)
    assert run_in_shell(in_locale, "", *plan).object["run_dir"] == text
    asked = json.loads((in_locale.folder / stem / "run.json").read_text("utf-8"))["asked"]
    assert (asked["mappings"], asked["run_dir"]) == ([f"{text}.csv"], text)
    error = run_in_shell(in_locale, "", "status", f"{stem}-none", "--json").error
    assert error["where"] == f"{text}-none"


def test_messages_show_the_bytes_of_a_name_in_any_locale(in_locale: Command) -> None:
    result = run_in_shell(in_locale, "", "status", os.fsdecode(b"caf\xc3\xa9\xff"))
    assert result.err.startswith("error: caf\u00e9\\xff: There is no such folder.")


@pytest.mark.parametrize(
    ("line", "key"),
    [('run_dir = "a\\u0000b"', "run_dir"), ('mapping = ["a\\u0000.csv"]', "mapping")],
)
def test_an_invalid_file_name_in_a_job_file_is_refused(
    bulklink: Command, line: str, key: str
) -> None:
    job = ['op = "link"', line] + ['mapping = ["m.csv"]'] * (key != "mapping")
    (bulklink.folder / "job.toml").write_text("\n".join(job))
    error = bulklink("run", "job.toml", "--json").error
    assert (error["code"], error["where"]) == ("config", f"job.toml:2, key {key}")


def test_a_file_name_outside_the_locale_in_a_job_file_is_refused(bulklink: Command) -> None:
    (bulklink.folder / "job.toml").write_text('op = "link"\nmapping = ["\u0142.csv"]', "utf-8")
    result = run_in_shell(bulklink.with_env(**ASCII_LOCALE), "", "run", "job.toml", "--json")
    assert "LC_ALL=C.UTF-8" in result.error["advice"]
