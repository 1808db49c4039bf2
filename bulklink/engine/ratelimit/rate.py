"""The rate: how many calls start a second. `Slots` decides and knows no clock, `Rate` waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from bulklink.engine.shutdown import Stopping

_WINDOW = 1.0
_MORE = 0.008
"""What a second may have beyond the rate, as a part of it; one call at least. The promise is a
hundredth: the rest is for a call that is seen to start a moment after its slot."""
_STRICTLY = 1e-6
"""A call that starts exactly a second after another is in one second with it."""
_LATE = 1.0
"""Seconds of late starts that are made up for while calls wait; the window bounds it anyhow."""
_IDLE = 0.02
"""Seconds of idleness that are made up for, so that calls which come one by one lose nothing."""


class Slots:
    """When calls may start: a slot each 1/rate seconds (GCRA), and a window of the last starts.

    Late starts are made up for, for nobody is woken in time; the window holds every second, its
    ends included, to the rate and a hundredth of it, or one call. So what a wake-up is late beyond
    8 ms (or one slot, if that is longer) is lost.

    Args:
        per_second: calls that start in a second.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        self._next = 0.0
        most = int(per_second + max(1.0, per_second * _MORE) + 1e-9)
        self._last: deque[float] = deque(maxlen=most)

    def wait(self, now: float) -> float:
        """Return the seconds until a call may start, 0 for now."""
        due = self._next
        if len(self._last) == self._last.maxlen:
            due = max(due, self._last[0] + _WINDOW + _STRICTLY)
        return max(0.0, due - now)

    def came(self, now: float) -> None:
        """Note that a call comes while none waits: slots in which nobody came are gone."""
        if not self._last or now - self._last[-1] > _IDLE:
            self._next = max(self._next, now - _IDLE)

    def start(self, now: float) -> None:
        """Note that a call starts now."""
        self._next = max(self._next, now - _LATE) + 1.0 / self.per_second
        self._last.append(now)


class Rate:
    """Lets calls start one after the other, each in a slot of its own.

    Args:
        per_second: calls that start in a second.
        stopping: ends the waiting when the run stops.
        clock: monotonic seconds.
    """

    def __init__(self, per_second: float, stopping: Stopping, clock: Callable[[], float]) -> None:
        self.per_second = per_second
        self._slots = Slots(per_second)
        self._stopping = stopping
        self._clock = clock
        self._first = anyio.Lock(fast_acquire=True)

    async def start(self, *, finishing: bool = False) -> None:
        """Wait for the next slot and take it.

        The slot is taken by the task that starts, when it runs: what is late anywhere before
        that is seen.

        Args:
            finishing: whether the call finishes a relink that a gentle stop must not tear.

        Raises:
            HaltedError: if the run was stopped.
        """
        if not self._first.locked():
            self._slots.came(self._clock())
        async with self._first:
            while left := self._slots.wait(self._clock()):
                await self._stopping.sleep(left, finishing=finishing)
            self._stopping.check(finishing=finishing)
            self._slots.start(self._clock())
