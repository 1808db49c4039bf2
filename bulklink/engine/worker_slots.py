"""Worker slots, which a waiting worker can lend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bulklink.engine.signal import Signal

MAX_LENT_SLOTS = 100
"""Most slots lent at once: an item that lends its slot stays in memory, and while a server does not
answer, each contact that starts is left in doubt."""


class WorkerSlots:
    """Limits the items in progress.

    Args:
        slots: items in progress at once, without those that have lent their slot.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._lent = 0
        self._changed = Signal()

    async def acquire(self) -> None:
        """Wait for a slot and take it."""
        while self._free <= 0:
            await self._changed.wait()
        self._free -= 1

    def release(self) -> None:
        """Return a slot."""
        self._free += 1
        self._changed.notify()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend a slot to another item, unless too many are lent.

        The owner continues immediately, even if all slots are taken: a relink between its halves
        must not wait for others. No other item starts until a slot is free.
        """
        if self._lent >= MAX_LENT_SLOTS:
            yield
            return
        self._lent += 1
        self.release()
        try:
            yield
        finally:
            self._lent -= 1
            self._free -= 1
