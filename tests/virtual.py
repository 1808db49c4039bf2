"""Event loop on virtual time: an hour of waiting takes milliseconds and is reproducible."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_TICK = 1e-6
_MAX_IDLE_PASSES = 100_000


class _VirtualSelector(selectors.DefaultSelector):
    """Selector that adds the time-out to a counter instead of waiting."""

    now = 1_800_000_000.0
    _idle = 0

    def __init__(self, lateness: Callable[[], float]) -> None:
        super().__init__()
        self._lateness = lateness

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or not timeout:
            # A microsecond, or timers that re-arm for a rounding remainder would hang.
            self.now += _TICK
        else:
            self.now += timeout + self._lateness()
        self._idle = self._idle + 1 if timeout is None and not ready else 0
        if self._idle > _MAX_IDLE_PASSES:
            raise RuntimeError("every task waits for an event that will never happen")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Event loop for tests that wait; `time()` is also the wall clock, in seconds since 1970.

    Args:
        lateness: returns the lateness of the next wake-up in seconds.
    """

    def __init__(self, lateness: Callable[[], float] = lambda: 0.0) -> None:
        self._selector_clock = _VirtualSelector(lateness)
        super().__init__(self._selector_clock)

    def time(self) -> float:
        return self._selector_clock.now


def now() -> float:
    """Return the virtual time of the running loop."""
    return asyncio.get_running_loop().time()


def run_virtual(
    coroutine: Coroutine[Any, Any, _T], lateness: Callable[[], float] = lambda: 0.0
) -> _T:
    """Run a coroutine on its own virtual loop, from a test that is not a coroutine.

    Args:
        coroutine: the coroutine.
        lateness: returns the lateness of the next wake-up in seconds.
    """
    loop = VirtualLoop(lateness)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def loop_factories(is_virtual: bool) -> dict[str, Any]:
    """Return the loop factories of a test."""
    return {"virtual": VirtualLoop} if is_virtual else {"asyncio": asyncio.new_event_loop}
