"""The rate: how many calls start a second."""

from __future__ import annotations

from aiolimiter import AsyncLimiter

_BURST_SECONDS = 0.05


class Rate:
    """Lets calls start so many times a second, with a burst of 50 ms of them.

    Args:
        per_second: calls that start in a second.
    """

    def __init__(self, per_second: float) -> None:
        self.per_second = per_second
        burst = max(1.0, per_second * _BURST_SECONDS)
        self._limiter = AsyncLimiter(burst, burst / per_second)

    async def start(self) -> None:
        """Wait for the moment at which the next call may start."""
        await self._limiter.acquire()
