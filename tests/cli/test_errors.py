"""Every end of a command has its exit code, and no user sees a traceback."""

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
    """Run a command that raises an error; return its exit code and output."""

    @click.command()
    def command() -> None:
        raise error

    stderr = io.StringIO()
    with redirect_stderr(stderr), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["bulklink"])
        return run_command_line(command, pressed), stderr.getvalue()


def test_ctrl_c_during_an_import_exits_immediately_without_output() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRESSED_IN_AN_IMPORT], capture_output=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_an_error_that_a_library_raises_for_ctrl_c_counts_as_ctrl_c() -> None:
    code, text = run_raising(RuntimeError("Query interrupted"), [2])
    assert (code, text) == (ExitCode.INTERRUPTED, "")
    assert run_raising(KeyboardInterrupt())[0] == ExitCode.INTERRUPTED


def test_a_bug_in_bulklink_is_reported_without_a_traceback() -> None:
    code, text = run_raising(ZeroDivisionError("division by zero"))
    assert code == ExitCode.STOPPED
    assert text.startswith("error: bulklink: Bug in bulklink: ZeroDivisionError: div")
    assert "--debug" in text
    assert "Traceback" not in text


def test_debug_shows_a_traceback(bulklink: Command) -> None:
    done = bulklink.with_env(BULKLINK_DEBUG="1").start("status", "nowhere")
    out, err = done.communicate(timeout=50)
    assert (done.returncode, out) == (2, "")
    assert err.startswith("Traceback")
    assert "error: nowhere: There is no such folder." in err


def test_a_missing_command_shows_the_help_and_is_a_usage_error(bulklink: Command) -> None:
    for words in ((), ("auth",)):
        result = bulklink(*words)
        assert (result.code, result.out) == (ExitCode.REFUSED, "")
        assert result.err.startswith("Usage: bulklink")
    json_result = bulklink.with_env(BULKLINK_JSON="yes")()
    assert json_result.error["message"] == "A command is missing."


def test_a_closed_reader_ends_the_command_quietly(bulklink: Command) -> None:
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
def test_an_output_error_names_a_full_disk(bulklink: Command) -> None:
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


def test_a_terminal_without_utf_8_shows_every_character(bulklink: Command) -> None:
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


def test_a_damaged_run_is_named_and_does_not_hide_others(bulklink: Command) -> None:
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


def test_a_misspelt_variable_only_causes_a_warning(bulklink: Command) -> None:
    (bulklink.folder / "runs").mkdir()
    env = {"BULKLINK_RUNSDIR": "x", "BULKLINK_SOMETHING_ELSE_ENTIRELY": "y", "BULKLINK_JSON": "1"}
    result = bulklink.with_env(**env)("status")
    assert result.object == {"runs": []}
    text = "warning: The variable BULKLINK_RUNSDIR is unknown. Did you mean BULKLINK_RUNS_DIR?\n"
    assert result.err == text
    assert bulklink.with_env(**env, BULKLINK_QUIET="1")("status").err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes have no place among files")
def test_a_pipe_or_device_is_never_replaced_by_a_file(bulklink: Command) -> None:
    pipe = bulklink.folder / "pipe.csv"
    if sys.platform != "win32":
        os.mkfifo(pipe)
    result = bulklink("export", "run", "-o", "pipe.csv", "--force", "--json")
    assert result.error["where"] == "pipe.csv"
    assert "standard output (-)" in result.error["advice"]
    assert pipe.is_fifo()
