"""Commands at a pseudo-terminal: what the user sees and types. Not on Windows."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyte
import pytest

from tests.e2e.command import PROGRAM, TIMEOUT, Command

_LINES = 50
_QUIET = 0.05
"""Seconds without output after which the screen is complete."""

# The terminal is opened again so that it controls the process: Ctrl-C is a signal then.
_AT_TERMINAL = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.argv[1], sys.argv[1:])
"""


def _start(
    command: Command, program: Sequence[str], columns: int, *, has_stdin: bool, **env: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program at a terminal; return its process and the terminal's other end."""
    master, slave = vars(os)["openpty"]()  # Windows has none, and skips what uses this
    pytest.importorskip("termios").tcsetwinsize(slave, (_LINES, columns))
    try:
        process = subprocess.Popen(
            program,
            cwd=command.folder,
            env={**command.environment(), **env},
            stdin=slave if has_stdin else subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
    finally:
        os.close(slave)
    return process, master


def _read(master: int) -> bytes:
    """Return what was printed since; nothing if the process has closed the terminal."""
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""


def run_at_terminal(command: Command, *arguments: str, columns: int = 80, **env: str) -> str:
    """Run the command at a terminal to its end and return what it printed."""
    process, master = _start(command, [PROGRAM, *arguments], columns, has_stdin=False, **env)
    chunks = list(iter(lambda: _read(master), b""))
    os.close(master)
    assert process.wait(TIMEOUT) == 0
    return b"".join(chunks).decode()


@dataclass(slots=True)
class Terminal:
    """A running command at a terminal on which the test types.

    Args:
        process: the command.
        master: the terminal's other end.
        output: what was printed so far.
        position: end of what was expected so far.
    """

    process: subprocess.Popen[bytes]
    master: int
    output: str = ""
    position: int = 0

    def expect(self, text: str) -> None:
        """Read until a text appears after what was expected before."""
        until = time.monotonic() + TIMEOUT
        while (at := self.output.find(text, self.position)) < 0:
            assert time.monotonic() < until, self.output
            assert self._read_more(1.0), self.output
        self.position = at + len(text)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.master, text.encode() + b"\n")

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code.

        A signal in the instant before a read is noticed only after it, so a user who is as quick
        as a test presses it again.
        """
        until = time.monotonic() + TIMEOUT
        while self.process.poll() is None:
            assert time.monotonic() < until, self.output
            os.write(self.master, b"\x03")
            self._read_more(1.0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0)
        return self.end()

    def end(self) -> int:
        """Read to the end and return the exit code."""
        until = time.monotonic() + TIMEOUT
        while self._read_more(0.2) or self.process.poll() is None:
            assert time.monotonic() < until, self.output
        return self.process.wait()

    def _read_more(self, timeout: float) -> bool:
        """Read what is there; return whether there may be more."""
        if not select.select([self.master], [], [], timeout)[0]:
            return self.process.poll() is None
        raw = _read(self.master)
        self.output += raw.decode("utf-8", "replace")
        return bool(raw)


@contextlib.contextmanager
def at_terminal(command: Command, *arguments: str) -> Iterator[Terminal]:
    """Run the command at a terminal on which the test types."""
    program = [sys.executable, "-c", _AT_TERMINAL, PROGRAM, *arguments]
    process, master = _start(command, program, 80, has_stdin=True, TERM="dumb")
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)


@dataclass(slots=True)
class WatchedCommand:
    """A command at a terminal whose screens are recorded.

    Args:
        columns: width of the terminal.
        process: the command.
        master: the terminal's other end.
        screen: the terminal's emulation.
        screens: the different screens so far, each a list of its lines.
        raw: all that was printed.
        open: whether the process has the terminal open.
    """

    columns: int
    process: subprocess.Popen[bytes]
    master: int
    screen: pyte.Screen
    screens: list[list[str]] = field(default_factory=list)
    raw: bytes = b""
    open: bool = True

    @property
    def last(self) -> list[str]:
        """The screen at the end."""
        return self.screens[-1]

    def take_picture(self) -> None:
        """Record the screen, if it has changed."""
        screen_lines = [line.rstrip() for line in self.screen.display]
        while screen_lines and not screen_lines[-1]:
            screen_lines.pop()
        if not self.screens or screen_lines != self.screens[-1]:
            self.screens.append(screen_lines)


def start_watched(command: Command, columns: int, *arguments: str) -> WatchedCommand:
    """Start a command at a terminal."""
    process, master = _start(command, [PROGRAM, *arguments], columns, has_stdin=False, TERM="xterm")
    return WatchedCommand(columns, process, master, pyte.Screen(columns, _LINES))


def watch_to_end(*commands: WatchedCommand) -> None:
    """Record the screens of commands until they end."""
    streams = {command.master: (command, pyte.ByteStream(command.screen)) for command in commands}
    until = time.monotonic() + TIMEOUT
    while any(command.open for command in commands):
        assert time.monotonic() < until, [command.screen.display for command in commands]
        ready = _ready([command for command in commands if command.open])
        for master in ready:
            command, stream = streams[master]
            content = _read(master)
            command.open = bool(content)
            command.raw += content
            stream.feed(content)
        for command in commands:
            if command.master not in ready or not command.open:
                command.take_picture()
    for command in commands:
        command.process.wait(TIMEOUT)
        os.close(command.master)


def _ready(commands: Sequence[WatchedCommand]) -> list[int]:
    return list(select.select([command.master for command in commands], [], [], _QUIET)[0])
