"""A signal that wakes every task waiting for a change."""

from __future__ import annotations

import anyio


class Signal:
    """Wakes all tasks that wait; those that wait later need another `notify`.

    As no task runs between a look at the state and `wait`, no change is missed.
    """

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        """Wake the tasks that wait now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next `notify`."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
