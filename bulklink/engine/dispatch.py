"""Dispatch of contacts to a bounded pool of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from anyio.abc import TaskGroup

from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.batching import MAX_WINDOW_MESSAGES, unlink_batches
from bulklink.engine.breaker import MAX_SUSPENDED_CONTACTS
from bulklink.engine.contact import ContactSender
from bulklink.engine.context import RunContext
from bulklink.engine.ratelimit.limiter import max_admitted
from bulklink.engine.signal import Signal
from bulklink.engine.worker_pool import ItemSource, WorkerPool
from bulklink.models import Message, Op
from bulklink.zoho.requests import MAX_MESSAGE_IDS_LENGTH

MAX_MESSAGES_IN_MEMORY = (MAX_SUSPENDED_CONTACTS + 1) * MAX_WINDOW_MESSAGES
"""Maximum messages in memory: those of all contacts that can be suspended, plus one contact."""
_MAX_WINDOWS_PER_CONTACT = (MAX_SUSPENDED_CONTACTS + 1) // 2
"""Maximum windows of one contact in progress while others wait: under half of these messages."""


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
        batch_size: maximum messages per call.
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
        source: the windows in the order of the plan.
        in_progress: live count of windows in progress by contact.
        max_per_contact: maximum windows of one contact in progress while others wait.
        lookahead: number of windows to choose from.
        max_messages: approximate number of messages in these windows, and in those in progress.
    """

    source: ItemSource[list[Message]]
    in_progress: Mapping[str, int]
    max_per_contact: int
    lookahead: int
    max_messages: int
    _waiting: list[list[Message]] = field(default_factory=list, init=False)
    _messages_waiting: int = field(default=0, init=False)
    _messages_in_progress: int = field(default=0, init=False)
    _ended: bool = field(default=False, init=False)
    _freed: Signal = field(default_factory=Signal, init=False)

    def next_ready(self) -> list[Message] | None:
        """Return the next window to start; None if none can start without waiting."""
        while self._may_look_ahead and (window := self.source.next_ready()) is not None:
            self._add(window)
        index = self._choose()
        if index is None or not self._fits(self._waiting[index]):
            return None
        window = self._waiting.pop(index)
        self._messages_waiting -= len(window)
        self._messages_in_progress += len(window)
        return window

    async def next(self) -> list[Message] | None:
        """Return the next window to start; None at the end."""
        while (chosen := self.next_ready()) is None:
            if self._may_look_ahead:
                window = await self.source.next()
                if window is None:
                    self._ended = True
                else:
                    self._add(window)
            elif self._waiting:
                await self._freed.wait()
            else:
                return None
        return chosen

    def end(self, window: Sequence[Message]) -> None:
        """Record that a window is no longer in progress."""
        self._messages_in_progress -= len(window)
        self._freed.notify()

    @property
    def _may_look_ahead(self) -> bool:
        return (
            not self._ended
            and len(self._waiting) < self.lookahead
            and self._messages_waiting < self.max_messages
        )

    def _add(self, window: list[Message]) -> None:
        self._waiting.append(window)
        self._messages_waiting += len(window)

    def _choose(self) -> int | None:
        """Return the index of the window to start; None if more windows must be read first."""
        for index, window in enumerate(self._waiting):
            if self.in_progress.get(window[0].contact_id, 0) < self.max_per_contact:
                return index
        return 0 if self._waiting and not self._may_look_ahead else None

    def _fits(self, window: Sequence[Message]) -> bool:
        in_progress = self._messages_in_progress
        return not in_progress or in_progress + len(window) <= self.max_messages


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

    As many as there are calls in flight or prepared: more would only queue, unless some wait to be
    retried. The minimum exceeds the contacts that can be suspended at once, or a run with few slots
    would deadlock.
    """
    return max(max_admitted(in_flight), MAX_SUSPENDED_CONTACTS + 1)


async def send_all(
    windows: ItemSource[list[Message]],
    context: RunContext,
    *,
    workers: int,
    others_follow: bool = False,
) -> None:
    """Send all windows until each message is settled or the run stops.

    A window that only waits until a read can be trusted lends its place to another. Memory: windows
    in progress with `MAX_MESSAGES_IN_MEMORY` messages in total, and as many to choose from.

    Args:
        windows: the messages, as `contact_windows` yields them.
        context: shared by all contacts of the run.
        workers: windows in progress at once; twice as many if calls wait to be retried.
        others_follow: whether more contacts are sent after these.
    """
    contacts, caller = context.contacts, context.caller
    order = FairOrder(
        source=windows,
        in_progress=contacts.windows,
        max_per_contact=_MAX_WINDOWS_PER_CONTACT,
        lookahead=workers,
        max_messages=MAX_MESSAGES_IN_MEMORY,
    )

    def lend_place() -> AbstractContextManager[None]:
        # While calls go unanswered, each contact that starts could be left in doubt.
        return nullcontext() if caller.gave_up else pool.lent()

    async def send_window(window: list[Message]) -> None:
        await ContactSender(window, context, lend_place).run()
        order.end(window)
        contacts.end(window[0].contact_id)

    source = _RecordedWindows(order=order, contacts=contacts, others_follow=others_follow)
    pool = WorkerPool[list[Message]](
        source, send_window, context.stop, workers, lambda: caller.has_room
    )
    await pool.run()


@dataclass(slots=True, kw_only=True)
class _RecordedWindows:
    """Windows whose contacts are recorded as they start, and so is their end."""

    order: FairOrder
    contacts: ActiveContacts
    others_follow: bool
    _ended: bool = field(default=False, init=False)

    def next_ready(self) -> list[Message] | None:
        window = self.order.next_ready()
        if window is not None:
            self.contacts.start(window[0].contact_id)
        return window

    async def next(self) -> list[Message] | None:
        window = await self.order.next()
        if window is not None:
            self.contacts.start(window[0].contact_id)
        elif not self._ended:
            self._ended = True  # others may have started since
            self.contacts.all_started(others_follow=self.others_follow)
        return window


async def send_first(
    windows: ItemSource[list[Message]], context: RunContext, task_group: TaskGroup, *, workers: int
) -> None:
    """Send windows ahead of the rest until each is settled, suspended or waiting for a read.

    Args:
        windows: see `send_all`.
        context: shared by all contacts of the run.
        task_group: runs the windows that are not settled when this returns.
        workers: windows in progress at once.
    """
    task_group.start_soon(partial(send_all, windows, context, workers=workers, others_follow=True))
    await context.contacts.wait_until_idle()
