"""A fixed number of workers on a bounded stream, each item a contact's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bulklink.engine.shutdown import Stopping

T = TypeVar("T")


class Room(Generic[T]):
    """How much more may be at work.

    Args:
        size: of all items together, at work and waiting, at most.
        of: tells the size of an item.
    """

    def __init__(self, size: int, of: Callable[[T], int]) -> None:
        self._left = size
        self._of = of
        self._freed = anyio.Event()

    async def take(self, item: T) -> None:
        """Wait until there is room for an item."""
        while self._left < self._of(item):
            self._freed = anyio.Event()
            await self._freed.wait()
        self._left -= self._of(item)

    def free(self, item: T) -> None:
        """Give the room of an item back."""
        self._left += self._of(item)
        self._freed.set()


async def work_through(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    stopping: Stopping,
    *,
    workers: int,
    room: Room[T] | None = None,
) -> None:
    """Work on all items, or until the run stops.

    Memory: `workers` items at work and as many waiting.

    Args:
        items: the work, of one contact each.
        work: does one item.
        stopping: tells whether the run goes on.
        workers: items worked on at once.
        room: bounds the size of all items together; None lets them be of any.
    """
    sender, receiver = anyio.create_memory_object_stream[T](workers)

    async def work_on(queue: MemoryObjectReceiveStream[T]) -> None:
        async with queue:
            async for item in queue:
                await work(item)
                if room is not None:
                    room.free(item)

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(work_on, receiver.clone())
        receiver.close()
        await _feed(items, sender, stopping, room)


async def _feed(
    items: Iterable[T],
    sender: MemoryObjectSendStream[T],
    stopping: Stopping,
    room: Room[T] | None,
) -> None:
    async with sender:
        for item in items:
            if room is not None:
                await room.take(item)
            if stopping.reason is not None:
                return
            await sender.send(item)
