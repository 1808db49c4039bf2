"""Sending a plan: a fixed number of workers on a bounded stream of contacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bulklink.engine.contact import ContactRun, Desk
from bulklink.engine.refusals import MOST_HELD, Refusals
from bulklink.engine.windows import MOST_MESSAGES
from bulklink.engine.workers import Room, work_through
from bulklink.models import Message

_CONTACTS_A_PLACE = 2
MOST_AT_WORK = (MOST_HELD + 1) * MOST_MESSAGES
"""Messages in memory at most: as many as the contacts hold that can be held back, and one more."""


def workers_for(in_flight: int) -> int:
    """Return how many contacts are worked on at once.

    Two for each call in flight, so that no place is empty while results are recorded; and more
    than can be held back at once, or a run with few places would wait for itself.
    """
    return max(_CONTACTS_A_PLACE * in_flight, MOST_HELD + 1)


async def send_all(windows: Iterable[list[Message]], desk: Desk, *, workers: int) -> None:
    """Work on all contacts until each message is settled, or the run stops.

    Memory: `workers` contacts at work and as many waiting, of `MOST_AT_WORK` messages together.

    Args:
        windows: messages of one contact each, as `contact_windows` yields them.
        desk: what the contacts share.
        workers: contacts worked on at once.
    """

    async def work(window: list[Message]) -> None:
        await ContactRun(window, desk).run()
        desk.refusals.end()

    begun = _begun(windows, desk.refusals)
    room = Room[list[Message]](MOST_AT_WORK, len)
    await work_through(begun, work, desk.stopping, workers=workers, room=room)


def _begun(windows: Iterable[list[Message]], refusals: Refusals) -> Iterator[list[Message]]:
    """Tell of each contact as its work begins, and when there are no more."""
    for window in windows:
        refusals.begin()
        yield window
    refusals.all_begun()
