"""Signal that wakes every task waiting for a change."""

from __future__ import annotations

import anyio


class Signal:
    """Wakes all waiting tasks; tasks that wait later need another `notify`.

    A task that checks the state and then calls `wait`, with no `await` between, misses no change.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        """Wake all waiting tasks."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
