"""Look-ups of records: pages, where they end, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.record_lookups import (
    ENDS_IN_THE_MIDDLE,
    MAX_RELATED_PAGES,
    query_pages,
    read_contact_deals,
    read_contact_roles,
    read_deal_timeline,
    read_email,
    read_stages,
)
from bulklink.errors import ExitCode, RunStoppedError, StoppedBy, UsageError
from bulklink.zoho.coql import (
    DealRow,
    Query,
    parse_deal_rows,
    select_contacts_by_email,
    select_deals,
)
from bulklink.zoho.coql_condition import Condition
from bulklink.zoho.email_pages import EmailDetails
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import AnswerVerdict
from bulklink.zoho.related_records import ContactRole
from bulklink.zoho.stages import Stages
from bulklink.zoho.timeline import Timeline
from tests.engine.fakes import LOST, ScriptedCrm, engine_run, refusal
from tests.zoho.fakes import answer

CLAUSE = Condition("Stage = 'New' and Amount > 5")


def rows(*ids: int, more: Any = False, **fields: Any) -> Answer:
    records = [{"id": f"{number}", **fields} for number in ids]
    return answer({"data": records, "info": {"more_records": more}})


def queries(crm: ScriptedCrm) -> list[str]:
    return [json.loads(request.body or b"")["select_query"] for request in crm.sent]


async def read_deals(
    crm: ScriptedCrm, condition: Condition = CLAUSE, **options: Any
) -> list[tuple[list[str], str]]:
    """Return the ids and the last id of each page."""
    return await read_rows(crm, partial(select_deals, condition), **options)


async def read_rows(
    crm: ScriptedCrm, select: Callable[[str], Query], **options: Any
) -> list[tuple[list[str], str]]:
    pages = []

    def on_page(page: Sequence[DealRow], last_id: str) -> None:
        pages.append(([row.id for row in page], last_id))

    async with engine_run(crm) as run:
        await query_pages(
            run.context.caller,
            select,
            parse_deal_rows,
            on_page,
            **options,
        )
    return pages


async def test_a_query_is_continued_from_the_greatest_id_of_each_page() -> None:
    crm = ScriptedCrm(rows(1, 10, 9, more=True), rows(11, more=True), Answer(204))
    assert await read_deals(crm) == [(["1", "10", "9"], "10"), (["11"], "11")]
    assert [query.partition("id > ")[2][:5].strip(") a") for query in queries(crm)] == [
        *("'0'", "'10'", "'11'")
    ]


async def test_an_earlier_query_is_continued_after_its_last_id() -> None:
    crm = ScriptedCrm(rows(8))
    assert await read_deals(crm, after="7") == [(["8"], "8")]
    assert "id > '7'" in queries(crm)[0]


async def test_a_query_without_rows_has_no_page() -> None:
    assert await read_deals(ScriptedCrm(Answer(204))) == []


async def test_rows_that_were_read_before_are_left_out() -> None:
    crm = ScriptedCrm(rows(1, 2, more=True), rows(2, 3))
    assert await read_deals(crm) == [(["1", "2"], "2"), (["3"], "3")]


@pytest.mark.parametrize(
    "second",
    [rows(1, 2, more=True), rows(1, 2), rows(more=True), answer({"data": [{}] * 5})],
    ids=["same", "same at the end", "empty", "without ids"],
)
async def test_a_page_without_a_greater_id_ends_the_query_with_an_error(second: Answer) -> None:
    crm = ScriptedCrm(rows(1, 2, more=True), second)
    with pytest.raises(RunStoppedError) as caught:
        await read_deals(crm)
    assert caught.value.stopped_by is StoppedBy.FATAL
    assert ENDS_IN_THE_MIDDLE in caught.value.message
    assert select_deals(CLAUSE, "2").text in caught.value.message
    assert len(crm.sent) == 2


@pytest.mark.parametrize("code", ["INVALID_QUERY", "SYNTAX_ERROR", "INVALID_DATA"])
async def test_a_refused_condition_of_the_user_is_a_usage_error(code: str) -> None:
    details = {"near": "Amount", "line": 1, "column": 5}
    body = {"code": code, "details": details, "message": "wrong column", "status": "error"}
    with pytest.raises(UsageError) as caught:
        await read_deals(ScriptedCrm(answer(body, 400)))
    assert f"{code} wrong column (near Amount)" in caught.value.message
    assert select_deals(CLAUSE, "0").text in caught.value.message
    assert caught.value.exit_code is ExitCode.REFUSED


async def test_a_refused_query_of_ours_stops_the_run() -> None:
    with pytest.raises(
        RunStoppedError, match=r"INVALID_QUERY no\. The query is: select id"
    ) as caught:
        await read_rows(
            ScriptedCrm(refusal("INVALID_QUERY")),
            partial(select_contacts_by_email, ["a@b.example"]),
        )
    assert caught.value.stopped_by is StoppedBy.FATAL


async def test_a_query_goes_on_without_a_field_that_the_org_does_not_have() -> None:
    body = {
        "code": "INVALID_QUERY",
        "details": {"column_name": "Account_Name"},
        "message": "column given seems to be invalid",
        "status": "error",
    }
    crm, shown = ScriptedCrm(answer(body, 400), rows(1, more=True), rows(2)), list[str]()
    assert await read_deals(crm, on_query=shown.append) == [(["1"], "1"), (["2"], "2")]
    assert ["Account_Name" in query for query in queries(crm)] == [True, False, False]
    assert shown == queries(crm)[:2]


async def test_a_field_that_the_condition_needs_is_refused_for_good() -> None:
    body = {"code": "INVALID_QUERY", "message": "no Account_Name", "status": "error"}
    crm = ScriptedCrm(answer(body, 400))
    with pytest.raises(UsageError, match="no Account_Name"):
        await read_deals(crm, Condition("Account_Name is null"))
    assert len(crm.sent) == 2


async def test_a_token_without_the_scope_of_queries_is_named() -> None:
    with pytest.raises(RunStoppedError, match=r"lacks the scope ZohoCRM\.coql\.READ") as caught:
        await read_deals(ScriptedCrm(refusal("OAUTH_SCOPE_MISMATCH", 401)))
    assert caught.value.stopped_by is StoppedBy.FATAL


async def test_the_query_that_may_not_be_made_is_named() -> None:
    with pytest.raises(RunStoppedError, match="NO_PERMISSION no") as caught:
        await read_deals(ScriptedCrm(refusal("NO_PERMISSION", 403)))
    assert select_deals(CLAUSE, "0").text in caught.value.message


async def test_a_query_that_is_not_answered_stops_the_run() -> None:
    with pytest.raises(RunStoppedError) as caught:
        await read_deals(ScriptedCrm(LOST))
    assert caught.value.stopped_by is StoppedBy.NO_ANSWER


def roles(*contacts: int, more: Any = False) -> Answer:
    return rows(*contacts, more=more, Contact_Role={"name": "Buyer", "id": "5"})


async def read(crm: ScriptedCrm, reading: Any, *args: Any, **options: Any) -> Any:
    async with engine_run(crm) as run:
        return await reading(run.context.caller, ReadBreaker(), *args, **options)


async def test_contact_roles_are_read_page_by_page() -> None:
    crm = ScriptedCrm(roles(1, 2, more=True), roles(2, 3))
    expected = tuple(ContactRole(contact_id, "Buyer") for contact_id in "123")
    assert await read(crm, read_contact_roles, "71") == expected
    assert [url.rpartition("=")[2] for url in crm.indexes] == ["Full_Name,Email", "2"]


async def test_the_deals_of_a_contact_are_read_page_by_page() -> None:
    crm = ScriptedCrm(rows(1, more=True), rows(2, Stage="New"))
    deals = await read(crm, read_contact_deals, "11")
    assert deals == (DealRow("1"), DealRow("2", stage="New"))


@pytest.mark.parametrize("reading", [read_contact_roles, read_contact_deals])
async def test_without_content_there_are_none(reading: Any) -> None:
    assert await read(ScriptedCrm(Answer(204)), reading, "71") == ()


@pytest.mark.parametrize("reading", [read_contact_roles, read_contact_deals])
@pytest.mark.parametrize(
    "second", [roles(1, more=True), roles(more=True)], ids=["the same", "nothing"]
)
async def test_a_list_without_its_end_is_not_taken_for_a_whole_one(
    reading: Any, second: Answer
) -> None:
    crm = ScriptedCrm(roles(1, more=True), second)
    assert await read(crm, reading, "71") == AnswerVerdict("list-cut", ENDS_IN_THE_MIDDLE, 200)
    assert len(crm.sent) == 2


class EndlessRoles(ScriptedCrm):
    """Lists a new contact on every page, and always reports another page."""

    async def send(self, *args: Any) -> Any:
        self.answers = [roles(len(self.sent) + 1, more=True)]
        return await super().send(*args)


@pytest.mark.parametrize("reading", [read_contact_roles, read_contact_deals])
async def test_an_endless_list_has_a_last_page(reading: Any) -> None:
    crm = EndlessRoles(Answer(204))
    verdict = await read(crm, reading, "71")
    assert isinstance(verdict, AnswerVerdict)
    assert "more pages than can be read" in verdict.text
    assert len(crm.sent) == MAX_RELATED_PAGES


READINGS = {
    "roles": partial(read, reading=read_contact_roles),
    "deals": partial(read, reading=read_contact_deals),
    "timeline": partial(read, reading=read_deal_timeline, since=None),
}


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize(
    ("code", "status"),
    [("INVALID_DATA", 400), ("NO_PERMISSION", 403), ("INVALID_URL_PATTERN", 404)],
)
async def test_a_record_that_is_gone_or_forbidden_is_a_verdict(
    reading: Any, code: str, status: int
) -> None:
    async with engine_run(ScriptedCrm(refusal(code, status))) as run:
        arguments = reading.keywords.copy()
        function = arguments.pop("reading")
        verdict = await function(run.context.caller, ReadBreaker(), "71", **arguments)
    assert verdict == AnswerVerdict(code, "no", status)


@pytest.mark.parametrize("wrong", [answer({}), answer([]), Answer(200, b"<html>")], ids=repr)
async def test_an_answer_to_another_request_is_a_verdict_and_recorded(wrong: Answer) -> None:
    async with engine_run(ScriptedCrm(wrong)) as run:
        for reading in (read_contact_roles, read_contact_deals):
            verdict = await reading(run.context.caller, ReadBreaker(), "71")
            assert verdict == AnswerVerdict("no-answer", "The answer is not to this request.", 200)
        files = run.files
    assert len(files.answers.splitlines()) == 2


async def test_three_forbidden_deals_before_any_other_stop_the_reading() -> None:
    breaker = ReadBreaker()
    async with engine_run(ScriptedCrm(refusal("NO_PERMISSION", 403))) as run:
        for deal_id in ("71", "72"):
            await read_contact_roles(run.context.caller, breaker, deal_id)
        with pytest.raises(RunStoppedError, match="NO_PERMISSION") as caught:
            await read_contact_roles(run.context.caller, breaker, "73")
    assert caught.value.where == "deal 73"


async def test_a_token_without_a_scope_of_every_token_stops_the_reading() -> None:
    with pytest.raises(RunStoppedError, match="OAUTH_SCOPE_MISMATCH"):
        await read(ScriptedCrm(refusal("OAUTH_SCOPE_MISMATCH", 401)), read_contact_roles, "71")


async def test_an_email_has_a_thread() -> None:
    crm = ScriptedCrm(answer({"Emails": [{"message_id": "m1", "thread_id": "t1"}]}))
    email = await read(crm, read_email, "11", "m1", owner_id="22")
    assert email == EmailDetails("m1", "t1")
    assert crm.sent[0].url.endswith("/Contacts/11/Emails/m1?user_id=22")


async def test_another_email_is_not_taken_for_the_one_looked_up() -> None:
    crm = ScriptedCrm(answer({"Emails": [{"message_id": "m2", "thread_id": "t1"}]}))
    assert isinstance(await read(crm, read_email, "11", "m1"), AnswerVerdict)


def timeline(*minutes: int, token: str | None = None, more: Any = None) -> Answer:
    """Return a page of entries at these minutes, each changing the stage to the minute."""
    entries = [
        {
            "id": f"{minute}",
            "audited_time": f"2026-01-01T00:{minute:02}:00+00:00",
            "source": "crm_ui",
            "field_history": [
                {"api_name": "Stage", "_value": {"old": f"{minute - 1}", "new": f"{minute}"}}
            ],
        }
        for minute in minutes
    ]
    info = {"more_records": token is not None if more is None else more, "next_page_token": token}
    return answer({"__timeline": entries, "info": info})


async def test_a_timeline_is_read_page_by_page_and_sorted() -> None:
    crm = ScriptedCrm(timeline(9, 8, token="a"), timeline(7, 6, token="b"), timeline(5))
    result = await read(crm, read_deal_timeline, "71", since=None)
    assert isinstance(result, Timeline)
    assert [entry.audited_time.minute for entry in result.entries] == [5, 6, 7, 8, 9]
    assert result.readable
    assert [url.rpartition("&")[2] for url in crm.indexes] == [
        *("per_page=200", "page_token=a", "page_token=b")
    ]


async def test_the_last_page_read_is_the_one_that_reaches_back_before_the_earliest_time() -> None:
    crm = ScriptedCrm(timeline(9, 8, token="a"), timeline(7, 6, token="b"), timeline(5))
    since = datetime(2026, 1, 1, 0, 7, tzinfo=UTC)
    result = await read(crm, read_deal_timeline, "71", since=since)
    assert [entry.audited_time.minute for entry in result.entries] == [6, 7, 8, 9]
    assert result.since == datetime(2026, 1, 1, 0, 6, tzinfo=UTC)
    assert len(crm.sent) == 2


async def test_a_timeline_with_its_oldest_entries_first_is_read_to_the_end() -> None:
    crm = ScriptedCrm(timeline(1, 2, token="a"), timeline(3, 4))
    since = datetime(2026, 1, 1, 0, 3, tzinfo=UTC)
    result = await read(crm, read_deal_timeline, "71", since=since)
    assert [entry.audited_time.minute for entry in result.entries] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "second",
    [timeline(9, 8, token="b"), timeline(token="b"), timeline(7, more=True)],
    ids=["the same", "nothing", "no token"],
)
async def test_a_timeline_without_its_end_is_a_verdict(second: Answer) -> None:
    crm = ScriptedCrm(timeline(9, 8, token="a"), second)
    verdict = await read(crm, read_deal_timeline, "71", since=None)
    assert verdict == AnswerVerdict("list-cut", ENDS_IN_THE_MIDDLE, 200)
    assert len(crm.sent) == 2


def stage(name: str, forecast_type: str) -> dict[str, str]:
    return {"display_value": name, "actual_value": name, "forecast_type": forecast_type}


def pipeline(*stages: dict[str, str]) -> Answer:
    return answer({"pipeline": [{"maps": list(stages)}]})


def layouts(*ids: int, stages: Sequence[dict[str, str]] = ()) -> Answer:
    sections = [{"fields": [{"api_name": "Stage", "pick_list_values": list(stages)}]}]
    return answer({"layouts": [{"id": f"{number}", "sections": sections} for number in ids]})


async def stages_of(*answers: Any) -> Stages:
    async with engine_run(ScriptedCrm(*answers)) as run:
        return await read_stages(run.context.caller)


async def test_stages_are_those_of_all_layouts() -> None:
    stages = await stages_of(
        layouts(1, 2), pipeline(stage("New", "Open")), pipeline(stage("Lost", "Closed Lost"))
    )
    assert stages == Stages({"New": "open", "Lost": "lost"})


async def test_an_org_without_pipelines_has_the_stages_of_its_layouts() -> None:
    for pipelines in (Answer(204), refusal("FEATURE_OFF")):
        stages = await stages_of(layouts(1, stages=[stage("New", "Open")]), pipelines)
        assert stages == Stages({"New": "open"})


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([refusal("OAUTH_SCOPE_MISMATCH", 401)], "lacks the scope ZohoCRM.settings.layouts.READ"),
        (
            [layouts(1), refusal("OAUTH_SCOPE_MISMATCH", 401)],
            "lacks the scope ZohoCRM.settings.pipeline.READ",
        ),
        ([layouts(1), refusal("INVALID_DATA")], "INVALID_DATA"),
        ([refusal("NO_PERMISSION", 403)], "NO_PERMISSION"),
        ([answer({"data": []})], "not from the Zoho CRM API"),
        ([layouts(1), answer({"data": []})], "not from the Zoho CRM API"),
    ],
)
async def test_without_its_stages_the_reading_stops(answers: list[Answer], message: str) -> None:
    with pytest.raises(RunStoppedError, match=message):
        await stages_of(*answers)
