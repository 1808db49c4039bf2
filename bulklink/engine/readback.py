"""Reading links back: a contact's pages, until all wanted messages are seen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bulklink.engine.caller import Caller
from bulklink.engine.pages import Pages
from bulklink.engine.refusals import Refusals
from bulklink.engine.settling import seen, unreadable
from bulklink.engine.tracks import Track
from bulklink.zoho.answers import Verdict
from bulklink.zoho.links import Deal, read_page


class Links(msgspec.Struct):
    """What the pages of a contact told.

    `found` has the deal of each wanted message that a page listed, and the call that told it.
    `last_call` is the last call made. Where a page could not be read, `failed` is True and
    `verdict` says why, None if no readable answer came.
    """

    found: dict[str, tuple[Deal | None, int | None]] = {}
    last_call: int | None = None
    failed: bool = False
    verdict: Verdict | None = None

    def tell(self, track: Track) -> None:
        """Let a message go on with what was read of it."""
        told = self.found.get(track.message.message_id)
        if told is not None:
            seen(track, True, *told)  # noqa: FBT003 - listed
        elif self.failed:
            unreadable(track, self.verdict, self.last_call)
        else:
            seen(track, False, None, self.last_call)  # noqa: FBT003 - on no page


async def read_links(
    contact_id: str,
    wanted: Mapping[str, int],
    caller: Caller,
    refusals: Refusals,
    *,
    most_pages: int,
    finishing: bool,
) -> Links:
    """Read a contact's pages until all wanted messages are seen, or no page is left.

    Args:
        contact_id: whose emails.
        wanted: row by message id.
        caller: makes the calls.
        refusals: judges a refusal.
        most_pages: pages that are read at most.
        finishing: whether it serves relinks that a gentle stop must not tear.

    Raises:
        HaltedError: if the run was stopped.
        RunStoppedError: if no read can succeed.
    """
    left, links = dict(wanted), Links()
    pages = Pages(contact_id, read_page, caller, refusals, most=most_pages, finishing=finishing)
    while left and (page := await pages.next(list(left.values()))) is not None:
        for message_id in page.links.keys() & left.keys():
            links.found[message_id] = (page.links[message_id], pages.last_call)
            del left[message_id]
    links.last_call, links.failed, links.verdict = pages.last_call, pages.failed, pages.verdict
    return links
