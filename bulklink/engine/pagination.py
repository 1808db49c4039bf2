"""Pagination over a contact's emails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import msgspec

from bulklink.engine.breaker import Breaker
from bulklink.engine.call_outcome import CallOutcome
from bulklink.engine.caller import Caller
from bulklink.engine.quota.budget import Reservation
from bulklink.engine.retry import is_inconclusive
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import AnswerVerdict, parse_refusal
from bulklink.zoho.requests import emails_page_request


class ContactReading(msgspec.Struct, frozen=True):
    """Pages read of one contact.

    Args:
        emails: planned emails of the contact.
        wanted: planned emails that were looked for.
        pages: pages read until all were found or no page was left.
        others: other emails on these pages that the plan links.
        others_linked: other emails that are on a deal.
    """

    emails: int
    wanted: int
    pages: int
    others: int = 0
    others_linked: int = 0


class AnyPage(Protocol):
    """A parsed page of emails."""

    @property
    def next_index(self) -> str | None:
        """Index of the next page; None on the last."""
        ...

    @property
    def truncated(self) -> bool:
        """Whether there are, or may be, more emails but no index to request them."""
        ...

    @property
    def message_ids(self) -> Collection[str]:
        """Ids of the emails listed."""
        ...


P = TypeVar("P", bound=AnyPage)

MAX_PAGES = 10_000
"""Maximum pages read per contact: a hundred thousand emails."""


@dataclass(slots=True)
class PageReader(Generic[P]):
    """Reads the pages of one contact, each at most once.

    Reading ends at the last page, or at a page without new emails: otherwise a server that always
    reports another page would be read forever.

    Args:
        contact_id: contact whose emails are read.
        parse_page: parses a page; returns None if the answer is not a page.
        caller: makes the calls.
        breaker: decides what a refusal means.
        max_pages: maximum pages read; None for `MAX_PAGES`.
        completes_relink: whether the reads serve to complete relinks, which a graceful stop allows.
        reservation: credits reserved to complete relinks of the contact.

    Attributes:
        last_call: number of the last call made.
        failed: whether a page could not be read.
        refusal: refusal of that page; None if there was no readable answer.
        complete: whether the last page was reached.
    """

    contact_id: str
    parse_page: Callable[[Answer], P | None]
    caller: Caller
    breaker: Breaker
    max_pages: int | None = field(default=None, kw_only=True)
    completes_relink: bool = field(default=False, kw_only=True)
    reservation: Reservation | None = field(default=None, kw_only=True)
    last_call: int | None = field(default=None, init=False)
    failed: bool = field(default=False, init=False)
    refusal: AnswerVerdict | None = field(default=None, init=False)
    complete: bool = field(default=False, init=False)
    _next_index: str | None = field(default=None, init=False)
    _requested: set[str | None] = field(default_factory=set, init=False)
    """Indexes of the pages read."""
    _seen: set[str] = field(default_factory=set, init=False)

    @property
    def pages_read(self) -> int:
        """Number of pages requested."""
        return len(self._requested)

    async def next_page(self, rows: Sequence[int] = ()) -> P | None:
        """Return the next page, or None at the end or on failure.

        Args:
            rows: rows that the page is read for, recorded in the ledger.

        Raises:
            StoppedError: if the run was stopped.
            RunStoppedError: if no read can succeed.
        """
        limit_reached = len(self._requested) >= (self.max_pages or MAX_PAGES)
        if self.failed or self.complete or limit_reached or self._next_index in self._requested:
            return None
        is_first = not self._requested
        self._requested.add(self._next_index)
        call_outcome = await self.caller.make(
            emails_page_request(self.contact_id, self._next_index),
            contact_id=self.contact_id,
            rows=rows,
            completes_relink=self.completes_relink,
            reservation=self.reservation,
        )
        self.last_call = call_outcome.call
        page = await self._process_response(call_outcome)
        if page is None:
            return None
        self.complete = page.next_index is None and not page.truncated
        if not self.complete and not is_first and self._seen.issuperset(page.message_ids):
            return None
        self._next_index = page.next_index
        self._seen.update(page.message_ids)
        return page

    async def _process_response(self, call_outcome: CallOutcome) -> P | None:
        """Return the page; if there is none, record why and return None."""
        response = call_outcome.response
        page = self.parse_page(response) if isinstance(response, Answer) else None
        if page is not None:
            self.breaker.on_success(call_outcome.kind, self.contact_id)
            return page
        self.failed = True
        if isinstance(response, Answer) and response.ok:
            self.caller.record_answer(call_outcome)
        elif isinstance(response, Answer):
            verdict = parse_refusal(response)
            await self.breaker.on_refusal(
                call_outcome.kind,
                self.contact_id,
                verdict,
                completes_relink=self.completes_relink,
            )
            if not is_inconclusive(verdict):
                self.refusal = verdict
        return None
