"""Simulated machine with a disk, power, and interruptions of a process."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from enum import StrEnum
from pathlib import Path

import anyio

from bulklink.ledger.writer import DiskLedgerFiles

_REGULAR_FILE = os.stat_result((stat.S_IFREG | 0o600, 1, 1, 1, 0, 0, 0, 0, 0, 0))


class Interruption(StrEnum):
    """Interruption of a process."""

    POWER_LOSS = "power"
    """The machine loses power, and data that was written but not flushed may be lost."""
    KILL = "kill"
    """The process is killed; written data is kept."""
    DISK_ERROR = "disk"
    """The disk refuses one write or one flush."""
    CTRL_C = "stop"
    """The user presses Ctrl-C once."""


@dataclass(frozen=True)
class SimulatedCommand:
    """One command on a run (the first, a resume or a retry) and its interruption.

    Args:
        interruption: the interruption; None for none.
        at_event: number of the event, counted from 1, that triggers it. An event is a request
            sent, an answer received, a write, or a flush.
        loop_passes: passes of the event loop between that event and the interruption, so that any
            await can be interrupted.
        retry: whether failed rows and rows in doubt are retried.
        pause: seconds before the command.
        machine_mark: identifier of its machine; None for a machine without one.
    """

    interruption: Interruption | None = None
    at_event: int = 0
    loop_passes: int = 0
    retry: bool = False
    pause: float = 0.0
    machine_mark: str | None = "simulated"


@dataclass(slots=True)
class Machine:
    """The machine that runs one command.

    Args:
        command: the command and its interruption.
        on_stop: called for Ctrl-C.
        rng: determines how much of a torn write is kept.
        ledger: content of the ledger at the start.
        disk_seconds: duration of a write in seconds.
    """

    command: SimulatedCommand = SimulatedCommand()
    on_stop: Callable[[], None] = lambda: None
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    ledger: InitVar[bytes] = b""
    disk_seconds: float = 0.0
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope, init=False)
    is_off: bool = field(default=False, init=False)
    was_interrupted: bool = field(default=False, init=False)
    _events_left: int = field(init=False)
    _disk_fails: bool = field(default=False, init=False)
    _contents: list[bytearray] = field(init=False)
    _flushed: list[int] = field(init=False)
    _open_files: int = field(default=0, init=False)

    def __post_init__(self, ledger: bytes) -> None:
        self._events_left = self.command.at_event
        self._contents = [bytearray(ledger), bytearray()]
        self._flushed = [len(ledger), 0]

    def record_event(self) -> None:
        """Count an event, which may trigger the interruption."""
        if self.command.interruption is None or self.was_interrupted:
            return
        self._events_left -= 1
        if self._events_left == 0:
            self._interrupt_after(self.command.loop_passes)

    def disarm(self) -> None:
        """Disable the interruption after the command has ended."""
        self._events_left = -1

    def _interrupt_after(self, passes: int) -> None:
        if passes:
            asyncio.get_running_loop().call_soon(self._interrupt_after, passes - 1)
        elif self._events_left == 0:
            self._interrupt()

    def _interrupt(self) -> None:
        self.was_interrupted = True
        match self.command.interruption:
            case Interruption.POWER_LOSS | Interruption.KILL:
                self.is_off = True
                self.scope.cancel()
            case Interruption.DISK_ERROR:
                self._disk_fails = True
            case Interruption.CTRL_C:
                self.on_stop()

    async def wait_forever_if_off(self) -> None:
        """Block forever once the machine is off."""
        if self.is_off:
            await anyio.sleep_forever()

    @property
    def flushed(self) -> bytes:
        """The part of the ledger that is flushed to disk."""
        return bytes(self._contents[0][: self._flushed[0]])

    @property
    def written(self) -> bytes:
        """The ledger as a reader sees it."""
        return bytes(self._contents[0])

    def surviving_ledger(self) -> bytes:
        """Return the ledger that the next command finds."""
        content, flushed = self.written, self._flushed[0]
        if self.command.interruption is not Interruption.POWER_LOSS or not self.is_off:
            return content
        return content[: flushed + self.rng.randint(0, len(content) - flushed)]

    # The methods of `bulklink.folder_files.FileSystem` follow.

    def open(self, path: Path, flags: int, mode: int, /) -> int:
        del path, flags, mode
        self._open_files += 1
        return self._open_files - 1

    def fstat(self, file: int, /) -> os.stat_result:
        del file
        return _REGULAR_FILE

    def lstat(self, path: Path, /) -> os.stat_result:
        del path
        return _REGULAR_FILE

    def write(self, file: int, content: memoryview, /) -> int:
        self.record_event()
        if self._disk_fails:
            self._disk_fails = False
            self._contents[file] += content[: self.rng.randrange(len(content))]
            raise OSError(errno.ENOSPC, "No space left on device")
        if not self.is_off:
            self._contents[file] += content
        elif self._events_left == 0:
            self._events_left = -1  # the write that the interruption tears
            self._contents[file] += content[: self.rng.randrange(len(content))]
        return len(content)

    def fsync(self, file: int, /) -> None:
        self.record_event()
        if self._disk_fails:
            self._disk_fails = False
            raise OSError(errno.EIO, "Input/output error")
        if not self.is_off:
            self._flushed[file] = len(self._contents[file])

    def close(self, file: int, /) -> None:
        pass


class MachineFiles:
    """Files of a run on a simulated machine, written by the real writer without its thread.

    Args:
        machine: the machine.
        copy: file that the ledger is copied to when closed, for later readers; None for no copy.
    """

    def __init__(self, machine: Machine, copy: Path | None = None) -> None:
        self._machine = machine
        self._copy = copy
        self._files = DiskLedgerFiles(Path("ledger"), Path("answers"), system=machine)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        await anyio.sleep(self._machine.disk_seconds)
        self._files.write_blocking(ledger, answers)

    def close(self) -> None:
        self._files.close()
        if self._copy is not None:
            self._copy.write_bytes(self._machine.written)
