"""Cutting the stream of messages into pieces that one worker holds in memory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bulklink.engine.batching import unlink_batches
from bulklink.models import Message, Op
from bulklink.zoho.requests import MOST_QUERY

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
