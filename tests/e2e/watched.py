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

from .command import PATIENCE, PROGRAM, Command

LINES = 50
_QUIET = 0.05
"""Seconds without output after which what stands on the screen is a whole picture."""


@dataclass(slots=True)
class Watched:
    """A command at a terminal.

    `pictures` are the different screens that could be seen, each a list of its lines.
    """

    columns: int
    process: subprocess.Popen[bytes]
    master: int
    screen: pyte.Screen
    pictures: list[list[str]] = field(default_factory=list)
    raw: bytes = b""
    open: bool = True

    @property
    def last(self) -> list[str]:
        """What stands on the screen at the end."""
        return self.pictures[-1]

    def take(self) -> None:
        """Take a picture, if it is another one than the last."""
        seen = [line.rstrip() for line in self.screen.display]
        while seen and not seen[-1]:
            seen.pop()
        if not self.pictures or seen != self.pictures[-1]:
            self.pictures.append(seen)


def start(command: Command, columns: int, *arguments: str, term: str = "xterm") -> Watched:
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
    return Watched(columns, process, master, pyte.Screen(columns, LINES))


def watch(*watched: Watched) -> None:
    """Look at commands to their ends."""
    streams = {one.master: (one, pyte.ByteStream(one.screen)) for one in watched}
    until = time.monotonic() + PATIENCE
    while any(one.open for one in watched):
        assert time.monotonic() < until, [one.screen.display for one in watched]
        ready = _ready([one for one in watched if one.open])
        for master in ready:
            one, stream = streams[master]
            content = _read(master)
            one.open = bool(content)
            one.raw += content
            stream.feed(content)
        for one in watched:
            if one.master not in ready or not one.open:
                one.take()
    for one in watched:
        one.process.wait(PATIENCE)
        os.close(one.master)


def _ready(watched: Sequence[Watched]) -> list[int]:
    return list(select.select([one.master for one in watched], [], [], _QUIET)[0])


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError:  # the other end is closed
        return b""
