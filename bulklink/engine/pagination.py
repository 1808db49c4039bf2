"""A contact's emails, page after page, until somebody has seen enough or no page is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from bulklink.engine.breaker import Judge
from bulklink.engine.caller import Caller, Exchange
from bulklink.engine.quota.budget import Hold
from bulklink.zoho.error_policy import AnswerClass, class_of
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import Verdict, refusal_of
from bulklink.zoho.requests import emails_page

_UNANSWERED = (AnswerClass.AGAIN, AnswerClass.BUSY)
"""What leaves a read without an answer, however often it is tried: nothing was refused."""


class AnyPage(Protocol):
    """A page, whatever was read of it."""

    @property
    def next_index(self) -> str | None:
        """What asks for the next page; None on the last."""
        ...


P = TypeVar("P", bound=AnyPage)


class Pages(Generic[P]):
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
        verdict: why, None if no readable answer came.
        whole: whether the last page was reached.
    """

    def __init__(
        self,
        contact_id: str,
        read: Callable[[Answer], P | None],
        caller: Caller,
        refusals: Judge,
        *,
        most: int | None = None,
        finishing: bool = False,
        hold: Hold | None = None,
    ) -> None:
        self._contact_id = contact_id
        self._read = read
        self._caller = caller
        self._refusals = refusals
        self._most = most
        self._finishing = finishing
        self._hold = hold
        self._index: str | None = None
        self._asked: set[str | None] = set()
        self.last_call: int | None = None
        self.failed = False
        self.verdict: Verdict | None = None
        self.whole = False

    async def next(self, rows: Sequence[int] = ()) -> P | None:
        """Read the next page; None where none is left, or none can be read.

        Args:
            rows: the rows that are looked for, for the ledger.

        Raises:
            HaltedError: if the run was stopped.
            RunStoppedError: if no read can succeed.
        """
        enough = self._most is not None and len(self._asked) >= self._most
        if self.failed or self.whole or enough or self._index in self._asked:
            return None
        self._asked.add(self._index)
        exchange = await self._caller.make(
            emails_page(self._contact_id, self._index),
            contact_id=self._contact_id,
            rows=rows,
            finishing=self._finishing,
            hold=self._hold,
        )
        self.last_call = exchange.call
        page = await self._page(exchange)
        if page is not None:
            self._index = page.next_index
            self.whole = self._index is None
        return page

    async def _page(self, exchange: Exchange) -> P | None:
        """Return the page that came, or None and note why there is none."""
        outcome = exchange.outcome
        page = self._read(outcome) if isinstance(outcome, Answer) else None
        if page is not None:
            self._refusals.succeeded(exchange.kind, self._contact_id)
            return page
        self.failed = True
        if isinstance(outcome, Answer) and outcome.ok:
            self._caller.keep(exchange)
        elif isinstance(outcome, Answer):
            verdict = refusal_of(outcome)
            await self._refusals.judge(
                exchange.kind, self._contact_id, verdict, finishing=self._finishing
            )
            if class_of(verdict.http_status, verdict.code) not in _UNANSWERED:
                self.verdict = verdict
        return None
