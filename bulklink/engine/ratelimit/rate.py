"""Calls a second: `StartSchedule` decides and knows no clock, `RateLimiter` waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from bulklink.engine.shutdown import StopController

_WINDOW = 1.0
_TOLERANCE = 0.008
"""What a second may have beyond the rate, as a part of it; one call at least. The promise is a
hundredth: the rest is for a call that is seen to start a moment after its slot."""
_EPSILON = 1e-6
"""A call that starts exactly a second after another is in one second with it."""
_MAX_LATENESS = 1.0
"""Seconds of late starts that are made up for while calls wait; the window bounds it anyhow."""
_MAX_IDLENESS = 0.02
"""Seconds of idleness that are made up for, so that calls which come one by one lose nothing."""


class StartSchedule:
    """When calls may start: a slot each 1/rate seconds (GCRA), and a window of the last starts.

    Late starts are made up for, for nobody is woken in time; the window holds every second, its
    ends included, to the rate and a hundredth of it, or one call. So what a wake-up is late beyond
    8 ms (or one slot, if that is longer) is lost.

    Args:
        per_second: calls that start in a second.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._next_start = 0.0
        max_starts = int(per_second + max(1.0, per_second * _TOLERANCE) + 1e-9)
        self._recent_starts: deque[float] = deque(maxlen=max_starts)

    def delay(self, now: float) -> float:
        """Return the seconds until a call may start, 0 for now."""
        due = self._next_start
        if len(self._recent_starts) == self._recent_starts.maxlen:
            due = max(due, self._recent_starts[0] + _WINDOW + _EPSILON)
        return max(0.0, due - now)

    def on_arrival(self, now: float) -> None:
        """Note that a call comes while none waits: slots in which nobody came are gone."""
        if not self._recent_starts or now - self._recent_starts[-1] > _MAX_IDLENESS:
            self._next_start = max(self._next_start, now - _MAX_IDLENESS)

    def on_start(self, now: float) -> None:
        """Note that a call starts now."""
        self._next_start = max(self._next_start, now - _MAX_LATENESS) + 1.0 / self.per_second
        self._recent_starts.append(now)


class RateLimiter:
    """Lets calls start one after the other, each in a slot of its own.

    Args:
        per_second: calls that start in a second.
        stopping: ends the waiting when the run stops.
        clock: monotonic seconds.
    """

    def __init__(self, per_second: float, stop: StopController, clock: Callable[[], float]) -> None:
        self.per_second = per_second
        self._schedule = StartSchedule(per_second)
        self._stop = stop
        self._clock = clock
        self._lock = anyio.Lock(fast_acquire=True)

    async def acquire(self, *, completes_relink: bool = False) -> None:
        """Wait for the next slot and take it.

        The slot is taken by the task that starts, when it runs: what is late anywhere before
        that is seen.

        Args:
            completes_relink: whether the call finishes a relink that a gentle stop must not tear.

        Raises:
            StoppedError: if the run was stopped.
        """
        if not self._lock.locked():
            self._schedule.on_arrival(self._clock())
        async with self._lock:
            while delay := self._schedule.delay(self._clock()):
                await self._stop.sleep(delay, completes_relink=completes_relink)
            self._stop.check(completes_relink=completes_relink)
            self._schedule.on_start(self._clock())
