"""Dispatch of contacts to a bounded pool of workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from anyio.abc import TaskGroup

from bulklink.engine.batching import MAX_WINDOW_MESSAGES, unlink_batches
from bulklink.engine.breaker import MAX_SUSPENDED_CONTACTS
from bulklink.engine.contact import ContactSender
from bulklink.engine.context import RunContext
from bulklink.engine.shutdown import StopController
from bulklink.engine.signal import Signal
from bulklink.engine.worker_slots import WorkerSlots
from bulklink.errors import StoppedError
from bulklink.models import Message, Op
from bulklink.task_group import task_group
from bulklink.zoho.requests import MAX_MESSAGE_IDS_LENGTH

T = TypeVar("T")
NextWindow = Callable[[], Awaitable[list[Message] | None]]
"""Returns the next messages of one contact; None at the end."""
_CONTACTS_PER_SLOT = 2
MAX_MESSAGES_IN_MEMORY = (MAX_SUSPENDED_CONTACTS + 1) * MAX_WINDOW_MESSAGES
"""Most messages in memory: those of all contacts that can be suspended, and of one more."""
_MAX_WINDOWS_PER_CONTACT = (MAX_SUSPENDED_CONTACTS + 1) // 2
"""Most windows of one contact in progress while others wait: less than half of these messages."""


class SizeLimiter(Generic[T]):
    """Limits the total size of items in progress.

    Args:
        max_size: largest total size.
        size_of: returns the size of an item.
    """

    def __init__(self, max_size: int, size_of: Callable[[T], int]) -> None:
        self._free = max_size
        self._size_of = size_of
        self._freed = Signal()

    async def acquire(self, item: T) -> None:
        """Wait until an item fits."""
        while self._free < self._size_of(item):
            await self._freed.wait()
        self._free -= self._size_of(item)

    def release(self, item: T) -> None:
        """Release the size of an item."""
        self._free += self._size_of(item)
        self._freed.notify()


async def process_all(
    next_item: Callable[[], Awaitable[T | None]],
    process: Callable[[T], Awaitable[None]],
    stop: StopController,
    *,
    slots: WorkerSlots,
    size_limiter: SizeLimiter[T] | None = None,
) -> None:
    """Process items until none is left or the run stops.

    Memory: one item per slot, those that have lent their slot, and one more.

    Args:
        next_item: returns the next item; None at the end.
        process: processes one item.
        stop: stops the run.
        slots: limit the items processed at once.
        size_limiter: limits the total size of the items; None for no limit.
    """

    async def run(item: T) -> None:
        await process(item)
        slots.release()
        if size_limiter is not None:
            size_limiter.release(item)

    async with task_group() as group:
        while (item := await _unless_stopped(next_item)) is not None:
            if size_limiter is not None:
                await size_limiter.acquire(item)
            if stop.reason is not None:
                return
            await slots.acquire()
            group.start_soon(run, item)


async def _unless_stopped(next_item: Callable[[], Awaitable[T | None]]) -> T | None:
    """Return the next item; None if the run stopped while it was read."""
    try:
        return await next_item()
    except StoppedError:
        return None


def contact_windows(
    chunks: Iterable[Sequence[Message]],
    batch_size: int,
    max_messages: int = MAX_WINDOW_MESSAGES,
    *,
    by_contact: bool = False,
) -> Iterator[list[Message]]:
    """Yield windows of about `max_messages` messages at most, each of one contact.

    A window ends at full batches, so cutting it costs no extra call.

    Args:
        chunks: messages sorted by contact and owner.
        batch_size: most messages per call.
        max_messages: approximate size of a window, in messages.
        by_contact: whether several owners share a link call.
    """
    window: list[Message] = []
    for chunk in chunks:
        for message in chunk:
            if window and message.contact_id != window[0].contact_id:
                yield window
                window = []
            elif len(window) >= max_messages:
                complete, window = _split_full_batches(window, batch_size, by_contact=by_contact)
                if complete:
                    yield complete
            window.append(message)
    if window:
        yield window


@dataclass(slots=True, kw_only=True)
class FairOrder:
    """Windows in order, deferring contacts that already have their share in progress.

    A contact with very many emails therefore does not occupy all workers while others have work.
    If no other contact is within the lookahead, it exceeds its share.

    Args:
        next_window: returns the next window in the order of the plan; None at the end.
        in_progress: live count of windows in progress by contact.
        max_per_contact: most windows of one contact in progress while others wait.
        lookahead: number of windows to choose from.
        max_messages: approximate number of messages in these windows.
    """

    next_window: NextWindow
    in_progress: Mapping[str, int]
    max_per_contact: int
    lookahead: int
    max_messages: int
    _waiting: list[list[Message]] = field(default_factory=list, init=False)

    async def next(self) -> list[Message] | None:
        """Return the next window to start; None at the end."""
        waiting = self._waiting
        while len(waiting) < self.lookahead and sum(map(len, waiting)) < self.max_messages:
            window = await self.next_window()
            if window is None:
                break
            waiting.append(window)
        if not waiting:
            return None
        eligible = (
            index
            for index, candidate in enumerate(waiting)
            if self.in_progress.get(candidate[0].contact_id, 0) < self.max_per_contact
        )
        return waiting.pop(next(eligible, 0))


def _split_full_batches(
    window: Sequence[Message], batch_size: int, *, by_contact: bool
) -> tuple[list[Message], list[Message]]:
    """Return the full batches of a window, and the messages left over for the next window.

    Less than a batch of links and a batch of unlinks is left over, so windows keep their size.
    """
    owner = window[-1].owner_id
    owner_messages = [m for m in window if m.owner_id == owner]
    links = [m for m in (window if by_contact else owner_messages) if m.op is not Op.UNLINK]
    unlinks = [m for m in owner_messages if m.op is Op.UNLINK]
    split_rows = {m.row for m in (*links, *unlinks)}
    untouched = [m for m in window if m.row not in split_rows]
    full_count = len(links) - len(links) % batch_size
    ready, deferred = untouched + links[:full_count], links[full_count:]
    shortest_id = min((len(m.message_id) for m in unlinks), default=0)
    for batch in unlink_batches(unlinks, batch_size):
        (ready if _is_full(batch, batch_size, shortest_id) else deferred).extend(batch)
    return ready, deferred


def _is_full(batch: Sequence[Message], batch_size: int, shortest_id: int) -> bool:
    characters = sum(len(m.message_id) + 1 for m in batch)
    return len(batch) == batch_size or characters + shortest_id > MAX_MESSAGE_IDS_LENGTH


def worker_count(in_flight: int) -> int:
    """Return how many contacts are in progress at once.

    Two per call in flight keep the slots busy while results are recorded. The minimum exceeds the
    contacts that can be suspended at once, or a run with few slots would deadlock.
    """
    return max(_CONTACTS_PER_SLOT * in_flight, MAX_SUSPENDED_CONTACTS + 1)


async def send_all(
    next_window: NextWindow,
    context: RunContext,
    *,
    workers: int,
    others_follow: bool = False,
) -> None:
    """Send all windows until each message is settled or the run stops.

    A window that only waits until a read can be trusted lends its slot to another. Memory: windows
    in progress with `MAX_MESSAGES_IN_MEMORY` messages in total, and as many again to choose from.

    Args:
        next_window: returns the next messages of one contact, as `contact_windows` yields them;
            None at the end.
        context: shared by all contacts of the run.
        workers: windows in progress at once.
        others_follow: whether more contacts are sent after these.
    """
    contacts, slots = context.contacts, WorkerSlots(workers)

    def lend_slot() -> AbstractContextManager[None]:
        # While calls go unanswered, each contact that starts could be left in doubt.
        return nullcontext() if context.caller.gave_up else slots.lent()

    async def send_window(window: list[Message]) -> None:
        await ContactSender(window, context, lend_slot).run()
        contacts.end(window[0].contact_id)

    fair_order = FairOrder(
        next_window=next_window,
        in_progress=contacts.windows,
        max_per_contact=_MAX_WINDOWS_PER_CONTACT,
        lookahead=workers,
        max_messages=MAX_MESSAGES_IN_MEMORY,
    )

    async def start_window() -> list[Message] | None:
        """Record each contact as its window starts, and the end of the windows."""
        window = await fair_order.next()
        if window is None:
            contacts.all_started(others_follow=others_follow)
        else:
            contacts.start(window[0].contact_id)
        return window

    size_limiter = SizeLimiter[list[Message]](MAX_MESSAGES_IN_MEMORY, len)
    await process_all(
        start_window, send_window, context.stop, slots=slots, size_limiter=size_limiter
    )


async def send_first(
    next_window: NextWindow, context: RunContext, task_group: TaskGroup, *, workers: int
) -> None:
    """Send windows ahead of the rest until each is settled, suspended or waiting for a read.

    Args:
        next_window: see `send_all`.
        context: shared by all contacts of the run.
        task_group: runs the windows that are not settled when this returns.
        workers: windows in progress at once.
    """
    task_group.start_soon(
        partial(send_all, next_window, context, workers=workers, others_follow=True)
    )
    await context.contacts.wait_until_idle()
