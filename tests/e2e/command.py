"""The command as a user runs it: in this process, or in a separate process if it matters."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, AnyStr
from unittest import mock

import pytest

from bulklink.cli.main import main
from tests.e2e.world import Contact, Email

PROGRAM = str(Path(sys.executable).parent / "bulklink")
TIMEOUT = 45
"""Seconds that any command of these tests may take."""
_SCREEN_VARIABLES = ("COLUMNS", "LINES")
"""Set by readline, which pytest imports; a test's own terminal has its own size."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Exit code and output of a command.

    Args:
        code: exit code.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        """Return the one JSON object that standard output consists of."""
        assert self.out.count("\n") == 1, self
        assert self.out.endswith("\n"), self
        read = json.loads(self.out)
        assert isinstance(read, dict)
        return read

    @property
    def error(self) -> dict[str, Any]:
        """Return the error that --json shows on exit 2, whose shape is checked."""
        read = self.object
        assert set(read) == {"error", "exit_code"}, read
        assert set(read["error"]) == {"code", "where", "message", "advice"}, read
        assert read["exit_code"] == self.code, read
        return dict(read["error"])

    @property
    def output(self) -> str:
        """Return all that was printed."""
        return self.out + self.err


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `bulklink` in a folder of its own with a state folder of its own.

    Args:
        folder: working directory.
        env: environment variables besides the defaults.
    """

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def with_env(self, **env: str) -> Command:
        """Return the same command with these environment variables too."""
        return Command(self.folder, {**self.env, **env})

    def environment(self) -> dict[str, str]:
        """Return the whole environment, without the developer's own settings."""
        inherited = {
            key: text
            for key, text in os.environ.items()
            if not key.startswith("BULKLINK_") and key not in _SCREEN_VARIABLES
        }
        defaults = {
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }
        return {**inherited, **defaults, **self.env}

    def start(
        self, *arguments: str | Path, stdin: int | None = subprocess.DEVNULL
    ) -> subprocess.Popen[str]:
        """Start the command and return its process."""
        return subprocess.Popen(
            [PROGRAM, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def __call__(self, *arguments: str | Path) -> CommandResult:
        """Run the command in this process; starting another takes most of a second."""
        return self._in_process(arguments, _Stream())

    def run_on_one_stream(self, *arguments: str | Path) -> str:
        """Run the command in this process; return what it printed on both streams, in order."""
        stream = _Stream()
        self._in_process(arguments, stream, out=stream)
        return stream.written()

    def run_at_terminal(self, typed: str, *arguments: str | Path) -> CommandResult:
        """Run the command at a terminal where the user types `typed`; `^C` is Ctrl-C."""
        with mock.patch.object(sys, "stdin", _Keyboard(typed)):
            return self._in_process(arguments, _Screen())

    def _in_process(
        self, arguments: Sequence[str | Path], err: _Stream, out: _Stream | None = None
    ) -> CommandResult:
        out = out or _Stream()
        with (
            mock.patch.dict(os.environ, self.environment(), clear=True),
            mock.patch.object(sys, "argv", [PROGRAM, *map(str, arguments)]),
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as exiting,
        ):
            main()
        code = exiting.value.code
        assert isinstance(code, int)
        return _without_traceback(CommandResult(code, out.written(), err.written()))

    def run_in_subprocess(
        self, *arguments: str | Path, stdin: str | None = None, timeout: float = TIMEOUT
    ) -> CommandResult:
        """Run the installed command in a separate process."""
        process = self.start(*arguments, stdin=subprocess.PIPE if stdin is not None else None)
        return wait_for_exit(process, stdin=stdin, timeout=timeout)


def wait_for_exit(
    process: subprocess.Popen[str], stdin: str | None = None, timeout: float = TIMEOUT
) -> CommandResult:
    """Wait for the end of a process that was started."""
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"not ended within {timeout} s\n{out}\n{err}") from None
    return _without_traceback(CommandResult(process.returncode, out, err))


def _without_traceback(result: CommandResult) -> CommandResult:
    """Check that no traceback is shown."""
    assert "Traceback" not in result.output, result.output
    return result


class _Stream(io.TextIOWrapper):
    """A stream that records its output."""

    def __init__(self) -> None:
        self._raw = io.BytesIO()
        super().__init__(self._raw, encoding="utf-8")

    def written(self) -> str:
        self.flush()
        return str(self._raw.getvalue(), "utf-8")


class _Screen(_Stream):
    """A terminal's screen."""

    def isatty(self) -> bool:
        return True


class _Keyboard(io.TextIOWrapper):
    """A terminal's keyboard, on which `typed` is typed."""

    def __init__(self, typed: str) -> None:
        super().__init__(io.BytesIO(typed.encode()), encoding="utf-8")

    def isatty(self) -> bool:
        return True

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        line = super().readline(size)
        if line.startswith("^C"):
            raise KeyboardInterrupt
        return line


@contextlib.contextmanager
def ensure_terminated(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Yield a process and end it afterwards."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C."""
    process.send_signal(signal.SIGINT)


def interrupt_and_wait(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C, and wait until the command says that it is stopping."""
    interrupt(process)
    assert process.stderr is not None
    while "Stopping" not in (line := process.stderr.readline()):
        assert line, "the command ended"


Row = dict[str, str]


def row(email: Email, deal: str | None = None, **more: str) -> Row:
    """Return the row of an email, with the deal to link it to if there is one."""
    cells = {
        "contact_id": email.contact,
        "owner_id": email.owner,
        "message_id": email.message,
    }
    return {**cells, **({"deal_id": deal} if deal is not None else {}), **more}


def rows(emails: Iterable[Email], deal: str | None = None, **more: str) -> list[Row]:
    """Return a row for each email."""
    return [row(email, deal, **more) for email in emails]


def free_rows(contacts: Iterable[Contact]) -> list[Row]:
    """Return the rows that link the free emails of contacts to the deal a of each."""
    return [line for contact in contacts for line in rows(contact.free, contact.a)]


def as_csv(mapping_rows: Sequence[Row]) -> str:
    """Return rows as CSV text, with the union of their columns in order of appearance."""
    header = list(dict.fromkeys(column for row_cells in mapping_rows for column in row_cells))
    file = io.StringIO()
    writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(mapping_rows)
    return file.getvalue()


def as_jsonl(mapping_rows: Sequence[Row]) -> str:
    """Return rows as JSONL text."""
    return "".join(json.dumps(row_cells) + "\n" for row_cells in mapping_rows)


def write_mapping(path: Path, mapping_rows: Sequence[Row]) -> Path:
    """Write rows to a CSV or JSONL file, as its name says, and return its path."""
    path.write_text(
        as_jsonl(mapping_rows) if path.suffix == ".jsonl" else as_csv(mapping_rows), "utf-8"
    )
    return path
