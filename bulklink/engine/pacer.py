"""Pacing: how many calls are in flight, how many start a second, and when nobody may start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from aiolimiter import AsyncLimiter

from bulklink.engine.stopping import Stopping

_BURST_SECONDS = 0.05


class Pacer:
    """Gives out the right to have a call in flight.

    Args:
        max_in_flight: calls in flight at once.
        max_per_second: calls that start in a second, with a burst of 50 ms of them; None is no
            limit.
        stopping: ends the waiting when the run stops.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_per_second: float | None,
        stopping: Stopping,
        clock: Callable[[], float],
    ) -> None:
        self._places = anyio.CapacityLimiter(max_in_flight)
        self._limiter = _limiter(max_per_second) if max_per_second else None
        self._stopping = stopping
        self._clock = clock
        self._paused_until = 0.0

    @property
    def max_in_flight(self) -> int:
        """Calls in flight at once."""
        return int(self._places.total_tokens)

    def resize(self, max_in_flight: int) -> None:
        """Change the number of calls in flight; calls that are in flight stay so."""
        self._places.total_tokens = max_in_flight

    @asynccontextmanager
    async def place(self, *, finishing: bool = False) -> AsyncIterator[None]:
        """Wait for a place among the calls in flight and for the moment to start; then hold it.

        Args:
            finishing: whether the call finishes a relink that a gentle stop must not tear.

        Raises:
            HaltedError: if the run was stopped.
        """
        async with self._places:
            if self._limiter is not None:
                await self._limiter.acquire()
            while (left := self._paused_until - self._clock()) > 0:
                await self._stopping.sleep(left, finishing=finishing)
            self._stopping.check(finishing=finishing)
            yield

    def pause(self, seconds: float) -> None:
        """Let no call start for so many seconds: the server said that there are too many."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)


def _limiter(per_second: float) -> AsyncLimiter:
    """Return a limiter with a burst of 50 ms of calls, or of one call where that is less."""
    burst = max(1.0, per_second * _BURST_SECONDS)
    return AsyncLimiter(burst, burst / per_second)
