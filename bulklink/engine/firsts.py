"""Which messages of a contact go first, so that sending them first costs no call. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from bulklink.engine.batching import unlink_batches
from bulklink.engine.message_state import Need, Track
from bulklink.models import Op

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
