"""Look-ups of org, module id and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from bulklink.counts import count_of
from bulklink.engine.breaker import fatal_error
from bulklink.engine.call_outcome import CallOutcome
from bulklink.engine.caller import Caller
from bulklink.engine.retry import is_inconclusive
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.shell import auth_command
from bulklink.task_group import task_group
from bulklink.zoho import requests
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import AnswerClass, classify_error, classify_outcome
from bulklink.zoho.http import Answer, Request
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.lookup_responses import (
    DealDetails,
    Org,
    deal_batches,
    parse_deals,
    parse_module_id,
    parse_org,
    parse_user_names,
)

T = TypeVar("T")

MAX_USER_PAGES = 1_000
"""Maximum pages of users read: two hundred thousand users."""


async def look_up_org(caller: Caller) -> Org:
    """Look up the org; return an empty `Org` if reading it is not permitted.

    Raises:
        RunStoppedError: if there is no answer, or the answer is not from Zoho CRM.
    """
    call_outcome = await caller.make(requests.org_request())
    response = call_outcome.response
    if (
        isinstance(response, Answer)
        and 400 <= response.status < 500
        and classify_error(response.status, parse_refusal(response).code)
        is not AnswerClass.THROTTLED
    ):
        return Org()
    return parse_or_raise(caller, call_outcome, parse_org, "the org")


async def look_up_module_id(caller: Caller) -> str:
    """Look up the org's id of the Deals module.

    Raises:
        RunStoppedError: if it cannot be read.
    """
    return await look_up(
        caller, requests.deals_module_request(), parse_module_id, "the Deals module"
    )


async def look_up_deals(
    caller: Caller,
    ids: Iterator[str],
    on_deal: Callable[[DealDetails], None],
    *,
    at_once: int,
    on_batch: Callable[[int], None] = lambda count: None,
) -> None:
    """Look up deals, several calls at once.

    Args:
        caller: makes the calls.
        ids: ids of the deals, without duplicates.
        on_deal: called with each deal that exists.
        at_once: maximum calls at once.
        on_batch: called with the number of ids of each finished call.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    batches = deal_batches(ids)

    async def look_up_batch(batch: Sequence[str]) -> None:
        batch_deals = await look_up(caller, requests.deals_request(batch), parse_deals, "deals")
        for deal in batch_deals:
            on_deal(deal)
        on_batch(len(batch))

    while wave := list(islice(batches, at_once)):
        async with task_group() as group:
            for batch in wave:
                group.start_soon(look_up_batch, batch)


async def look_up_user_names(
    caller: Caller, user_ids: set[str], on_name: Callable[[str, str | None], None]
) -> None:
    """Look up names of users, page by page until all are listed.

    The look-up ends at a page without new users, and after 1,000 pages even if the server reports
    more.

    Args:
        caller: makes the calls.
        user_ids: ids of the users.
        on_name: called with (id, name) of each existing user; None for a name that is too long.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    remaining, seen = set(user_ids), set[str]()
    for page_number in range(1, MAX_USER_PAGES + 1):
        if not remaining:
            return
        names_page = await look_up(
            caller, requests.users_request(page_number), parse_user_names, "users' names"
        )
        for user_id in names_page.names.keys() & remaining:
            remaining.remove(user_id)
            on_name(user_id, names_page.names[user_id])
        if not names_page.has_more or seen.issuperset(names_page.names):
            return
        seen.update(names_page.names)


async def look_up(
    caller: Caller, request: Request, parse: Callable[[Answer], T | None], subject: str
) -> T:
    """Make a look-up and return its parsed answer.

    Args:
        caller: makes the call.
        request: the look-up.
        parse: parses its answer; returns None if the answer is to another question.
        subject: what is looked up, for the user.

    Raises:
        RunStoppedError: if it is refused or not answered.
    """
    call_outcome = await caller.make(request)
    return parse_or_raise(caller, call_outcome, parse, subject, scope=request.scope)


def parse_or_raise(
    caller: Caller,
    call_outcome: CallOutcome,
    parse: Callable[[Answer], T | None],
    subject: str,
    *,
    scope: str | None = None,
) -> T:
    """Return the parsed answer of a look-up.

    Args:
        caller: records an answer that cannot be parsed.
        call_outcome: the finished look-up.
        parse: see `look_up`.
        subject: see `look_up`.
        scope: scope that the look-up needs and that a token may lack.

    Raises:
        RunStoppedError: if it was refused or not answered.
    """
    response = call_outcome.response
    refusal = (
        parse_refusal(response)
        if isinstance(response, Answer) and classify_outcome(response) is not None
        else None
    )
    if not isinstance(response, Answer) or (refusal and is_inconclusive(refusal)):
        raise RunStoppedError(
            StoppedBy.NO_ANSWER,
            f"The CRM does not answer the look-up of {subject}.",
            advice="Try again later. The answer is in answers.jsonl.",
            reading="Run the same command again later.",
            has_answer=True,
        )
    if refusal and refusal.code == Code.OAUTH_SCOPE_MISMATCH and scope is not None:
        raise missing_scope_error(scope, subject, caller.profile)
    if refusal:
        raise fatal_error(call_outcome.kind, refusal, f"look-up of {subject}")
    value = parse(response)
    if value is None:
        caller.record_answer(call_outcome)
        raise RunStoppedError(
            StoppedBy.FATAL,
            f"The answer to the look-up of {subject} is not from the Zoho CRM API: HTTP"
            f" {response.status},"
            f" {count_of(len(response.body), 'byte')} that it would not send.",
            advice="Check the address or the data centre; the answer is in answers.jsonl.",
            reading="Check the address or the data centre.",
            has_answer=True,
        )
    return value


def missing_scope_error(scope: str, subject: str, profile: str | None) -> RunStoppedError:
    """Return the stop reason for a look-up whose scope the token lacks.

    Args:
        scope: the scope.
        subject: what is looked up, for the user.
        profile: the stored profile with the token; None if it is from elsewhere.
    """
    login = auth_command("login", profile, replaces=profile is not None)
    return RunStoppedError(
        StoppedBy.FATAL,
        f"The token lacks the scope {scope}, which the look-up of {subject} needs.",
        where=scope,
        advice=f"Sign in again with {login}, which asks for a code with all scopes.",
    )
