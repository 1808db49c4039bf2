"""Rate limiter for the calls that start per second."""

from __future__ import annotations

import math

import anyio
from aiolimiter import AsyncLimiter

from bulklink.engine.shutdown import StopController

_CATCH_UP = 0.02
"""Seconds of late wake-ups or idle time that later calls make up for, if the guarantee allows."""
_EPSILON = 1e-6


def burst_capacity(per_second: float) -> float:
    """Return the largest capacity of a leaky bucket that keeps the guarantee.

    The guarantee: in any closed interval of one second, the number of starts exceeds the rate by at
    most a hundredth of it, or by one call if that is more. A bucket of capacity c that leaks r
    calls per second lets at most r + c calls start in any second. Its capacity beyond one call
    makes up for (c - 1) / r seconds of late wake-ups or idle time.

    Args:
        per_second: calls started per second.
    """
    promised = math.floor(per_second + max(1.0, per_second / 100) + _EPSILON)
    largest = promised + 1 - per_second - _EPSILON
    return min(1.0 + per_second * _CATCH_UP, largest)


class RateLimiter:
    """Lets calls start one after the other, at no more than a given rate.

    `AsyncLimiter` paces the calls; its capacity is small enough to keep the guarantee of
    `burst_capacity` however late a task wakes. This class adds that a stop wakes waiting calls.

    Args:
        per_second: calls started per second.
        stop: ends all waits when the run stops.
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
            completes_relink: whether the call completes a relink, which a graceful stop allows.

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
        """End the waits of calls that may no longer start."""
        for scope, completes_relink in list(self._waiting.items()):
            if self._stop.forbids_start(completes_relink=completes_relink):
                scope.cancel()
