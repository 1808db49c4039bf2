"""Calls to the org that is probed, and what is known of its links meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.call_outcome import CallOutcome
from bulklink.engine.caller import Caller
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StopController
from bulklink.models import Message
from bulklink.operations.probing.replies import LOST, Reply
from bulklink.operations.probing.values import ExperimentError, ProbeDeal, ProbeEmail
from bulklink.zoho import requests
from bulklink.zoho.answer_shape import parse_shape, visible_code
from bulklink.zoho.email_pages import LinkedDeal, LinksPage, parse_links_page
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import AnswerClass, classify_outcome
from bulklink.zoho.http import Answer, Request
from bulklink.zoho.link_response import ParsedAnswer, parse_answer, parse_refusal

T = TypeVar("T")
MAX_PAGES = 20
"""Maximum pages of a contact's emails that a probe reads."""
_NO_ANSWERS = (AnswerClass.THROTTLED, AnswerClass.SERVER_ERROR)
"""Answers that say nothing about the request."""
_CLOCK_TICK = 1.1
"""Seconds after which a time that the CRM shows in whole seconds has changed."""


@dataclass(slots=True)
class ProbedOrg:
    """Makes the calls of a probe, one at a time.

    Args:
        caller: makes the calls.
        stop: stops the probe.
        settle_after: seconds after a call before a read that shows no change is trusted.
        module_id: the org's id of the Deals module.
        is_putting_back: whether the calls put emails back, which a graceful stop allows.

    Attributes:
        include_names: whether links include names: the org refuses them or requires them.
        has_lost_answer: whether a call may have been executed without an answer, or later.
    """

    caller: Caller
    stop: StopController
    settle_after: float
    module_id: str
    is_putting_back: bool = False
    include_names: bool = field(default=True, init=False)
    has_lost_answer: bool = field(default=False, init=False)
    _deals: dict[tuple[str, str], str | None] = field(init=False, default_factory=dict)
    """Deal of each email by contact and message, as far as it is known."""
    _refusals: dict[tuple[str, str], Reply | None] = field(init=False, default_factory=dict)
    """Why each email that was on a deal could not be put back; None for one that could be."""

    def remember(self, emails: Sequence[ProbeEmail]) -> None:
        """Remember the deals of emails that were just read."""
        for email in emails:
            self._deals[email.contact_id, email.message_id] = email.deal.id if email.deal else None

    async def link(
        self,
        messages: Sequence[Message],
        deals: Sequence[ProbeDeal],
        *,
        include_names: bool | None = None,
        single: bool = False,
    ) -> Reply:
        """Link messages of one contact.

        Args:
            messages: the messages.
            deals: the deal of each.
            include_names: whether to send names; None for what the org accepts.
            single: whether to use the endpoint for a single email.
        """
        names = self.include_names if include_names is None else include_names
        pairs = [(deal.id, deal.name) for deal in deals]
        request = (
            requests.single_link_request(messages[0], pairs[0], self.module_id, include_names=names)
            if single
            else requests.link_request(messages, pairs, self.module_id, include_names=names)
        )
        return await self._write(request, messages, [deal.id for deal in deals], single=single)

    async def unlink(self, *emails: ProbeEmail) -> Reply:
        """Unlink emails of one contact and owner."""
        messages = [email.message for email in emails]
        return await self._write(requests.unlink_request(messages), messages, [None] * len(emails))

    async def _write(
        self,
        request: Request,
        messages: Sequence[Message],
        deal_ids: Sequence[str | None],
        *,
        single: bool = False,
    ) -> Reply:
        outcome = await self._make(request, messages[0].contact_id)
        reply = _reply(outcome, messages, deal_ids[0] if single else None, single=single)
        if reply.shape is None:
            self.has_lost_answer = True
            await self.settle()  # until then the call may still be executed
        is_mixed = len({reply.code(message.message_id) for message in messages}) > 1
        for message, deal_id in zip(messages, deal_ids, strict=True):
            key = (message.contact_id, message.message_id)
            if reply.shape is None or is_mixed or not reply.code(message.message_id):
                self._deals.pop(key, None)
            elif reply.accepts(message.message_id):
                self._deals[key] = deal_id
        return reply

    async def refusal_to_put_back(self, email: ProbeEmail) -> Reply | None:
        """Return why an email could not be put back once it is unlinked; None if it could be.

        It is linked to the deal that it is on, which changes nothing, unless that was done before.

        Raises:
            ExperimentError: if an answer was lost.
        """
        if email.deal is None:
            return None
        key = (email.contact_id, email.message_id)
        if key not in self._refusals:
            self._refusals[key] = await self._refusal_to_link(email, email.deal)
        return self._refusals[key]

    async def _refusal_to_link(self, email: ProbeEmail, deal: ProbeDeal) -> Reply | None:
        replies = []
        for include_names in (self.include_names, not self.include_names):
            reply = await self.link([email.message], [deal], include_names=include_names)
            reply.require_shape()
            if reply.code(email.message_id) in (Code.SUCCESS, Code.ALREADY_LINKED):
                return None
            replies.append(reply)
        return replies[0]

    async def free(self, *emails: ProbeEmail) -> None:
        """Make sure that emails are on no deal.

        Raises:
            ExperimentError: if one cannot be unlinked, or could not be put back.
        """
        for email in emails:
            if await self._known_deal(email) is not None:
                refusal = await self.refusal_to_put_back(email)
                if refusal is not None:
                    raise ExperimentError("An email could not be put back.", refusal.seen)
                reply = await self.unlink(email)
                if not reply.accepts(email.message_id):
                    raise ExperimentError("An email could not be unlinked before.", reply.seen)

    async def place(self, email: ProbeEmail, deal: ProbeDeal) -> None:
        """Make sure that an email is on a deal.

        Raises:
            ExperimentError: if it cannot be linked.
        """
        if await self._known_deal(email) == deal.id:
            return
        await self.free(email)
        reply = await self.link([email.message], [deal])
        if not reply.accepts(email.message_id):
            raise ExperimentError("An email could not be linked before.", reply.seen)

    async def _known_deal(self, email: ProbeEmail) -> str | None:
        key = (email.contact_id, email.message_id)
        if key not in self._deals:
            deals = await self.deals_of(email)
            if email.message_id not in deals:
                raise ExperimentError("An email is not listed any more.")
        return self._deals[key]

    async def deals_of(
        self, *emails: ProbeEmail, unchanged: str | msgspec.UnsetType | None = msgspec.UNSET
    ) -> dict[str, str | None]:
        """Read the deals of emails of one contact; an email that no page lists is left out.

        Args:
            emails: the emails.
            unchanged: the deal that all of them were on: if they still are, they are read again
                once the CRM had time to show a change.
        """
        deals = await self.read_links(emails)
        if deals and all(deal == unchanged for deal in _ids(deals).values()):
            await self.settle()
            deals = await self.read_links(emails)
        self._deals |= {
            (emails[0].contact_id, message_id): deal_id
            for message_id, deal_id in _ids(deals).items()
        }
        return _ids(deals)

    async def read_links(self, emails: Sequence[ProbeEmail]) -> dict[str, LinkedDeal | None]:
        """Read the links of emails of one contact, page by page until all are listed.

        Raises:
            ExperimentError: if a page cannot be read.
        """
        wanted = {email.message_id for email in emails}
        links: dict[str, LinkedDeal | None] = {}
        pages = PageReader[LinksPage](
            emails[0].contact_id,
            parse_links_page,
            self.caller,
            ReadBreaker(),
            max_pages=MAX_PAGES,
            completes_relink=self.is_putting_back,
        )
        while wanted - links.keys() and (page := await pages.next_page()) is not None:
            links |= {key: page.links[key] for key in wanted & page.links.keys()}
        if pages.failed:
            refusal = pages.refusal
            seen = f"HTTP {refusal.http_status} {visible_code(refusal.code)}" if refusal else ""
            raise ExperimentError("The emails could not be read.", seen)
        return links

    async def look_up(
        self, request: Request, parse: Callable[[Answer], T | None], subject: str
    ) -> T:
        """Make a look-up and return its parsed answer.

        Args:
            request: the look-up.
            parse: parses its answer; returns None if the answer is to another question.
            subject: what is looked up, for the user.

        Raises:
            ExperimentError: if it is refused or not answered.
        """
        answer = await self.ask(request)
        value = parse(answer) if answer.ok else None
        if value is None:
            raise ExperimentError(f"{subject} could not be read.", seen_in(answer))
        return value

    async def ask(self, request: Request) -> Answer:
        """Make a look-up and return its answer, whatever it is.

        Raises:
            ExperimentError: if there is none.
        """
        response = (await self._make(request, None)).response
        if not isinstance(response, Answer) or classify_outcome(response) in _NO_ANSWERS:
            raise ExperimentError(LOST)
        return response

    async def settle(self) -> None:
        """Wait until a read that shows no change can be trusted."""
        await self._sleep(self.settle_after)

    async def tick(self) -> None:
        """Wait until the clock of the CRM shows another second."""
        await self._sleep(_CLOCK_TICK)

    async def _sleep(self, seconds: float) -> None:
        await self.stop.sleep(seconds, completes_relink=self.is_putting_back)

    async def _make(self, request: Request, contact_id: str | None) -> CallOutcome:
        return await self.caller.make(
            request, contact_id=contact_id, completes_relink=self.is_putting_back
        )


def seen_in(answer: Answer) -> str:
    """Return HTTP status and code of an answer."""
    code = "" if answer.ok else visible_code(parse_refusal(answer).code)
    return f"HTTP {answer.status} {code}".rstrip()


def _reply(
    outcome: CallOutcome, messages: Sequence[Message], echo_deal_id: str | None, *, single: bool
) -> Reply:
    answer = outcome.response
    if not isinstance(answer, Answer) or classify_outcome(answer) in _NO_ANSWERS:
        return Reply(ParsedAnswer({}), None)
    ids = [message.message_id for message in messages]
    parsed = parse_answer(ids, answer, single=single, echo_deal_id=echo_deal_id)
    return Reply(parsed, None if outcome.answer_lost else parse_shape(answer))


def _ids(links: Mapping[str, LinkedDeal | None]) -> dict[str, str | None]:
    return {message_id: deal.id if deal else None for message_id, deal in links.items()}
