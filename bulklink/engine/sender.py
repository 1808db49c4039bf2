"""Sending a plan: a fixed number of workers on a bounded stream of contacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from bulklink.engine.contact import ContactRun, Desk
from bulklink.engine.refusals import MOST_HELD
from bulklink.engine.windows import MOST_MESSAGES, in_fair_order
from bulklink.engine.workers import Room, work_through
from bulklink.models import Message

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


async def send_all(windows: Iterable[list[Message]], desk: Desk, *, workers: int) -> None:
    """Work on all contacts until each message is settled, or the run stops.

    Memory: `workers` contacts at work and as many waiting, of `MOST_AT_WORK` messages together,
    and as many again that are looked at ahead.

    Args:
        windows: messages of one contact each, as `contact_windows` yields them.
        desk: what the contacts share.
        workers: contacts worked on at once.
    """
    at_work = Counter[str]()

    async def work(window: list[Message]) -> None:
        await ContactRun(window, desk).run()
        at_work[window[0].contact_id] -= 1
        if not at_work[window[0].contact_id]:
            del at_work[window[0].contact_id]
        desk.refusals.end()

    def begun() -> Iterator[list[Message]]:
        """Tell of each contact as its work begins, and when there are no more."""
        for window in in_fair_order(
            windows, at_work, share=_PIECES_AT_WORK, ahead=workers, most=MOST_AT_WORK
        ):
            at_work[window[0].contact_id] += 1
            desk.refusals.begin()
            yield window
        desk.refusals.all_begun()

    room = Room[list[Message]](MOST_AT_WORK, len)
    await work_through(begun(), work, desk.stopping, workers=workers, room=room)
