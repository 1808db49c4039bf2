"""Look-ups of records: queries, contact roles, deals of a contact, stages, timelines, emails.

A query or a look-up that the whole command depends on raises an error. A look-up of one record
returns the refusal if the breaker decides that it concerns this record alone. Every list has a
limit of pages, and a list that reports another page but brings nothing new is not read on: its end
is missing, which is never taken for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

from bulklink.advice import Advice, Keyword
from bulklink.engine.breaker import Breaker
from bulklink.engine.call_outcome import CallOutcome, no_answer_reason
from bulklink.engine.caller import Caller
from bulklink.engine.lookups import look_up, missing_scope_error, parse_or_raise
from bulklink.engine.retry import is_inconclusive
from bulklink.errors import RunStoppedError, StoppedBy, UsageError
from bulklink.zoho import requests
from bulklink.zoho.coql import CoqlPage, DealRow, Query, Row, coql_request
from bulklink.zoho.email_pages import EmailDetails, parse_email_details
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import COQL_SCOPE, AnswerClass, classify_outcome
from bulklink.zoho.http import Answer, NoResponse, Request
from bulklink.zoho.link_response import AnswerVerdict, parse_refusal
from bulklink.zoho.related_records import (
    ContactRole,
    RelatedPage,
    parse_addresses,
    parse_contact_deals,
    parse_contact_roles,
)
from bulklink.zoho.stages import Stages, StageTypes, parse_layouts, parse_pipelines
from bulklink.zoho.timeline import Timeline, TimelineEntry, build_timeline, parse_timeline

T = TypeVar("T")
R = TypeVar("R", bound=Row)

MAX_QUERIES_AT_ONCE = 10
"""Maximum queries in flight: Zoho's limit for an org, whatever its edition."""
MAX_QUERY_PAGES = 10_000
"""Maximum pages of one query: twenty million rows."""
MAX_RELATED_PAGES = 100
"""Maximum pages of a deal's contact roles or a contact's deals: 10,000 or 20,000 records."""
MAX_TIMELINE_PAGES = 500
"""Maximum pages of a timeline: a hundred thousand entries."""
_MAX_EXCERPT = 2_000
ENDS_IN_THE_MIDDLE = "The list ends in the middle: the CRM reports more, but lists nothing new."
_NO_ANSWER = "no-answer"
"""Code of a record that has no answer, or none that can be read."""
_LIST_CUT = "list-cut"
"""Code of a record whose list ends in the middle."""
_TOO_LONG = "The list has more pages than can be read."


async def query_pages(
    caller: Caller,
    next_query: Callable[[str], Query],
    parse: Callable[[Answer], CoqlPage[R] | None],
    on_page: Callable[[Sequence[R], str], None],
    *,
    after: str = "0",
    left_out: frozenset[str] = frozenset(),
    on_query: Callable[[str], None] = lambda text: None,
) -> frozenset[str]:
    """Read all pages of a query.

    If the CRM refuses a field that an org may lack, the query goes on without it.

    Args:
        caller: makes the calls.
        next_query: returns the query of the page after an id.
        parse: parses a page: `parse_deal_rows` or `parse_contact_rows`.
        on_page: called with the new rows of each page and the greatest id so far, from which the
            query can be continued.
        after: id from which an earlier query is continued; "0" for all rows.
        left_out: fields that the CRM refused in an earlier query.
        on_query: called with the query of the first page before it is sent, and again if the query
            goes on without a field.

    Returns:
        The fields that were left out.

    Raises:
        UsageError: if the CRM refuses a condition that the user wrote.
        RunStoppedError: if it refuses the query otherwise, does not answer, or reports more rows
            but returns none.
    """
    on_query(next_query(after).without(left_out).text)
    for _ in range(MAX_QUERY_PAGES):
        query = next_query(after).without(left_out)
        call_outcome = await caller.make(coql_request(query))
        if refused := _refused_fields(call_outcome.response, query):
            left_out |= refused
            on_query(query.without(left_out).text)
            continue
        page = _parse_query_page(caller, call_outcome, query, parse)
        rows = [row for row in page.rows if int(row.id) > int(after)]
        if not rows and (page.more or page.rows):
            caller.record_answer(call_outcome)
            raise _unfinished_query_error(query, ENDS_IN_THE_MIDDLE)
        if rows:
            after = max((row.id for row in rows), key=int)
            on_page(rows, after)
        if not page.more:
            return left_out
    raise _unfinished_query_error(query, _TOO_LONG)


def _refused_fields(response: Answer | NoResponse, query: Query) -> frozenset[str]:
    """Return the fields named by a refusal that the query can do without."""
    if isinstance(response, NoResponse) or classify_outcome(response) is not AnswerClass.ITEM:
        return frozenset()
    text = response.excerpt(_MAX_EXCERPT)
    return frozenset(field for field in query.dispensable_fields if field in text)


def _parse_query_page(
    caller: Caller,
    call_outcome: CallOutcome,
    query: Query,
    parse: Callable[[Answer], CoqlPage[R] | None],
) -> CoqlPage[R]:
    response = call_outcome.response
    if isinstance(response, Answer) and classify_outcome(response) is AnswerClass.ITEM:
        raise _refused_query_error(query, parse_refusal(response))
    try:
        return parse_or_raise(caller, call_outcome, parse, "records", scope=COQL_SCOPE)
    except RunStoppedError as error:
        if error.where != COQL_SCOPE:  # a missing scope has nothing to do with the query
            error.message = f"{error.message} The query is: {query.text}"
        raise


def _refused_query_error(query: Query, verdict: AnswerVerdict) -> UsageError | RunStoppedError:
    """Return the error for a query that the CRM refuses because of its content."""
    reason = " ".join(filter(None, (verdict.shown_code, verdict.text)))
    if query.key_field is not None:
        return UsageError(
            f"Zoho refuses the field: {reason}. The query is: {query.text}",
            where=Advice("{} {}", Keyword("deal_key"), query.key_field),
            advice="Name a field of deals by its API name, as the setup of Zoho shows it.",
        )
    if not query.by_user:
        return RunStoppedError(
            StoppedBy.FATAL,
            f"Zoho refuses the query: {reason}. The query is: {query.text}",
            advice="The answer is in answers.jsonl.",
            has_answer=True,
        )
    return UsageError(
        f"Zoho refuses the condition: {reason}. The query is: {query.text}",
        where=Advice("{}, {}", Keyword("deals_where"), Keyword("contacts_where")),
        advice="Name fields by their API names, put texts in single quotes, and put more than two"
        " comparisons in brackets by pairs: ((A and B) and C).",
    )


def _unfinished_query_error(query: Query, text: str) -> RunStoppedError:
    return RunStoppedError(
        StoppedBy.FATAL,
        f"{text} The query is: {query.text}",
        advice="Try again later. The answer is in answers.jsonl.",
        reading="Run the same command again later.",
        has_answer=True,
    )


async def read_contact_roles(
    caller: Caller, breaker: Breaker, deal_id: str
) -> tuple[ContactRole, ...] | AnswerVerdict:
    """Read the contacts with a role on a deal.

    Args:
        caller: makes the calls.
        breaker: decides whether a refusal concerns this deal alone.
        deal_id: id of the deal.

    Returns:
        The contacts, or the refusal. Without a readable answer its code is `no-answer`; if the
        list ends in the middle, `list-cut`.

    Raises:
        RunStoppedError: if no look-up of this kind can succeed.
        StoppedError: if the run was stopped.
    """
    record = _Record(caller, breaker, deal_id, "deal")
    build = partial(requests.contact_roles_request, deal_id)
    return await _read_related(record, build, parse_contact_roles)


async def read_contact_deals(
    caller: Caller,
    breaker: Breaker,
    contact_id: str,
    *,
    more_fields: Sequence[str] = (),
    number_field: str | None = None,
) -> tuple[DealRow, ...] | AnswerVerdict:
    """Read the deals of a contact; result and errors as `read_contact_roles`.

    Args:
        caller: makes the calls.
        breaker: decides whether a refusal concerns this contact alone.
        contact_id: id of the contact.
        more_fields: API names of fields besides those of every deal.
        number_field: the one of them that holds the deal's own number; None for none.
    """
    record = _Record(caller, breaker, contact_id)
    build = partial(requests.contact_deals_request, contact_id, more_fields=more_fields)
    return await _read_related(
        record, build, partial(parse_contact_deals, number_field=number_field)
    )


async def read_deals(
    caller: Caller,
    ids: Sequence[str],
    *,
    more_fields: Sequence[str] = (),
    number_field: str | None = None,
) -> tuple[DealRow, ...]:
    """Read deals by their ids; those that the CRM does not show are missing.

    Args:
        caller: makes the call.
        ids: ids of deals, at most 1,024 characters when joined by commas.
        more_fields: API names of fields besides those of every deal.
        number_field: the one of them that holds the deal's own number; None for none.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    request = requests.deal_records_request(ids, more_fields=more_fields)
    parse = partial(parse_contact_deals, number_field=number_field)
    return tuple((await look_up(caller, request, parse, "deals")).items.values())


async def read_addresses(caller: Caller, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read the email addresses of contacts, in lower case, by the ids of the contacts.

    Args:
        caller: makes the call.
        ids: ids of contacts, at most 1,024 characters when joined by commas.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    request = requests.contact_addresses_request(ids)
    return (await look_up(caller, request, parse_addresses, "addresses of contacts")).items


async def read_email(
    caller: Caller,
    breaker: Breaker,
    contact_id: str,
    message_id: str,
    *,
    owner_id: str | None = None,
) -> EmailDetails | AnswerVerdict:
    """Read one email of a contact, for its conversation.

    Args:
        caller: makes the call.
        breaker: decides whether a refusal concerns this contact alone.
        contact_id: id of the contact.
        message_id: id of the email.
        owner_id: user who owns the email; Zoho wants it for emails that others share.

    Returns:
        The email, or why it could not be read, as `read_contact_roles`.

    Raises:
        RunStoppedError: if no look-up of this kind can succeed.
        StoppedError: if the run was stopped.
    """
    request = requests.email_request(contact_id, message_id, owner_id)
    parse = partial(parse_email_details, message_id=message_id)
    return await _Record(caller, breaker, contact_id).read(request, parse)


async def read_deal_timeline(
    caller: Caller, breaker: Breaker, deal_id: str, *, since: datetime | None
) -> Timeline | AnswerVerdict:
    """Read the timeline of a deal; arguments, result and errors as `read_contact_roles`.

    Pages that list their newest entries first are read until one reaches back before `since`, so
    that what the deal was at that time is known.

    Args:
        caller: makes the calls.
        breaker: decides whether a refusal concerns this deal alone.
        deal_id: id of the deal.
        since: time with its zone from which the timeline must be complete; None for all of it.
    """
    record = _Record(caller, breaker, deal_id, "deal")
    parse = partial(parse_timeline, deal_id=deal_id)
    entries: dict[TimelineEntry | str, TimelineEntry] = {}
    token, unreadable = None, 0
    for _ in range(MAX_TIMELINE_PAGES):
        page = await record.read(requests.timeline_request(deal_id, token), parse)
        if isinstance(page, AnswerVerdict):
            return page
        known = len(entries)
        entries.update((entry.id or entry, entry) for entry in page.entries)
        unreadable += page.unreadable
        if not page.more or (since is not None and page.reaches_back_before(since)):
            return build_timeline(entries.values(), readable=not unreadable, ended=not page.more)
        if len(entries) == known or page.next_token is None:
            return _unfinished_list(ENDS_IN_THE_MIDDLE)
        token = page.next_token
    return _unfinished_list(_TOO_LONG)


async def read_stages(caller: Caller) -> Stages:
    """Read which stages of deals are open, won and lost, over all layouts and pipelines.

    Raises:
        RunStoppedError: if they cannot be read.
    """
    layouts = await look_up(caller, requests.layouts_request(), parse_layouts, "the layouts")
    stage_types = list(layouts.stage_types)
    for layout_id in layouts.ids:
        stage_types += await _read_pipelines(caller, layout_id, has_types=bool(layouts.stage_types))
    return Stages.from_types(stage_types)


async def _read_pipelines(caller: Caller, layout_id: str, *, has_types: bool) -> StageTypes:
    """Return the stages of a layout's pipelines; none if an org without pipelines refuses."""
    request = requests.pipeline_request(layout_id)
    call_outcome = await caller.make(request)
    response = call_outcome.response
    is_refused = isinstance(response, Answer) and 400 <= response.status < 500
    if has_types and is_refused and classify_outcome(response) is AnswerClass.ITEM:
        return ()
    return parse_or_raise(
        caller, call_outcome, parse_pipelines, "the pipelines", scope=request.scope
    )


async def _read_related(
    record: _Record,
    build: Callable[[int], Request],
    parse: Callable[[Answer], RelatedPage[T] | None],
) -> tuple[T, ...] | AnswerVerdict:
    items: dict[str, T] = {}
    for number in range(1, MAX_RELATED_PAGES + 1):
        page = await record.read(build(number), parse)
        if isinstance(page, AnswerVerdict):
            return page
        known = len(items)
        items |= page.items
        if not page.more:
            return tuple(items.values())
        if len(items) == known:
            return _unfinished_list(ENDS_IN_THE_MIDDLE)
    return _unfinished_list(_TOO_LONG)


def _unfinished_list(text: str) -> AnswerVerdict:
    return AnswerVerdict(_LIST_CUT, text, 200)


@dataclass(slots=True, frozen=True)
class _Record:
    """Look-ups of one record, whose refusals the breaker judges."""

    caller: Caller
    breaker: Breaker
    id: str
    kind: str = "contact"

    async def read(
        self, request: Request, parse: Callable[[Answer], T | None]
    ) -> T | AnswerVerdict:
        """Return the parsed answer, or why there is none."""
        contact_id = self.id if self.kind == "contact" else None
        call_outcome = await self.caller.make(request, contact_id=contact_id)
        response = call_outcome.response
        if isinstance(response, NoResponse):
            text = f"The CRM does not answer: {no_answer_reason(response)}."
            return AnswerVerdict(_NO_ANSWER, text, 0)
        if classify_outcome(response) is not None:
            return await self._refusal(request, response)
        value = parse(response)
        if value is None:
            self.caller.record_answer(call_outcome)
            text = "The answer is not to this request."
            return AnswerVerdict(_NO_ANSWER, text, response.status)
        self.breaker.on_success(request.kind, self.id)
        return value

    async def _refusal(self, request: Request, answer: Answer) -> AnswerVerdict:
        """Return a refusal that concerns this record alone.

        Raises:
            RunStoppedError: if no look-up of this kind can succeed.
        """
        verdict = parse_refusal(answer)
        if is_inconclusive(verdict):
            text = verdict.text or f"The CRM does not answer: {no_answer_reason(answer)}."
            return AnswerVerdict(verdict.code or _NO_ANSWER, text, verdict.http_status)
        try:
            await self.breaker.on_refusal(request.kind, self.id, verdict, record=self.kind)
        except RunStoppedError:
            if verdict.code == Code.OAUTH_SCOPE_MISMATCH and request.scope is not None:
                raise missing_scope_error(
                    request.scope, f"{self.kind} {self.id}", self.caller.profile
                ) from None
            raise
        return verdict
