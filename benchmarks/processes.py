"""CPU time, wall time and peak memory of a command, without those of the script that measures it.

The system counts the memory of the process that starts another one as the first memory of that
other one. So a command is started by a small process in between.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import NamedTuple

_KB = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit in which the system reports resident memory."""
_LAUNCHER = """
import json, os, signal, subprocess, sys, time

started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
signal.signal(signal.SIGTERM, lambda *_: process.kill())
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
figures = usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss
os.write(int(sys.argv[1]), json.dumps((code, *figures)).encode())
"""


class Figures(NamedTuple):
    """Figures of one process.

    Args:
        cpu: CPU seconds.
        seconds: how long it took.
        memory: peak resident memory in bytes.
        output: what it wrote to its standard output.
    """

    cpu: float
    seconds: float
    memory: int
    output: bytes


class MeasuredProcess:
    """A running command whose figures are taken when it ends.

    Args:
        command: path of the program and its arguments.
        env: its environment; None for that of this process.
    """

    def __init__(self, command: list[str], env: dict[str, str] | None = None) -> None:
        assert sys.platform != "win32", "Windows does not report the memory of child processes"
        self._command = command
        figures, written = os.pipe()
        self._figures = figures
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(written), *command],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(written,),
            )
        finally:
            os.close(written)

    def has_ended(self) -> bool:
        """Return whether the command has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the command."""
        self._process.terminate()

    def wait(self, expected: tuple[int, ...] = (0,)) -> Figures:
        """Wait for the end of the command and return its figures.

        Args:
            expected: exit codes of a command that did what it should; that of a signal is negative.

        Raises:
            SystemExit: if it ended with another code.
        """
        output, _ = self._process.communicate()
        with os.fdopen(self._figures, "rb") as file:
            code, cpu, seconds, memory = json.load(file)
        if code not in expected:
            raise SystemExit(f"{' '.join(self._command)} exited with code {code}.")
        return Figures(cpu, seconds, memory * _KB, output)


def measure(
    command: list[str], expected: tuple[int, ...] = (0,), env: dict[str, str] | None = None
) -> Figures:
    """Run a command to its end and return its figures.

    Raises:
        SystemExit: if it ended with a code that was not expected.
    """
    return MeasuredProcess(command, env).wait(expected)
