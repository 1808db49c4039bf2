"""Calls of one contact: the requests of its steps, their answers, and the reads of its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.call_outcome import CallOutcome
from bulklink.engine.caller import Caller
from bulklink.engine.context import SendSettings
from bulklink.engine.message_state import MessageState, NextStep
from bulklink.engine.pagination import PageReader
from bulklink.engine.quota.budget import Reservation
from bulklink.engine.transitions import on_read, on_read_failed
from bulklink.models import Message
from bulklink.zoho import requests
from bulklink.zoho.email_pages import parse_links_page
from bulklink.zoho.error_codes import Code
from bulklink.zoho.http import NoResponse, Request
from bulklink.zoho.link_response import AnswerVerdict, ParsedAnswer, parse_answer
from bulklink.zoho.plain_success import PLAIN_STATUS


def parse_write_response(
    batch: Sequence[MessageState], step: NextStep, call_outcome: CallOutcome, settings: SendSettings
) -> ParsedAnswer:
    """Parse the response to a link or unlink call; without an answer there are no verdicts."""
    if isinstance(call_outcome.response, NoResponse):
        return ParsedAnswer({})
    ids = [state.message.message_id for state in batch]
    if call_outcome.success_text is not None:
        verdict = AnswerVerdict(Code.SUCCESS, call_outcome.success_text, PLAIN_STATUS)
        return ParsedAnswer(dict.fromkeys(ids, verdict))
    is_single_call = len(batch) == 1 and settings.single_endpoint
    is_single_link = is_single_call and step is not NextStep.UNLINK
    return parse_answer(
        ids,
        call_outcome.response,
        single=is_single_call,
        echo_deal_id=batch[0].link_target[0] if is_single_link else None,
    )


def build_request(
    messages: Sequence[Message],
    step: NextStep,
    settings: SendSettings,
    deals: Sequence[tuple[str, str | None]],
) -> Request:
    """Return the request of a step for these messages.

    Args:
        messages: the messages.
        step: UNLINK, LINK or PUT_BACK.
        settings: how batches are sent.
        deals: (id, name) of the deal to link each message to.
    """
    is_single_call = len(messages) == 1 and settings.single_endpoint
    if step is NextStep.UNLINK:
        return (
            requests.single_unlink_request(messages[0])
            if is_single_call
            else requests.unlink_request(messages)
        )
    if is_single_call:
        return requests.single_link_request(
            messages[0], deals[0], settings.module_id, include_names=settings.send_names
        )
    return requests.link_request(
        messages, deals, settings.module_id, include_names=settings.send_names
    )


async def read_links(
    contact_id: str,
    states: Sequence[MessageState],
    caller: Caller,
    breaker: CircuitBreaker,
    *,
    max_pages: int,
    completes_relink: bool,
    reservation: Reservation,
    on_advanced: Callable[[Sequence[MessageState]], None],
) -> int:
    """Read a contact's pages until all messages are listed; return the number of pages read.

    Each message advances as soon as its page is read: what a page shows may change later.

    Args:
        contact_id: contact whose emails are read.
        states: states of the messages.
        caller: makes the calls.
        breaker: decides what a refusal means.
        max_pages: maximum pages read.
        completes_relink: whether the reads serve to complete relinks, which a graceful stop allows.
        reservation: credits reserved to complete relinks of the contact.
        on_advanced: called with the states that advanced after a page or at the end of the pages.

    Raises:
        StoppedError: if the run was stopped.
        RunStoppedError: if no read can succeed.
    """
    remaining: dict[str, list[MessageState]] = {}
    for state in states:
        remaining.setdefault(state.message.message_id, []).append(state)
    pages = PageReader(
        contact_id,
        parse_links_page,
        caller,
        breaker,
        max_pages=max_pages,
        completes_relink=completes_relink,
        reservation=reservation,
    )
    while remaining and (page := await pages.next_page(_rows(remaining.values()))) is not None:
        listed = []
        for message_id in [listed_id for listed_id in page.links if listed_id in remaining]:
            for state in remaining.pop(message_id):
                on_read(state, listed=True, deal=page.links[message_id], call=pages.last_call)
                listed.append(state)
        on_advanced(listed)
    unlisted = [state for group in remaining.values() for state in group]
    for state in unlisted:
        if pages.failed:
            on_read_failed(state, pages.refusal, pages.last_call)
        else:
            on_read(state, listed=False, deal=None, call=pages.last_call, complete=pages.complete)
    on_advanced(unlisted)
    return pages.pages_read


def _rows(groups: Iterable[Sequence[MessageState]]) -> list[int]:
    return [state.message.row for group in groups for state in group]
