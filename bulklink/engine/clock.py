"""Clocks and randomness of a run, injected for tests."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import msgspec

from bulklink.ledger.records import timestamp


class Clock(msgspec.Struct, frozen=True):
    """Clocks and randomness of a run.

    Args:
        wall: returns seconds since 1970.
        monotonic: returns seconds of a clock that never jumps.
        random: returns a random number from 0 to 1.
        cpu_time: returns seconds of processor time of this process.
    """

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]
    cpu_time: Callable[[], float] = time.process_time

    def monotonic_at(self, wall: float) -> float:
        """Return the monotonic time of a past moment, in seconds.

        A moment in the future counts as now, as one of the two clocks must be wrong.

        Args:
            wall: seconds since 1970.
        """
        return self.monotonic() - max(0.0, self.wall() - wall)

    def timestamp(self) -> str:
        """Return the current time in the ledger's format."""
        return timestamp(self.wall())


def real_clock() -> Clock:
    """Return the clocks and the randomness of this machine."""
    return Clock(wall=time.time, monotonic=time.monotonic, random=random.random)
