"""Batches: the fewest calls for what is left to do, and the first whole ones of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from bulklink.engine.message_state import Need, Track
from bulklink.models import Message, Op
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


_WRITES = (Need.UNLINK, Need.LINK)


def first_batches(
    tracks: Sequence[Track], at_least: int, size: int, *, by_contact: bool
) -> list[Track]:
    """Return the tracks of the first whole batches that carry at least so many messages.

    What is left can be cut into as many calls less as these take: they fill their link calls, and
    their unlink calls are those that all together would be cut into. What an earlier invocation
    left open goes first whatever it needs.

    Args:
        tracks: what is open of one contact, snapshots read.
        at_least: messages.
        size: most messages a call.
        by_contact: whether several owners share a link call.
    """
    chosen = [track for track in tracks if track.need not in _WRITES]
    new = [track for track in tracks if track.need in _WRITES]
    for group in _groups(new, by_contact=by_contact):
        if len(chosen) >= at_least:
            break
        chosen += _first_of(group, at_least - len(chosen), size)
    return chosen


def _groups(tracks: Sequence[Track], *, by_contact: bool) -> Iterator[list[Track]]:
    """Yield the tracks that share link calls, in the order of the plan."""
    if by_contact:
        yield list(tracks)
        return
    for _, members in groupby(tracks, key=lambda track: track.message.owner_id):
        yield list(members)


def _first_of(group: list[Track], at_least: int, size: int) -> list[Track]:
    """Return whole batches of one group, or all of it where none can be parted off."""
    links = [track for track in group if track.need is Need.LINK]
    chosen: list[Track] = []
    for batch in _cut([track for track in group if track.need is Need.UNLINK], size):
        if len(chosen) >= at_least and _lacking(chosen, size) <= len(links):
            break
        chosen += batch
    filling = _lacking(chosen, size)
    more = max(0, at_least - len(chosen) - filling)
    return chosen + links[: filling + -(-more // size) * size]


def _cut(tracks: Sequence[Track], size: int) -> Iterable[list[Track]]:
    """Cut unlinks into the calls that they are sent in, owner by owner."""
    by_row = {track.message.row: track for track in tracks}
    for _, members in groupby(
        sorted(tracks, key=lambda track: track.message.owner_id),
        key=lambda track: track.message.owner_id,
    ):
        for batch in unlink_batches([track.message for track in members], size):
            yield [by_row[message.row] for message in batch]


def _lacking(tracks: Iterable[Track], size: int) -> int:
    """Return how many messages fill the last link call of these, now or after their unlinks."""
    links = sum(track.need is Need.LINK or track.message.op is Op.RELINK for track in tracks)
    return -links % size
