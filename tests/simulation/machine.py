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

from bulklink.ledger.writer import DiskFiles


class Strike(StrEnum):
    """What happens to a process."""

    POWER = "power"
    """The machine loses its power, and what was written but not flushed."""
    KILL = "kill"
    """The process is killed; what was written stays."""
    DISK = "disk"
    """The disk refuses one write or one flush."""
    STOP = "stop"
    """A person presses Ctrl-C once."""


@dataclass(frozen=True)
class Life:
    """One command on a run: the first one, a resume or a retry, and what strikes it.

    `at` is the event that it strikes at: a request leaves, an answer comes, bytes are written, a
    file is flushed. `later` is how many passes of the event loop after that, so that any await can
    be met. `pause` is seconds before the life.
    """

    strike: Strike | None = None
    at: int = 0
    later: int = 0
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
        life: Life = Life(),
        on_stop: Callable[[], None] = lambda: None,
        chance: random.Random | None = None,
        ledger: bytes = b"",
        disk_seconds: float = 0.0,
    ) -> None:
        self._life = life
        self._on_stop = on_stop
        self._chance = chance or random.Random(0)
        self._left = life.at
        self._failing = False
        self._contents = [bytearray(ledger), bytearray()]
        self._flushed = [len(ledger), 0]
        self._opened = 0
        self.disk_seconds = disk_seconds
        self.scope = anyio.CancelScope()
        self.off = False
        self.struck = False

    def event(self) -> None:
        """Note an event; the strike may follow."""
        if self._life.strike is None or self.struck:
            return
        self._left -= 1
        if self._left == 0:
            self._in_passes(self._life.later)

    def over(self) -> None:
        """Note that the life ended by itself: nothing strikes it any more."""
        self._left = -1

    def _in_passes(self, passes: int) -> None:
        if passes:
            asyncio.get_running_loop().call_soon(self._in_passes, passes - 1)
        elif self._left == 0:
            self._strike()

    def _strike(self) -> None:
        self.struck = True
        match self._life.strike:
            case Strike.POWER | Strike.KILL:
                self.off = True
                self.scope.cancel()
            case Strike.DISK:
                self._failing = True
            case Strike.STOP:
                self._on_stop()

    async def up(self) -> None:
        """Go on only while the machine does."""
        if self.off:
            await anyio.sleep_forever()

    @property
    def flushed(self) -> bytes:
        """What the ledger holds for certain."""
        return bytes(self._contents[0][: self._flushed[0]])

    @property
    def written(self) -> bytes:
        """What a reader of the ledger sees now."""
        return bytes(self._contents[0])

    def survivors(self) -> bytes:
        """Return what the next life finds in the ledger."""
        content, flushed = self.written, self._flushed[0]
        if self._life.strike is not Strike.POWER or not self.off:
            return content
        return content[: flushed + self._chance.randint(0, len(content) - flushed)]

    # What follows is `bulklink.ledger.writer.System`.

    def open(self, path: Path, flags: int, mode: int, /) -> int:
        del path, flags, mode
        self._opened += 1
        return self._opened - 1

    def write(self, file: int, content: memoryview, /) -> int:
        self.event()
        if self._failing:
            self._failing = False
            self._contents[file] += content[: self._chance.randrange(len(content))]
            raise OSError(errno.ENOSPC, "No space left on device")
        if not self.off:
            self._contents[file] += content
        elif self._left == 0:
            self._left = -1  # the write that the strike tears
            self._contents[file] += content[: self._chance.randrange(len(content))]
        return len(content)

    def fsync(self, file: int, /) -> None:
        self.event()
        if self._failing:
            self._failing = False
            raise OSError(errno.EIO, "Input/output error")
        if not self.off:
            self._flushed[file] = len(self._contents[file])

    def close(self, file: int, /) -> None:
        pass


class MachineFiles:
    """The two files of a run on such a machine: the real code that writes, without its thread."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._files = DiskFiles(Path("ledger"), Path("answers"), system=machine)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        await anyio.sleep(self._machine.disk_seconds)
        self._files.write_now(ledger, answers)

    def close(self) -> None:
        self._files.close()
