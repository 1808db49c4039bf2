"""Reading links back: a contact's pages, until all wanted messages are seen."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bulklink.engine.caller import Caller, Exchange
from bulklink.engine.refusals import Refusals
from bulklink.engine.settling import seen, unreadable
from bulklink.engine.tracks import Track
from bulklink.zoho.answers import Verdict, refusal_of
from bulklink.zoho.classes import AnswerClass, class_of
from bulklink.zoho.exchange import Answer
from bulklink.zoho.links import Deal, Page, read_page
from bulklink.zoho.requests import emails_page

_UNANSWERED = (AnswerClass.AGAIN, AnswerClass.BUSY)
"""What leaves a read without an answer, however often it is tried: nothing was refused."""


class Links(msgspec.Struct):
    """What the pages of a contact told.

    `found` has the deal of each wanted message that a page listed, and the call that told it.
    `last_call` is the last call made. Where a page could not be read, `failed` is True and
    `verdict` says why, None if no readable answer came.
    """

    found: dict[str, tuple[Deal | None, int]] = {}
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
    index: str | None = None
    asked: set[str | None] = set()
    while left and index not in asked and len(asked) < most_pages:
        asked.add(index)
        exchange = await caller.make(
            emails_page(contact_id, index),
            contact_id=contact_id,
            rows=list(left.values()),
            finishing=finishing,
        )
        links.last_call = exchange.call
        page = await _page(exchange, contact_id, caller, refusals, links)
        if page is None:
            break
        for message_id in page.links.keys() & left.keys():
            links.found[message_id] = (page.links[message_id], exchange.call)
            del left[message_id]
        if page.next_index is None:
            break
        index = page.next_index
    return links


async def _page(
    exchange: Exchange, contact_id: str, caller: Caller, refusals: Refusals, links: Links
) -> Page | None:
    """Return the page that came, or None and note in `links` why there is none."""
    outcome = exchange.outcome
    page = read_page(outcome) if isinstance(outcome, Answer) else None
    if page is not None:
        refusals.succeeded(exchange.kind, contact_id)
        return page
    links.failed = True
    if isinstance(outcome, Answer) and outcome.ok:
        caller.keep(exchange)
    elif isinstance(outcome, Answer):
        verdict = refusal_of(outcome)
        await refusals.judge(exchange.kind, contact_id, verdict)
        if class_of(verdict.http_status, verdict.code) not in _UNANSWERED:
            links.verdict = verdict
    return None
