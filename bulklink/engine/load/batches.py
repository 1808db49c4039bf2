"""Batches of a load test: each is linked and unlinked in turn, or changed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bulklink.engine.batching import message_batches
from bulklink.engine.dispatch import contact_windows
from bulklink.engine.message_state import NextStep
from bulklink.engine.signal import Signal
from bulklink.engine.worker_pool import ItemSource
from bulklink.models import Message, Op


class LoadOp(StrEnum):
    """What a load test does with each email."""

    LINK = "link"
    UNLINK = "unlink"
    ALTERNATE = "alternate"
    """Link and unlink it in turn, for as long as the test lasts."""


@dataclass(frozen=True, slots=True)
class LoadBatch:
    """Messages of one call.

    Args:
        index: number of the batch in the plan.
        op: LINK or UNLINK.
        messages: the messages, with this op.
    """

    index: int
    op: Op
    messages: Sequence[Message]


NumberedMessages = tuple[int, list[Message]]
MAX_MESSAGES_KEPT = 20_000
"""Messages of a small plan that stay in memory, so that it is read only once."""


def numbered_batches(
    read_plan: Callable[[], Iterable[Sequence[Message]]], op: LoadOp, batch_size: int
) -> Iterator[NumberedMessages]:
    """Yield the messages of each call with its number; for `alternate`, over and over again.

    A batch that is linked and unlinked in turn keeps within the limits of both calls. A plan of up
    to `MAX_MESSAGES_KEPT` messages is read only once: opening it takes longer than its calls.

    Args:
        read_plan: returns a stream of the plan's messages, sorted by contact and owner.
        op: what the load test does.
        batch_size: maximum messages per call.
    """
    step = NextStep.LINK if op is LoadOp.LINK else NextStep.UNLINK
    kept: list[NumberedMessages] = []
    messages_kept = 0
    for number, batch in enumerate(_read_batches(read_plan, step, batch_size)):
        messages_kept += len(batch)
        if messages_kept <= MAX_MESSAGES_KEPT:
            kept.append((number, batch))
        yield number, batch
    while op is LoadOp.ALTERNATE and messages_kept:
        if messages_kept <= MAX_MESSAGES_KEPT:
            yield from kept
        else:
            yield from enumerate(_read_batches(read_plan, step, batch_size))


def _read_batches(
    read_plan: Callable[[], Iterable[Sequence[Message]]], step: NextStep, batch_size: int
) -> Iterator[list[Message]]:
    for window in contact_windows(read_plan(), batch_size):
        yield from message_batches(window, step, batch_size)


@dataclass(slots=True)
class BatchCycle:
    """Source of batches, none of which is in two calls at once.

    Memory: a byte for each batch, in addition to what is read ahead.

    Args:
        source: yields what `numbered_batches` does.
        op: what the load test does.

    Attributes:
        waits: how often all batches were in a call, so that the next call had to wait for one.
    """

    source: ItemSource[NumberedMessages]
    op: LoadOp
    waits: int = field(default=0, init=False)
    _linked: bytearray = field(default_factory=bytearray, init=False)
    _in_flight: set[int] = field(default_factory=set, init=False)
    _skipped: int = field(default=0, init=False)
    _freed: Signal = field(default_factory=Signal, init=False)
    _first: NumberedMessages | None = field(default=None, init=False)

    async def read_first(self) -> None:
        """Wait until the first batch has been read, so that the first call need not wait for it.

        Raises:
            StoppedError: if a stop has interrupted the reading.
        """
        self._first = await self.source.next()

    async def next(self) -> LoadBatch | None:
        """Return the next batch that is in no call; None at the end.

        Batches that are in a call lose their turn, unless all are.

        Raises:
            StoppedError: if a stop has interrupted the reading.
        """
        while True:
            item, self._first = self._first, None
            item = item or self.source.next_ready() or await self.source.next()
            if item is None:
                return None
            index, messages = item
            if index in self._in_flight and self._skipped >= len(self._in_flight):
                self.waits += 1
                while index in self._in_flight:
                    await self._freed.wait()
            if index not in self._in_flight:
                self._skipped = 0
                return self._take(index, messages)
            self._skipped += 1

    def end(self, batch: LoadBatch, *, linked: bool | None) -> None:
        """Record that the call of a batch has ended, or was not made.

        Args:
            batch: the batch.
            linked: whether its emails are linked now; None if it was not changed, or is unknown.
        """
        if linked is not None:
            self._linked[batch.index] = linked
        self._in_flight.discard(batch.index)
        self._freed.notify()

    def _take(self, index: int, messages: Sequence[Message]) -> LoadBatch:
        self._in_flight.add(index)
        if index >= len(self._linked):
            self._linked.extend(bytes(index + 1 - len(self._linked)))
        if self.op is LoadOp.LINK or (self.op is LoadOp.ALTERNATE and not self._linked[index]):
            return LoadBatch(index, Op.LINK, messages)
        return LoadBatch(index, Op.UNLINK, [_as_unlink(message) for message in messages])


def _as_unlink(message: Message) -> Message:
    return Message(
        row=message.row,
        op=Op.UNLINK,
        contact_id=message.contact_id,
        owner_id=message.owner_id,
        message_id=message.message_id,
        owner_name=message.owner_name,
    )
