"""Rate limiter: how many calls start in a second."""

from __future__ import annotations

import math

import anyio
from aiolimiter import AsyncLimiter

from bulklink.engine.shutdown import StopController

_CATCH_UP = 0.02
"""Seconds of late wake-ups, or of no call to start, that are made up for, where the promise allows
it."""
_EPSILON = 1e-6


def burst_capacity(per_second: float) -> float:
    """Return the capacity of a leaky bucket that keeps the promise and loses the least rate.

    The promise: no second, its ends included, has more starts than the rate and a hundredth of it,
    or one call if that is more. A bucket of capacity c that leaks r calls a second lets at most
    r + c of them start in any second. What it holds beyond one call makes up for wake-ups that
    are late, and for seconds in which no call came: (c - 1) / r of them.

    Args:
        per_second: calls that start in a second.
    """
    promised = math.floor(per_second + max(1.0, per_second / 100) + _EPSILON)
    largest = promised + 1 - per_second - _EPSILON
    return min(1.0 + per_second * _CATCH_UP, largest)


class RateLimiter:
    """Lets calls start one after the other, at most at a rate.

    `AsyncLimiter` paces them; its capacity is so small that it keeps the promise of
    `burst_capacity` whatever comes late. What is ours is that a stop wakes those that wait.

    Args:
        per_second: calls that start in a second.
        stop: ends the waiting when the run stops.
    """

    def __init__(self, per_second: float, stop: StopController) -> None:
        self.per_second = per_second
        capacity = burst_capacity(per_second)
        self._limiter = AsyncLimiter(capacity, capacity / per_second)
        self._stop = stop
        self._waiting: dict[anyio.CancelScope, bool] = {}
        stop.on_stop(self._cancel_forbidden)

    async def acquire(self, *, completes_relink: bool = False) -> None:
        """Wait until a call may start; it starts right after.

        Args:
            completes_relink: whether the call finishes a relink that a gentle stop must not tear.

        Raises:
            StoppedError: if the run was stopped.
        """
        self._stop.check(completes_relink=completes_relink)
        with anyio.CancelScope() as scope:
            self._waiting[scope] = completes_relink
            try:
                await self._limiter.acquire()
            finally:
                del self._waiting[scope]
        self._stop.check(completes_relink=completes_relink)

    def _cancel_forbidden(self) -> None:
        """End the waiting of calls that may not start any more."""
        for scope, completes_relink in list(self._waiting.items()):
            if self._stop.forbids_start(completes_relink=completes_relink):
                scope.cancel()
