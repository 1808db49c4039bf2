"""A contact's emails, page after page, until somebody has seen enough or no page is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from bulklink.engine.breaker import Breaker
from bulklink.engine.caller import Caller, CallOutcome
from bulklink.engine.quota.budget import Reservation
from bulklink.zoho.error_policy import AnswerClass, classify_error
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import AnswerVerdict, parse_refusal
from bulklink.zoho.requests import emails_page_request

_NO_ANSWER_CLASSES = (AnswerClass.SERVER_ERROR, AnswerClass.THROTTLED)
"""What leaves a read without an answer, however often it is tried: nothing was refused."""


class AnyPage(Protocol):
    """A page, whatever was read of it."""

    @property
    def next_index(self) -> str | None:
        """What asks for the next page; None on the last."""
        ...


P = TypeVar("P", bound=AnyPage)


class PageReader(Generic[P]):
    """Reads the pages of one contact, each once.

    Args:
        contact_id: whose emails.
        read: reads a page; None where an answer is none.
        caller: makes the calls.
        refusals: judges a refusal.
        most: pages that are read at most; None reads all.
        finishing: whether it serves relinks that a gentle stop must not tear.
        hold: credits that are set aside to finish relinks of the contact.

    Attributes:
        last_call: the number of the last call made.
        failed: whether a page could not be read.
        refusal: why, None if no readable answer came.
        complete: whether the last page was reached.
    """

    def __init__(
        self,
        contact_id: str,
        parse_page: Callable[[Answer], P | None],
        caller: Caller,
        breaker: Breaker,
        *,
        max_pages: int | None = None,
        completes_relink: bool = False,
        reservation: Reservation | None = None,
    ) -> None:
        self._contact_id = contact_id
        self._parse_page = parse_page
        self._caller = caller
        self._breaker = breaker
        self._max_pages = max_pages
        self._completes_relink = completes_relink
        self._reservation = reservation
        self._next_index: str | None = None
        self._requested: set[str | None] = set()
        self.last_call: int | None = None
        self.failed = False
        self.refusal: AnswerVerdict | None = None
        self.complete = False

    async def next_page(self, rows: Sequence[int] = ()) -> P | None:
        """Read the next page; None where none is left, or none can be read.

        Args:
            rows: the rows that are looked for, for the ledger.

        Raises:
            StoppedError: if the run was stopped.
            RunStoppedError: if no read can succeed.
        """
        limit_reached = self._max_pages is not None and len(self._requested) >= self._max_pages
        if self.failed or self.complete or limit_reached or self._next_index in self._requested:
            return None
        self._requested.add(self._next_index)
        call_outcome = await self._caller.make(
            emails_page_request(self._contact_id, self._next_index),
            contact_id=self._contact_id,
            rows=rows,
            completes_relink=self._completes_relink,
            reservation=self._reservation,
        )
        self.last_call = call_outcome.call
        page = await self._process_response(call_outcome)
        if page is not None:
            self._next_index = page.next_index
            self.complete = self._next_index is None
        return page

    async def _process_response(self, call_outcome: CallOutcome) -> P | None:
        """Return the page that came, or None and note why there is none."""
        response = call_outcome.response
        page = self._parse_page(response) if isinstance(response, Answer) else None
        if page is not None:
            self._breaker.on_success(call_outcome.kind, self._contact_id)
            return page
        self.failed = True
        if isinstance(response, Answer) and response.ok:
            self._caller.record_answer(call_outcome)
        elif isinstance(response, Answer):
            verdict = parse_refusal(response)
            await self._breaker.on_refusal(
                call_outcome.kind,
                self._contact_id,
                verdict,
                completes_relink=self._completes_relink,
            )
            if classify_error(verdict.http_status, verdict.code) not in _NO_ANSWER_CLASSES:
                self.refusal = verdict
        return None
