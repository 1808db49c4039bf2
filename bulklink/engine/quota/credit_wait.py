"""Wait for credits, shared by all calls, correct across sleep and clock changes."""

from __future__ import annotations

from collections.abc import Callable

CLOCK_CHECK_SECONDS = 15.0
"""Seconds between two checks of the clocks."""


class WallClockTimer:
    """Timer for waits of hours, correct across sleep and clock changes (pure).

    Time during which the machine slept shows on the wall clock, and counts. If the wall clock was
    set back, the monotonic clock counts instead, but at most two steps of it.

    Args:
        seconds: seconds to wait.
        wall: current time in seconds since 1970.
        monotonic: current monotonic time in seconds.

    Attributes:
        remaining: seconds left.
    """

    def __init__(self, seconds: float, wall: float, monotonic: float) -> None:
        self.remaining = max(0.0, seconds)
        self._wall = wall
        self._monotonic = monotonic

    def update(self, wall: float, monotonic: float) -> float:
        """Return the seconds left according to the clocks."""
        by_wall, by_monotonic = wall - self._wall, monotonic - self._monotonic
        elapsed = by_wall if by_wall >= 0 else min(max(0.0, by_monotonic), 2 * CLOCK_CHECK_SECONDS)
        self._wall, self._monotonic = wall, monotonic
        self.remaining = max(0.0, self.remaining - elapsed)
        return self.remaining


class QuotaWait:
    """The wait for credits shared by all calls.

    Args:
        wall: returns seconds since 1970.
        monotonic: returns monotonic seconds.
        on_change: called with the end of a wait in seconds since 1970, and with None after it.

    Attributes:
        waited: seconds of all finished waits.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        on_change: Callable[[float | None], None],
    ) -> None:
        self.waited = 0.0
        self._wall = wall
        self._monotonic = monotonic
        self._on_change = on_change
        self._timer: WallClockTimer | None = None
        self._began_at = 0.0

    @property
    def is_active(self) -> bool:
        """Whether calls wait for credits."""
        return self._timer is not None

    @property
    def waited_so_far(self) -> float:
        """Seconds of all waits, including the current one."""
        return self.waited + (self._monotonic() - self._began_at if self.is_active else 0.0)

    def begin(self, seconds: float) -> None:
        """Start a wait."""
        self._began_at = self._monotonic()
        self._timer = WallClockTimer(seconds, self._wall(), self._began_at)
        self._on_change(self._wall() + seconds)

    def poll(self) -> float:
        """Return the seconds left; at 0 the wait is over."""
        if self._timer is None:
            return 0.0
        remaining = self._timer.update(self._wall(), self._monotonic())
        if not remaining:
            self._timer = None
            self.waited += self._monotonic() - self._began_at
            self._on_change(None)
        return remaining
