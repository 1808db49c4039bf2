"""Look-ups before the first change: org, module id, missing names, with the fewest calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import anyio

from bulklink.engine.breaker import fatal
from bulklink.engine.caller import Caller, Exchange
from bulklink.engine.shutdown import HaltedError
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho import requests
from bulklink.zoho.error_policy import AnswerClass, class_of
from bulklink.zoho.http import Answer, Request
from bulklink.zoho.link_response import refusal_of
from bulklink.zoho.lookup_responses import (
    FoundDeal,
    Org,
    deal_batches,
    read_deals,
    read_module_id,
    read_org,
    read_user_names,
)

T = TypeVar("T")


async def organisation(caller: Caller) -> Org:
    """Look up the org; where it may not be read, go on with an org of which nothing is known.

    Raises:
        RunStoppedError: if what answers is not Zoho CRM, or nothing does.
    """
    exchange = await caller.make(requests.organisation())
    outcome = exchange.outcome
    if isinstance(outcome, Answer) and 400 <= outcome.status < 500 and _class(outcome) != _BUSY:
        return Org()
    return _value(caller, exchange, read_org, "the org")


async def deals_module_id(caller: Caller) -> str:
    """Look up the org's id of the module Deals.

    Raises:
        RunStoppedError: if it cannot be read.
    """
    return await _look_up(caller, requests.deals_module(), read_module_id, "the module Deals")


async def deals(
    caller: Caller,
    ids: Iterator[str],
    take: Callable[[FoundDeal], None],
    *,
    at_once: int,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Look up deals, several look-ups at once.

    Args:
        caller: makes the calls.
        ids: of the deals, each once.
        take: is given each deal that exists.
        at_once: look-ups in flight at most.
        done: told how many ids each look-up was of, when it is over.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    batches = deal_batches(ids)
    failures: list[Exception] = []

    async def look_up(batch: Sequence[str]) -> None:
        try:
            found = await _look_up(caller, requests.deals(batch), read_deals, "deals")
        except (RunStoppedError, HaltedError) as error:
            failures.append(error)
            return
        for deal in found:
            take(deal)
        done(len(batch))

    while wave := list(islice(batches, at_once)):
        async with anyio.create_task_group() as group:
            for batch in wave:
                group.start_soon(look_up, batch)
        if failures:
            raise failures[0]


async def user_names(caller: Caller, wanted: set[str], take: Callable[[str, str], None]) -> None:
    """Look up the names of users, page by page until all wanted are seen.

    Args:
        caller: makes the calls.
        wanted: ids of the users.
        take: is given (id, name) of each of them that exists.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    page, left, more = 1, set(wanted), bool(wanted)
    while left and more:
        found = await _look_up(caller, requests.users(page), read_user_names, "users' names")
        for user_id in found.names.keys() & left:
            left.remove(user_id)
            take(user_id, found.names[user_id])
        page, more = page + 1, found.more and bool(found.names)


async def _look_up(
    caller: Caller, request: Request, read: Callable[[Answer], T | None], what: str
) -> T:
    return _value(caller, await caller.make(request), read, what)


def _value(caller: Caller, exchange: Exchange, read: Callable[[Answer], T | None], what: str) -> T:
    """Return what an answer tells, or stop the run: without it nothing can be sent."""
    outcome = exchange.outcome
    if not isinstance(outcome, Answer) or _class(outcome) in (AnswerClass.AGAIN, _BUSY):
        raise RunStoppedError(
            StoppedBy.NO_ANSWER,
            f"The CRM does not answer the look-up of {what}.",
            advice="Try again later; what came back is in answers.jsonl.",
        )
    if not outcome.ok:
        raise fatal(exchange.kind, refusal_of(outcome), f"look-up of {what}")
    value = read(outcome)
    if value is None:
        caller.keep(exchange)
        raise RunStoppedError(
            StoppedBy.FATAL,
            f"What answered the look-up of {what} is not the Zoho CRM API: HTTP {outcome.status},"
            f" {len(outcome.body)} bytes that it would not send.",
            advice="Check the address or the data centre; the answer is in answers.jsonl.",
        )
    return value


_BUSY = AnswerClass.BUSY


def _class(answer: Answer) -> AnswerClass | None:
    return None if answer.ok else class_of(answer.status, refusal_of(answer).code)
