"""A list of emails as a person reads it: strict about shapes, right if much is missing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.email_pages import (
    EmailListPage,
    LinkedDeal,
    ListedEmail,
    parse_email_list,
    parse_links_page,
)
from bulklink.zoho.http import Answer

from .fakes import answer
from .test_links import INFO, LAST, RECORD, email


def listing(*entries: Any, info: Any = LAST) -> EmailListPage:
    parsed_listing = parse_email_list(answer({"Emails": list(entries), "info": info}))
    assert parsed_listing is not None
    return parsed_listing


def test_an_email_is_told_as_zoho_shows_it() -> None:
    (found,) = listing(email(linked_record=RECORD)).emails
    assert found == ListedEmail(
        "a1",
        "5843104000000424672",
        "Patricia Boyle",
        LinkedDeal("5843104000004382122", "Travel Insurance"),
        "Your quote",
        "2026-01-09T11:14:31+05:30",
        received=False,
    )


def test_what_is_missing_is_not_told() -> None:
    (found,) = listing({"message_id": "a1"}).emails
    assert found == ListedEmail("a1")
    assert found.deal is msgspec.UNSET


def test_an_email_on_no_deal_is_so() -> None:
    assert listing(email(linked_record=None)).emails[0].deal is None


@pytest.mark.parametrize("sent", [None, "true", 1, []])
def test_a_direction_that_is_no_truth_value_is_not_told(sent: object) -> None:
    assert listing(email(sent=sent)).emails[0].received is None


def test_entries_without_a_message_id_are_counted() -> None:
    found = listing({"subject": "x"}, "text", None, email(""), email("a1"))
    assert [one.message_id for one in found.emails] == ["a1"]
    assert found.nameless == 4


@pytest.mark.parametrize(
    ("info", "following", "cut"),
    [
        (INFO, "c8550c2f", False),
        (LAST, None, False),
        (None, None, False),
        ({**INFO, "next_index": None}, None, True),
        ({**INFO, "more_records": "yes"}, None, False),
    ],
)
def test_the_next_page_is_asked_for_as_the_answer_says(
    info: Any, following: str | None, cut: bool
) -> None:
    found = listing(email(), info=info)
    assert (found.next_index, found.truncated) == (following, cut)


def test_no_content_means_no_emails() -> None:
    assert parse_email_list(Answer(204)) == EmailListPage(())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"Emails": {}}', b"<html>"])
def test_another_answer_is_no_page(body: bytes) -> None:
    assert parse_email_list(Answer(200, body)) is None
    assert parse_email_list(Answer(500, b'{"Emails": []}')) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FIELDS = ("message_id", "owner", "linked_record", "subject", "time", "sent")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON | st.just(RECORD), max_size=6)))
def test_it_says_of_each_deal_what_the_reader_of_links_says(entries: list[Any]) -> None:
    content = answer({"Emails": entries, "info": LAST})
    found, page = parse_email_list(content), parse_links_page(content)
    assert found is not None
    assert page is not None
    links = {e.message_id: e.deal for e in found.emails if e.deal is not msgspec.UNSET}
    assert links == page.links
