"""Clocks of a driver: that of the database for what is recorded, its own for the lease."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from bulklink.cluster.lease import Moment
from bulklink.engine.clock import Clock, real_clock


def now() -> Moment:
    """Return the current moment by the clocks of this machine."""
    return Moment(_boot_time(), time.time())


def _boot_time() -> float:
    """Return monotonic seconds that include the time in which the machine slept."""
    if sys.platform == "win32":
        return time.monotonic()  # counts it
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)  # counts it, unlike time.monotonic()
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DatabaseClock:
    """Wall clock of the database, as this machine estimates it.

    Everything that drivers on several machines record and compare, such as the minutes in which
    credits were spent, is in this time: so a machine whose clock is a year off does no harm.
    """

    def __init__(self) -> None:
        self._offset = 0.0

    def set(self, database_wall: float, asked_at: Moment, answered_at: Moment) -> None:
        """Compare the clocks.

        Args:
            database_wall: time of the database, seconds since 1970.
            asked_at: moment before it was asked for its time.
            answered_at: moment after its answer.
        """
        half = (answered_at.boot - asked_at.boot) / 2
        self._offset = database_wall - (answered_at.boot - half)

    def wall(self) -> float:
        """Return the time of the database, in seconds since 1970."""
        return _boot_time() + self._offset

    def clock(self, monotonic: Callable[[], float] | None = None) -> Clock:
        """Return the clocks of a run, with this one as its wall clock."""
        real = real_clock()
        return Clock(wall=self.wall, monotonic=monotonic or real.monotonic, random=real.random)
