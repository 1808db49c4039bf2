"""Pages of one contact: order, end of reading, and refused pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import orjson
import pytest

from bulklink.engine.breaker import Breaker, ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.errors import RunStoppedError
from bulklink.zoho.email_pages import LinksPage, parse_links_page
from bulklink.zoho.http import Answer, CallKind
from bulklink.zoho.link_response import AnswerVerdict
from tests.engine.fakes import (
    CONTACT,
    DEAL,
    LOST,
    EngineRun,
    ScriptedCrm,
    engine_run,
    message_id,
    page,
    refusal,
)

NO_EMAILS = Answer(204)
HTML = Answer(200, b"<html>Please wait</html>")


def reader_of(
    run: EngineRun, breaker: Breaker | None = None, contact_id: str = CONTACT, **options: Any
) -> PageReader[LinksPage]:
    breaker = breaker or ReadBreaker()
    return PageReader(contact_id, parse_links_page, run.context.caller, breaker, **options)


async def rows_read(reader: PageReader[LinksPage]) -> list[int]:
    """Read all pages, and return the rows listed."""
    rows: list[int] = []
    while (links_page := await reader.next_page()) is not None:
        rows += [int(listed_id, 16) for listed_id in links_page.links]
    return rows


async def test_each_page_is_requested_by_the_index_of_the_previous_page() -> None:
    crm = ScriptedCrm(page({1: DEAL}, "x1"), page({2: None}, "a/b+c=="), page({3: None}))
    async with engine_run(crm) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [1, 2, 3]
    assert crm.indexes == ["", "index=x1", "index=a%2Fb%2Bc%3D%3D"]
    assert reader.complete
    assert not reader.failed


async def test_no_page_is_requested_after_the_last() -> None:
    crm = ScriptedCrm(page({1: None}))
    async with engine_run(crm) as run:
        reader = reader_of(run)
        await rows_read(reader)
        assert await reader.next_page() is None
    assert len(crm.sent) == 1


async def test_a_contact_without_emails_has_one_empty_page() -> None:
    async with engine_run(ScriptedCrm(NO_EMAILS)) as run:
        reader = reader_of(run)
        assert await reader.next_page() == LinksPage({})
        assert await reader.next_page() is None
    assert reader.complete


@pytest.mark.parametrize("indexes", [["x1", "x1"], ["x1", "x2", "x1"]], ids=["same", "earlier"])
async def test_reading_ends_at_a_repeated_index(indexes: Sequence[str]) -> None:
    crm = ScriptedCrm(*(page({row: None}, index) for row, index in enumerate(indexes, 1)))
    async with engine_run(crm) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == list(range(1, len(indexes) + 1))
    assert len(crm.sent) == len(indexes)
    assert not reader.complete
    assert not reader.failed


async def test_a_full_page_without_info_is_no_last_page() -> None:
    full = dict.fromkeys(range(1, 11), DEAL)
    emails = orjson.loads(page(full).body)["Emails"]
    async with engine_run(ScriptedCrm(Answer(200, orjson.dumps({"Emails": emails})))) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [*full]
        assert await reader.next_page() is None
    assert not reader.complete
    assert not reader.failed


async def test_a_page_that_was_cut_off_is_read_again() -> None:
    crm = ScriptedCrm(Answer(200, page({1: DEAL}).body[:-9]), page({1: DEAL}))
    async with engine_run(crm) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [1]
    assert len(crm.sent) == 2
    assert reader.complete


@pytest.mark.parametrize("max_pages", [1, 2, 3])
async def test_at_most_max_pages_pages_are_read(max_pages: int) -> None:
    crm = ScriptedCrm(*(page({row: None}, f"x{row}") for row in range(1, 9)))
    async with engine_run(crm) as run:
        reader = reader_of(run, max_pages=max_pages)
        assert await rows_read(reader) == list(range(1, max_pages + 1))
    assert len(crm.sent) == max_pages
    assert not reader.complete
    assert not reader.failed


async def test_a_contact_with_exactly_max_pages_pages_is_read_completely() -> None:
    async with engine_run(ScriptedCrm(page({1: None}, "x1"), page({2: None}))) as run:
        reader = reader_of(run, max_pages=2)
        assert await rows_read(reader) == [1, 2]
    assert reader.complete


NOTHING_NEW = {
    "no email": {},
    "the emails of the previous page": {2: DEAL},
    "emails of several earlier pages": {1: None, 2: DEAL},
}


@pytest.mark.parametrize("links", NOTHING_NEW.values(), ids=NOTHING_NEW)
async def test_reading_ends_at_a_page_without_new_emails(
    links: dict[int, str | None],
) -> None:
    crm = ScriptedCrm(
        page({1: None}, "x1"), page({2: DEAL}, "x2"), page(links, "x3"), page({9: None}, "x4")
    )
    async with engine_run(crm) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [1, 2]
        assert await reader.next_page() is None
    assert len(crm.sent) == 3
    assert not reader.complete
    assert not reader.failed


async def test_a_first_page_without_emails_does_not_end_the_reading() -> None:
    async with engine_run(ScriptedCrm(page({}, "x1"), page({1: None}))) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [1]
    assert reader.complete


async def test_a_last_page_without_new_emails_completes_the_reading() -> None:
    async with engine_run(ScriptedCrm(page({1: None}, "x1"), page({1: None}))) as run:
        reader = reader_of(run)
        await rows_read(reader)
    assert reader.complete


async def test_without_a_limit_all_pages_are_read() -> None:
    pages = [page({row: None}, f"x{row}") for row in range(1, 300)]
    async with engine_run(ScriptedCrm(*pages, page({300: None}))) as run:
        assert await rows_read(reader_of(run)) == list(range(1, 301))


async def test_a_refused_page_ends_the_reading_with_its_refusal() -> None:
    crm = ScriptedCrm(page({1: DEAL}, "x1"), refusal("CANNOT_PROCESS"), page({2: None}))
    async with engine_run(crm) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [1]
        assert await reader.next_page() is None
    assert len(crm.sent) == 2
    assert reader.failed
    assert not reader.complete
    assert reader.refusal == AnswerVerdict("CANNOT_PROCESS", "no", 400)


@pytest.mark.parametrize(
    "failure",
    [LOST, refusal("INTERNAL_ERROR", 500), Answer(503, b"<html>")],
    ids=["no answer", "an internal error", "a bad gateway"],
)
async def test_a_missing_answer_is_a_failure_without_a_refusal(failure: Any) -> None:
    async with engine_run(ScriptedCrm(page({1: None}, "x1"), failure)) as run:
        reader = reader_of(run)
        assert await rows_read(reader) == [1]
    assert reader.failed
    assert reader.refusal is None


async def test_an_answer_other_than_a_page_ends_the_reading_and_is_stored() -> None:
    async with engine_run(ScriptedCrm(HTML)) as run:
        reader = reader_of(run)
        assert await reader.next_page() is None
    assert reader.failed
    assert reader.refusal is None
    (stored,) = map(orjson.loads, run.files.answers.splitlines())
    assert (stored["call"], stored["http_status"]) == (1, 200)
    assert stored["body"] == HTML.body.decode()


async def test_the_ledger_records_each_read_with_its_rows() -> None:
    async with engine_run(ScriptedCrm(page({1: None}, "x1"), page({2: None}))) as run:
        reader = reader_of(run)
        first = await reader.next_page([1, 2])
        assert first is not None
        assert message_id(1) in first.links
        assert reader.last_call == 1
        await reader.next_page([2])
    assert reader.last_call == 2
    calls = [(line["call"], line["op"], line["rows"]) for line in run.files.lines]
    assert calls == [(1, "read", [1, 2]), (2, "read", [2])]


async def test_a_refused_contact_does_not_stop_the_run_after_another_was_read() -> None:
    crm = ScriptedCrm(page({1: None}), refusal("NO_PERMISSION", 403))
    breaker = ReadBreaker()
    async with engine_run(crm) as run:
        await rows_read(reader_of(run, breaker))
        forbidden = [reader_of(run, breaker, contact_id=str(number)) for number in range(5)]
        for reader in forbidden:
            assert await reader.next_page() is None
    assert {reader.refusal and reader.refusal.code for reader in forbidden} == {"NO_PERMISSION"}


async def test_three_refused_contacts_before_any_read_stop_the_run() -> None:
    breaker = ReadBreaker()
    async with engine_run(ScriptedCrm(refusal("NO_PERMISSION", 403))) as run:
        for number in range(2):
            await reader_of(run, breaker, contact_id=str(number)).next_page()
        with pytest.raises(RunStoppedError, match="NO_PERMISSION"):
            await reader_of(run, breaker, contact_id="2").next_page()


async def test_a_page_releases_suspended_contacts() -> None:
    async with engine_run(ScriptedCrm(page({1: None}))) as run, anyio.create_task_group() as group:
        breaker = run.context.breaker
        run.context.contacts.start(CONTACT)
        run.context.contacts.start("forbidden")
        verdict = AnswerVerdict("NO_PERMISSION", "no", 403)
        group.start_soon(breaker.on_refusal, CallKind.READ, "forbidden", verdict)
        await anyio.sleep(1)
        assert breaker.is_suspended("forbidden")
        await reader_of(run, breaker).next_page()
        assert not breaker.is_suspended("forbidden")
