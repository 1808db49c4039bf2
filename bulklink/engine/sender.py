"""Sending a plan: a fixed number of workers on a bounded stream of contacts."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bulklink.engine.contact import ContactRun, Desk
from bulklink.engine.refusals import MOST_HELD
from bulklink.models import Message

_CONTACTS_A_PLACE = 2


def workers_for(in_flight: int) -> int:
    """Return how many contacts are worked on at once.

    Two for each call in flight, so that no place is empty while results are recorded; and more
    than can be held back at once, or a run with few places would wait for itself.
    """
    return max(_CONTACTS_A_PLACE * in_flight, MOST_HELD + 1)


async def send_all(windows: Iterable[list[Message]], desk: Desk, *, workers: int) -> None:
    """Work on all contacts until each message is settled, or the run stops.

    Memory: `workers` contacts at work and as many waiting.

    Args:
        windows: messages of one contact each, as `contact_windows` yields them.
        desk: what the contacts share.
        workers: contacts worked on at once.
    """
    sender, receiver = anyio.create_memory_object_stream[list[Message]](workers)
    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(_work, receiver.clone(), desk)
        receiver.close()
        await _feed(windows, sender, desk)


async def _feed(
    windows: Iterable[list[Message]], sender: MemoryObjectSendStream[list[Message]], desk: Desk
) -> None:
    async with sender:
        for window in windows:
            if desk.stopping.reason is not None:
                return
            desk.refusals.begin()
            await sender.send(window)
    desk.refusals.all_begun()


async def _work(receiver: MemoryObjectReceiveStream[list[Message]], desk: Desk) -> None:
    async with receiver:
        async for window in receiver:
            await ContactRun(window, desk).run()
            desk.refusals.end()
