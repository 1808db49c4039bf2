"""Terminals of some width at which commands run: what stands on the screen, again and again."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyte
import pytest

from tests.e2e.command import PROGRAM, TIMEOUT, Command

LINES = 50
_QUIET = 0.05
"""Seconds without output after which what stands on the screen is a whole picture."""


@dataclass(slots=True)
class WatchedCommand:
    """A command at a terminal.

    `screens` are the different screens that could be seen, each a list of its lines.
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
        """What stands on the screen at the end."""
        return self.screens[-1]

    def take_picture(self) -> None:
        """Take a picture, if it is another one than the last."""
        screen_lines = [line.rstrip() for line in self.screen.display]
        while screen_lines and not screen_lines[-1]:
            screen_lines.pop()
        if not self.screens or screen_lines != self.screens[-1]:
            self.screens.append(screen_lines)


def start(command: Command, columns: int, *arguments: str, term: str = "xterm") -> WatchedCommand:
    """Start a command at a terminal."""
    master, slave = vars(os)["openpty"]()  # Windows has none, and skips what uses this
    pytest.importorskip("termios").tcsetwinsize(slave, (LINES, columns))
    env = {**command.environment(), "TERM": term}
    env.pop("COLUMNS", None)  # it goes before what the terminal says of itself
    try:
        process = subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=command.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
    finally:
        os.close(slave)
    return WatchedCommand(columns, process, master, pyte.Screen(columns, LINES))


def watch_to_end(*commands: WatchedCommand) -> None:
    """Look at commands to their ends."""
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


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""
