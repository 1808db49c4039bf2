"""Cutting batches: the fewest calls that carry some messages. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bulklink.models import Message
from bulklink.zoho.requests import MOST_ITEMS, MOST_QUERY


def link_batches(messages: Sequence[Message], size: int = MOST_ITEMS) -> list[list[Message]]:
    """Cut messages of one contact and owner into the fewest link calls of at most `size`."""
    return [list(messages[i : i + size]) for i in range(0, len(messages), size)]


def unlink_batches(messages: Sequence[Message], size: int = MOST_ITEMS) -> list[list[Message]]:
    """Pack messages of one contact and owner into few unlink calls, first fit decreasing.

    A call takes at most `size` messages and 2,000 characters of ids joined by commas. Ids of one
    length are packed into the fewest calls there can be.
    """
    by_length = sorted(messages, key=lambda message: -len(message.message_id))
    batches: list[list[Message]] = []
    room: list[int] = []
    first_open = 0
    for message in by_length:
        need = len(message.message_id) + 1
        place = next((i for i in range(first_open, len(room)) if room[i] >= need), len(room))
        if place == len(room):
            batches.append([])
            room.append(MOST_QUERY + 1)  # the first id has no comma before it
        batches[place].append(message)
        room[place] = room[place] - need if len(batches[place]) < size else 0
        while first_open < len(room) and not room[first_open]:
            first_open += 1
    return batches


def fewest_unlinks(count: int, characters: int) -> int:
    """Return the unlink calls below which nothing goes, for ids of so many characters in all.

    Both bounds hold: messages in a call, and characters with their commas. For ids of one length
    `unlinks_of_length` is exact.
    """
    return max(-(-count // MOST_ITEMS), -(-(characters + count) // (MOST_QUERY + 1)))


def unlinks_of_length(count: int, length: int, size: int = MOST_ITEMS) -> int:
    """Return the unlink calls that this many ids of one length need."""
    return -(-count // min(size, (MOST_QUERY + 1) // (length + 1)))


def unlinks_packed(lengths: Iterable[int], size: int = MOST_ITEMS) -> int:
    """Return the unlink calls that `unlink_batches` makes of ids of these lengths."""
    room: list[tuple[int, int]] = []
    for need in sorted((length + 1 for length in lengths), reverse=True):
        place = next((i for i, (left, items) in enumerate(room) if left >= need and items), -1)
        if place < 0:
            room.append((MOST_QUERY + 1 - need, size - 1))
        else:
            left, items = room[place]
            room[place] = (left - need, items - 1)
    return len(room)
