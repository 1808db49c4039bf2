"""Sending a plan: a fixed number of workers on a bounded stream of contacts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from anyio.abc import TaskGroup

from bulklink.engine.breaker import MOST_HELD
from bulklink.engine.contact import ContactRun
from bulklink.engine.context import Desk
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
