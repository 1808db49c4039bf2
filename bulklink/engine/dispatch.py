"""Dispatch of a plan: windows of contacts, sent by a bounded pool of workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bulklink.engine.batching import unlink_batches
from bulklink.engine.breaker import MOST_HELD
from bulklink.engine.contact import ContactRun
from bulklink.engine.context import Desk
from bulklink.engine.shutdown import Stopping
from bulklink.models import Message, Op
from bulklink.zoho.requests import MOST_QUERY

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


MOST_MESSAGES = 10_000
"""Messages of one contact that are worked on together: its pages are read once for them all."""


def contact_windows(
    chunks: Iterable[Sequence[Message]],
    batch_size: int,
    most: int = MOST_MESSAGES,
    *,
    by_contact: bool = False,
) -> Iterator[list[Message]]:
    """Yield the messages of each contact; of a contact with more than `most`, piece by piece.

    A piece ends at full batches, so that cutting it costs no call.

    Args:
        chunks: messages sorted by contact and owner.
        batch_size: most messages of a call.
        most: messages that a piece holds, about.
        by_contact: whether several owners share a link call.
    """
    window: list[Message] = []
    for chunk in chunks:
        for message in chunk:
            if window and message.contact_id != window[0].contact_id:
                yield window
                window = []
            elif len(window) >= most:
                full, window = _full_batches(window, batch_size, by_contact=by_contact)
                if full:
                    yield full
            window.append(message)
    if window:
        yield window


def in_fair_order(
    windows: Iterable[list[Message]],
    at_work: Mapping[str, int],
    *,
    share: int,
    ahead: int,
    most: int,
) -> Iterator[list[Message]]:
    """Yield windows in their order, but let a contact that has its share at work wait.

    So the pieces of a contact with very many emails do not take all workers while others have
    work. Where no other is in sight, it goes on by itself.

    Args:
        windows: in the order of the plan.
        at_work: windows that are worked on, by contact; it changes meanwhile.
        share: windows of one contact that may be worked on while others wait.
        ahead: windows that are looked at.
        most: messages that these hold together, about.
    """
    coming, waiting = iter(windows), list[list[Message]]()
    while True:
        while len(waiting) < ahead and sum(map(len, waiting)) < most:
            window = next(coming, None)
            if window is None:
                break
            waiting.append(window)
        if not waiting:
            return
        chosen = (n for n, one in enumerate(waiting) if at_work.get(one[0].contact_id, 0) < share)
        yield waiting.pop(next(chosen, 0))


def _full_batches(
    window: Sequence[Message], size: int, *, by_contact: bool
) -> tuple[list[Message], list[Message]]:
    """Split off what would leave a batch of the last group half empty, to go with what follows.

    That is less than a batch of links and one of unlinks, so a window stays as small as it is.
    """
    owner = window[-1].owner_id
    last = [m for m in window if m.owner_id == owner]
    links = [m for m in (window if by_contact else last) if m.op is not Op.UNLINK]
    unlinks = [m for m in last if m.op is Op.UNLINK]
    split = {m.row for m in (*links, *unlinks)}
    before = [m for m in window if m.row not in split]
    full = len(links) - len(links) % size
    now, later = before + links[:full], links[full:]
    shortest = min((len(m.message_id) for m in unlinks), default=0)
    for batch in unlink_batches(unlinks, size):
        (now if _is_full(batch, size, shortest) else later).extend(batch)
    return now, later


def _is_full(batch: Sequence[Message], size: int, shortest: int) -> bool:
    characters = sum(len(m.message_id) + 1 for m in batch)
    return len(batch) == size or characters + shortest > MOST_QUERY


_CONTACTS_A_PLACE = 2
MOST_AT_WORK = (MOST_HELD + 1) * MOST_MESSAGES
"""Messages in memory at most: as many as the contacts hold that can be held back, and one more."""

_PIECES_AT_WORK = (MOST_HELD + 1) // 2
"""Pieces of one contact at work while others wait: less than half of those messages."""


def workers_for(in_flight: int) -> int:
    """Return how many contacts are worked on at once.

    Two for each call in flight, so that no place is empty while results are recorded; and more
    than can be held back at once, or a run with few places would wait for itself.
    """
    return max(_CONTACTS_A_PLACE * in_flight, MOST_HELD + 1)


async def send_all(
    windows: Iterable[list[Message]], desk: Desk, *, workers: int, others_follow: bool = False
) -> None:
    """Work on all contacts until each message is settled, or the run stops.

    Memory: `workers` contacts at work and as many waiting, of `MOST_AT_WORK` messages together,
    and as many again that are looked at ahead.

    Args:
        windows: messages of one contact each, as `contact_windows` yields them.
        desk: what the contacts share.
        workers: contacts worked on at once.
        others_follow: whether contacts come after these.
    """
    refusals = desk.refusals

    async def work(window: list[Message]) -> None:
        await ContactRun(window, desk).run()
        refusals.end(window[0].contact_id)

    def begun() -> Iterator[list[Message]]:
        """Tell of each contact as its work begins, and when there are no more."""
        for window in in_fair_order(
            windows, refusals.at_work, share=_PIECES_AT_WORK, ahead=workers, most=MOST_AT_WORK
        ):
            refusals.begin(window[0].contact_id)
            yield window
        refusals.all_begun(others_follow=others_follow)

    room = Room[list[Message]](MOST_AT_WORK, len)
    await work_through(begun(), work, desk.stopping, workers=workers, room=room)


async def send_first(
    windows: Iterable[list[Message]], desk: Desk, group: TaskGroup, *, workers: int
) -> None:
    """Work on contacts before others: until each is settled, or held until others can tell.

    Args:
        windows: messages of one contact each.
        desk: what the contacts share.
        group: works on what is held, after this returns.
        workers: contacts worked on at once.
    """
    group.start_soon(partial(send_all, windows, desk, workers=workers, others_follow=True))
    await desk.refusals.all_held()
