"""A terminal for the command: what a person sees, and what they type. Not on Windows."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.e2e.command import PATIENCE, PROGRAM, Command

# The terminal is opened anew so that it controls the process: Ctrl-C is a signal then.
_AT_TERMINAL = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(slots=True)
class Terminal:
    """A running command at a pseudo-terminal."""

    process: subprocess.Popen[bytes]
    master: int
    seen: str = ""
    read: int = 0

    def expect(self, text: str) -> None:
        """Read until a text appears after what was expected before."""
        until = time.monotonic() + PATIENCE
        while (at := self.seen.find(text, self.read)) < 0:
            assert time.monotonic() < until, self.seen
            assert self._more(1.0), self.seen
        self.read = at + len(text)

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.master, text.encode() + b"\n")

    def interrupt(self) -> int:
        """Press Ctrl-C and return the exit code.

        A signal in the instant before a read is seen only after it, so a person who is as quick
        as a test presses it again.
        """
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until, self.seen
            os.write(self.master, b"\x03")
            self._more(1.0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0)
        return self.end()

    def end(self) -> int:
        """Read to the end and return the exit code."""
        until = time.monotonic() + PATIENCE
        while self._more(0.2) or self.process.poll() is None:
            assert time.monotonic() < until, self.seen
        return self.process.wait()

    def _more(self, within: float) -> bool:
        """Read what is there; tell whether there may be more."""
        if not select.select([self.master], [], [], within)[0]:
            return self.process.poll() is None
        try:
            raw = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.seen += raw.decode("utf-8", "replace")
        return bool(raw)


@contextlib.contextmanager
def at_terminal(command: Command, *arguments: str) -> Iterator[Terminal]:
    """Run the command at a terminal."""
    master, slave = vars(os)["openpty"]()  # Windows has none, and skips what uses this
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _AT_TERMINAL, PROGRAM, *arguments],
            cwd=command.folder,
            env={**command.environment(), "TERM": "dumb"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
    finally:
        os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
