"""A fixed number of workers on a bounded stream, each item a contact's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bulklink.engine.stopping import Stopping

T = TypeVar("T")


async def work_through(
    items: Iterable[T],
    work: Callable[[T], Awaitable[None]],
    stopping: Stopping,
    *,
    workers: int,
) -> None:
    """Work on all items, or until the run stops.

    Memory: `workers` items at work and as many waiting.

    Args:
        items: the work, of one contact each.
        work: does one item.
        stopping: tells whether the run goes on.
        workers: items worked on at once.
    """
    sender, receiver = anyio.create_memory_object_stream[T](workers)

    async def work_on(queue: MemoryObjectReceiveStream[T]) -> None:
        async with queue:
            async for item in queue:
                await work(item)

    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(work_on, receiver.clone())
        receiver.close()
        await _feed(items, sender, stopping)


async def _feed(items: Iterable[T], sender: MemoryObjectSendStream[T], stopping: Stopping) -> None:
    async with sender:
        for item in items:
            if stopping.reason is not None:
                return
            await sender.send(item)
