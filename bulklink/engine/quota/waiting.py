"""A wait of hours by the wall clock, right across sleep and changes of the clock. Pure."""

from __future__ import annotations

STEP = 15.0
"""Seconds between two looks at the clocks."""


class Wait:
    """How long is left of a wait, told by looking at two clocks now and then.

    A machine that slept shows it on its wall clock: that time has passed. A wall clock that was
    set back shows less than nothing: then the time that the other clock tells has passed, but
    never more than between two looks.

    Args:
        seconds: to wait.
        wall: seconds since 1970 now.
        monotonic: seconds of a clock that nobody sets, now.
    """

    def __init__(self, seconds: float, wall: float, monotonic: float) -> None:
        self.left = max(0.0, seconds)
        self._wall = wall
        self._monotonic = monotonic

    def look(self, wall: float, monotonic: float) -> float:
        """Note what the clocks show now and return the seconds that are left."""
        by_wall, by_monotonic = wall - self._wall, monotonic - self._monotonic
        passed = by_wall if by_wall >= 0 else min(max(0.0, by_monotonic), 2 * STEP)
        self._wall, self._monotonic = wall, monotonic
        self.left = max(0.0, self.left - passed)
        return self.left
