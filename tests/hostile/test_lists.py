"""Look-ups of records against hostile answers: each ends, with records, a verdict or an error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.record_lookups import (
    query_pages,
    read_contact_deals,
    read_contact_roles,
    read_deal_timeline,
    read_deals,
    read_email,
    read_stages,
)
from bulklink.errors import RunStoppedError, StoppedError, UsageError
from bulklink.zoho.coql import (
    Row,
    parse_contact_rows,
    parse_deal_rows,
    select_contacts,
    select_deals,
    select_deals_of_contacts,
)
from bulklink.zoho.coql_condition import Condition
from bulklink.zoho.email_pages import EmailDetails
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import AnswerVerdict
from tests.engine.fakes import ScriptedCrm, engine_run
from tests.hostile.answers import HOSTILE_ANSWERS, HOSTILE_LISTS
from tests.virtual import run_virtual

MAX_REQUESTS = 300
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


async def _query(caller: Caller, next_query: Any, parse: Any) -> list[Row]:
    found: list[Row] = []

    def on_page(rows: Sequence[Row], last_id: str) -> None:
        assert max(int(row.id) for row in rows) == int(last_id)
        found.extend(rows)

    await query_pages(caller, next_query, parse, on_page)
    assert len({row.id for row in found}) == len(found)
    return found


READS: dict[str, Callable[[Caller], Awaitable[Any]]] = {
    "deals": lambda caller: _query(
        caller, partial(select_deals, Condition("Stage is not null")), parse_deal_rows
    ),
    "deals of contacts": lambda caller: _query(
        caller,
        lambda after: select_deals_of_contacts(["11", "12"], after, rows=100, number_field="No"),
        partial(parse_deal_rows, number_field="No"),
    ),
    "deals by their ids": lambda caller: read_deals(caller, ["71", "72"], number_field="No"),
    "contacts": lambda caller: _query(
        caller, partial(select_contacts, Condition("Email is not null")), parse_contact_rows
    ),
    "contact roles": lambda caller: read_contact_roles(caller, ReadBreaker(), "71"),
    "deals of a contact": lambda caller: read_contact_deals(caller, ReadBreaker(), "11"),
    "timeline": lambda caller: read_deal_timeline(caller, ReadBreaker(), "71", since=SINCE),
    "email": lambda caller: read_email(caller, ReadBreaker(), "11", "m1"),
    "stages": read_stages,
}


async def _read(crm: ScriptedCrm, read: Callable[[Caller], Awaitable[Any]]) -> Any:
    async with engine_run(crm) as run:
        try:
            return await read(run.context.caller)
        except (RunStoppedError, UsageError) as error:
            return error
        except StoppedError:
            assert run.context.stop.reason is not None
            return run.context.stop.reason


@pytest.mark.parametrize(
    "hostile", (HOSTILE_ANSWERS | HOSTILE_LISTS).values(), ids=HOSTILE_ANSWERS | HOSTILE_LISTS
)
def test_a_hostile_answer_ends_each_look_up(hostile: Answer) -> None:
    for name, read in READS.items():
        crm = ScriptedCrm(hostile)
        result = run_virtual(_read(crm, read))
        assert len(crm.sent) <= MAX_REQUESTS, name
        if isinstance(result, EmailDetails):
            pytest.fail(f"no answer is about this email: {name}")
        if isinstance(result, AnswerVerdict):
            assert len(result.code) + len(result.text) < 1_000, name
        if isinstance(result, RunStoppedError | UsageError):
            assert len(result.message) < 2_000, name
