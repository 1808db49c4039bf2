"""The command, run as a user runs it: in this process, or where that matters in one of its own."""

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
from typing import Any
from unittest import mock

import pytest

from bulklink.cli.main import main

from .world import Email

PROGRAM = str(Path(sys.executable).parent / "bulklink")
PATIENCE = 45
"""Seconds that any command of these tests may take."""
_OF_THE_SCREEN = ("COLUMNS", "LINES")
"""What readline, which pytest imports, says of a screen; a test's own terminal has its own size."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

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
    def said(self) -> str:
        """Return all that was printed."""
        return self.out + self.err


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `bulklink` in a folder of its own with a state folder of its own."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def given(self, **env: str) -> Command:
        """Return the same command with these environment variables too."""
        return Command(self.folder, {**self.env, **env})

    def environment(self) -> dict[str, str]:
        """Return the whole environment: none of the developer's own settings in it."""
        kept = {
            key: text
            for key, text in os.environ.items()
            if not key.startswith("BULKLINK_") and key not in _OF_THE_SCREEN
        }
        own = {
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }
        return {**kept, **own, **self.env}

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

    def __call__(self, *arguments: str | Path) -> Ended:
        """Run the command to its end in this process; starting another takes most of a second."""
        return self._in_process(arguments, _Stream())

    def asked(self, typed: str, *arguments: str | Path) -> Ended:
        """Run the command at a terminal where a person types this; `^C` is Ctrl-C."""
        with mock.patch.object(sys, "stdin", _Keyboard(typed)):
            return self._in_process(arguments, _Screen())

    def _in_process(self, arguments: Sequence[str | Path], err: _Stream) -> Ended:
        out = _Stream()
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
        return _without_traceback(Ended(code, out.written(), err.written()))

    def alone(
        self, *arguments: str | Path, stdin: str | None = None, within: float = PATIENCE
    ) -> Ended:
        """Run the installed command to its end in a process of its own."""
        process = self.start(*arguments, stdin=subprocess.PIPE if stdin is not None else None)
        return ended(process, stdin=stdin, within=within)


def ended(
    process: subprocess.Popen[str], stdin: str | None = None, within: float = PATIENCE
) -> Ended:
    """Wait for the end of a process that was started."""
    try:
        out, err = process.communicate(stdin, timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"not ended within {within} s\n{out}\n{err}") from None
    return _without_traceback(Ended(process.returncode, out, err))


def _without_traceback(ended: Ended) -> Ended:
    """Check that a user is shown no traceback, whatever happened."""
    assert "Traceback" not in ended.said, ended.said
    return ended


class _Stream(io.TextIOWrapper):
    """Takes what is printed."""

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
    """A terminal's keyboard, on which this is typed."""

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
def put_down(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Lend a process and see to it that it has ended afterwards."""
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


def as_csv(given: Sequence[Row]) -> str:
    """Return rows as CSV text, with the union of their columns in order of appearance."""
    header = list(dict.fromkeys(column for one in given for column in one))
    file = io.StringIO()
    writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(given)
    return file.getvalue()


def as_jsonl(given: Sequence[Row]) -> str:
    """Return rows as JSONL text."""
    return "".join(json.dumps(one) + "\n" for one in given)


def write_mapping(path: Path, given: Sequence[Row]) -> Path:
    """Write rows to a CSV or JSONL file, as its name says, and return its path."""
    path.write_text(as_jsonl(given) if path.suffix == ".jsonl" else as_csv(given), "utf-8")
    return path
