"""Clocks of a driver: that of the database for what is recorded, its own for the lease."""

from __future__ import annotations

import sys
import time

from bulklink.cluster.lease import Moment


def now() -> Moment:
    """Return the current moment by the clocks of this machine."""
    return Moment(_boot_time(), time.time())


if sys.platform == "linux":

    def _boot_time() -> float:
        """Return monotonic seconds that include the time in which the machine slept."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def _boot_time() -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC)  # includes it, unlike time.monotonic()

else:
    _boot_time = time.monotonic  # includes it on Windows


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
