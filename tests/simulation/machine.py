"""The machine that bulklink runs on: its disk, its power, and what ends the life of a process."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import anyio

from bulklink.ledger.writer import DiskLedgerFiles


class Interruption(StrEnum):
    """What happens to a process."""

    POWER_LOSS = "power"
    """The machine loses its power, and what was written but not flushed."""
    KILL = "kill"
    """The process is killed; what was written stays."""
    DISK_ERROR = "disk"
    """The disk refuses one write or one flush."""
    CTRL_C = "stop"
    """A person presses Ctrl-C once."""


@dataclass(frozen=True)
class SimulatedCommand:
    """One command on a run: the first one, a resume or a retry, and what strikes it.

    `at_event` is the event that it strikes at: a request leaves, an answer comes, bytes are
    written, a file is flushed. `loop_passes` is how many passes of the event loop after that, so
    that any await can be met. `next_pause` is seconds before the life.
    """

    interruption: Interruption | None = None
    at_event: int = 0
    loop_passes: int = 0
    retry: bool = False
    pause: float = 0.0


class Machine:
    """Runs one life.

    Args:
        life: what strikes it.
        on_stop: does what Ctrl-C does.
        chance: decides how much of a torn write stays.
        ledger: what the ledger holds at the start.
        disk_seconds: that a write takes.
    """

    def __init__(
        self,
        command: SimulatedCommand = SimulatedCommand(),
        on_stop: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
        ledger: bytes = b"",
        disk_seconds: float = 0.0,
    ) -> None:
        self._command = command
        self._on_stop = on_stop
        self._rng = rng or random.Random(0)
        self._events_left = command.at_event
        self._disk_fails = False
        self._contents = [bytearray(ledger), bytearray()]
        self._flushed = [len(ledger), 0]
        self._open_files = 0
        self.disk_seconds = disk_seconds
        self.scope = anyio.CancelScope()
        self.is_off = False
        self.was_interrupted = False

    def record_event(self) -> None:
        """Note an event; the strike may follow."""
        if self._command.interruption is None or self.was_interrupted:
            return
        self._events_left -= 1
        if self._events_left == 0:
            self._interrupt_after(self._command.loop_passes)

    def disarm(self) -> None:
        """Note that the life ended by itself: nothing strikes it any more."""
        self._events_left = -1

    def _interrupt_after(self, passes: int) -> None:
        if passes:
            asyncio.get_running_loop().call_soon(self._interrupt_after, passes - 1)
        elif self._events_left == 0:
            self._interrupt()

    def _interrupt(self) -> None:
        self.was_interrupted = True
        match self._command.interruption:
            case Interruption.POWER_LOSS | Interruption.KILL:
                self.is_off = True
                self.scope.cancel()
            case Interruption.DISK_ERROR:
                self._disk_fails = True
            case Interruption.CTRL_C:
                self._on_stop()

    async def wait_forever_if_off(self) -> None:
        """Go on only while the machine does."""
        if self.is_off:
            await anyio.sleep_forever()

    @property
    def flushed(self) -> bytes:
        """What the ledger holds for certain."""
        return bytes(self._contents[0][: self._flushed[0]])

    @property
    def written(self) -> bytes:
        """What a reader of the ledger sees now."""
        return bytes(self._contents[0])

    def surviving_ledger(self) -> bytes:
        """Return what the next life finds in the ledger."""
        content, flushed = self.written, self._flushed[0]
        if self._command.interruption is not Interruption.POWER_LOSS or not self.is_off:
            return content
        return content[: flushed + self._rng.randint(0, len(content) - flushed)]

    # What follows is `bulklink.ledger.writer.System`.

    def open(self, path: Path, flags: int, mode: int, /) -> int:
        del path, flags, mode
        self._open_files += 1
        return self._open_files - 1

    def write(self, file: int, content: memoryview, /) -> int:
        self.record_event()
        if self._disk_fails:
            self._disk_fails = False
            self._contents[file] += content[: self._rng.randrange(len(content))]
            raise OSError(errno.ENOSPC, "No space left on device")
        if not self.is_off:
            self._contents[file] += content
        elif self._events_left == 0:
            self._events_left = -1  # the write that the strike tears
            self._contents[file] += content[: self._rng.randrange(len(content))]
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
    """The two files of a run on such a machine: the real code that writes, without its thread."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._files = DiskLedgerFiles(Path("ledger"), Path("answers"), system=machine)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        await anyio.sleep(self._machine.disk_seconds)
        self._files.write_blocking(ledger, answers)

    def close(self) -> None:
        self._files.close()
