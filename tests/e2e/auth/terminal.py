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

from tests.e2e.command import PROGRAM, TIMEOUT, Command

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

        A signal in the instant before a read is seen only after it, so a person who is as quick
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
        """Read what is there; tell whether there may be more."""
        if not select.select([self.master], [], [], timeout)[0]:
            return self.process.poll() is None
        try:
            raw = os.read(self.master, 65536)
        except OSError:  # the other end is closed
            return False
        self.output += raw.decode("utf-8", "replace")
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
