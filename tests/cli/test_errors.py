"""However a command ends, its exit code says how, and no user is shown a traceback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import click
import pytest

from bulklink.cli.errors import run_command_line
from bulklink.errors import ExitCode
from tests.e2e.command import PROGRAM, Command

FULL = Path("/dev/full")
_PRESSED_IN_AN_IMPORT = """
import os, signal, sys
class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == "bulklink.cli.app":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            finally:
                print("went on")
sys.meta_path.insert(0, Pressed())
from bulklink.cli.main import main
main()
"""


@pytest.fixture
def bulklink(tmp_path: Path) -> Command:
    return Command(tmp_path)


def run_raising(error: BaseException, pressed: Sequence[int] = ()) -> tuple[int, str]:
    """Run a command that raises this; return its exit code and what a person reads."""

    @click.command()
    def command() -> None:
        raise error

    stderr = io.StringIO()
    with redirect_stderr(stderr), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bulklink"])
        return run_command_line(command, pressed), stderr.getvalue()


def test_a_ctrl_c_while_something_is_imported_ends_it_at_once_without_a_word() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRESSED_IN_AN_IMPORT], capture_output=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_what_a_library_makes_of_a_ctrl_c_is_a_ctrl_c() -> None:
    code, text = run_raising(RuntimeError("Query interrupted"), [2])
    assert (code, text) == (ExitCode.INTERRUPTED, "")
    assert run_raising(KeyboardInterrupt())[0] == ExitCode.INTERRUPTED


def test_a_mistake_in_bulklink_is_called_so_and_shows_no_traceback() -> None:
    code, text = run_raising(ZeroDivisionError("division by zero"))
    assert code == ExitCode.STOPPED
    assert text.startswith("error: bulklink itself: A mistake in bulklink: ZeroDivisionError: div")
    assert "--debug" in text
    assert "Traceback" not in text


def test_debug_shows_where_in_the_program_an_error_came_from(bulklink: Command) -> None:
    done = bulklink.with_env(BULKLINK_DEBUG="1").start("status", "nowhere")
    out, err = done.communicate(timeout=50)
    assert (done.returncode, out) == (2, "")
    assert err.startswith("Traceback")
    assert "error: nowhere: There is no such folder." in err


def test_without_a_command_the_help_is_shown_and_it_is_wrong_usage(bulklink: Command) -> None:
    for words in ((), ("auth",)):
        result = bulklink(*words)
        assert (result.code, result.out) == (ExitCode.REFUSED, "")
        assert result.err.startswith("Usage: bulklink")
    asked = bulklink.with_env(BULKLINK_JSON="yes")()
    assert asked.error["message"] == "A command is missing."


def test_a_reader_that_went_away_ends_it_quietly(bulklink: Command) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [PROGRAM, "--help"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=bulklink.environment(),
        timeout=50,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.OUTPUT_CLOSED, b"")


@pytest.mark.skipif(not FULL.is_char_device(), reason="there is no /dev/full: no disk is full")
def test_a_full_disk_is_named_where_the_result_cannot_be_written(bulklink: Command) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [PROGRAM, "status", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=bulklink.environment(),
            cwd=bulklink.folder,
            timeout=50,
            check=False,
        )
    assert done.returncode == ExitCode.STOPPED
    assert done.stderr.startswith(b"error: standard output: Cannot write: No space left")
    assert b"Traceback" not in done.stderr


def test_a_terminal_without_utf_8_gets_every_sign(bulklink: Command) -> None:
    (bulklink.folder / "runs").mkdir()
    for encoding in ("ascii", "latin-1"):
        raw = io.BytesIO()
        screen = io.TextIOWrapper(raw, encoding=encoding)

        @click.command()
        def command() -> None:
            click.echo("ready … Ω")

        with redirect_stdout(screen), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bulklink"])
            assert run_command_line(command, ()) == ExitCode.OK
            screen.flush()
        assert raw.getvalue().startswith(b"ready ")


def test_a_damaged_run_is_named_and_hides_no_other(bulklink: Command) -> None:
    for name in ("good", "bad"):
        (bulklink.folder / "runs" / name).mkdir(parents=True)
    (bulklink.folder / "runs" / "bad" / "run.json").write_text("[", "utf-8")
    (bulklink.folder / "runs" / "good" / "run.json").write_text(
        '{"version":"1","op":"link","asked":{},"inputs":[],"created":"2026-01-01T00:00:00Z"}',
        "utf-8",
    )
    result = bulklink("status")
    assert result.code == ExitCode.OK
    assert "good  link  planned" in result.out
    assert result.err.startswith("warning: runs/bad/run.json: run.json is not valid")


def test_a_misspelt_variable_is_named_and_changes_nothing_else(bulklink: Command) -> None:
    (bulklink.folder / "runs").mkdir()
    env = {"BULKLINK_RUNSDIR": "x", "BULKLINK_SOMETHING_ELSE_ENTIRELY": "y", "BULKLINK_JSON": "1"}
    result = bulklink.with_env(**env)("status")
    assert result.object == {"runs": []}
    text = "warning: The variable BULKLINK_RUNSDIR is unknown. Did you mean BULKLINK_RUNS_DIR?\n"
    assert result.err == text
    assert bulklink.with_env(**env, BULKLINK_QUIET="1")("status").err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes have no place among files")
def test_a_file_never_takes_the_place_of_a_pipe_or_device(bulklink: Command) -> None:
    pipe = bulklink.folder / "pipe.csv"
    if sys.platform != "win32":
        os.mkfifo(pipe)
    result = bulklink("export", "run", "-o", "pipe.csv", "--force", "--json")
    assert result.error["where"] == "pipe.csv"
    assert "standard output (-)" in result.error["advice"]
    assert pipe.is_fifo()
