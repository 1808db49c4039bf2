"""Reading links back: a contact's pages, until all wanted messages are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bulklink.engine.breaker import Refusals
from bulklink.engine.caller import Caller
from bulklink.engine.message_state import Track
from bulklink.engine.pagination import Pages
from bulklink.engine.quota.budget import Hold
from bulklink.engine.transitions import seen, unreadable
from bulklink.zoho.email_pages import read_page


async def read_links(
    contact_id: str,
    tracks: Sequence[Track],
    caller: Caller,
    refusals: Refusals,
    *,
    most_pages: int,
    finishing: bool,
    hold: Hold,
    told: Callable[[Sequence[Track]], None],
) -> None:
    """Read a contact's pages until all messages are seen, or no page is left.

    Each goes on as soon as its page came: what a page shows is true then, and may not be later.

    Args:
        contact_id: whose emails.
        tracks: of the messages.
        caller: makes the calls.
        refusals: judges a refusal.
        most_pages: pages that are read at most.
        finishing: whether it serves relinks that a gentle stop must not tear.
        hold: credits that are set aside to finish relinks of the contact.
        told: takes those that a page, or the end of the pages, let go on.

    Raises:
        HaltedError: if the run was stopped.
        RunStoppedError: if no read can succeed.
    """
    left: dict[str, list[Track]] = {}
    for track in tracks:
        left.setdefault(track.message.message_id, []).append(track)
    pages = Pages(
        contact_id, read_page, caller, refusals, most=most_pages, finishing=finishing, hold=hold
    )
    while left and (page := await pages.next(_rows(left.values()))) is not None:
        listed = []
        for message_id in [one for one in page.links if one in left]:
            for track in left.pop(message_id):
                seen(track, True, page.links[message_id], pages.last_call)  # noqa: FBT003 - listed
                listed.append(track)
        told(listed)
    unseen = [track for same in left.values() for track in same]
    for track in unseen:
        if pages.failed:
            unreadable(track, pages.verdict, pages.last_call)
        else:
            seen(track, False, None, pages.last_call)  # noqa: FBT003 - on no page
    told(unseen)


def _rows(left: Iterable[Sequence[Track]]) -> list[int]:
    return [track.message.row for same in left for track in same]
