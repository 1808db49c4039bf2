"""Pages of a contact's emails."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.email_pages import (
    EmailListPage,
    LinkedDeal,
    LinksPage,
    ListedEmail,
    parse_email_list,
    parse_links_page,
)
from bulklink.zoho.http import Answer
from tests.zoho.fakes import answer

RECORD = {
    "module": {"api_name": "Deals", "id": "5843104000000003735"},
    "name": "Travel Insurance",
    "id": "5843104000004382122",
}
DEAL = LinkedDeal("5843104000004382122", "Travel Insurance")
INFO = {
    "per_page": 10,
    "count": 1,
    "next_index": "c8550c2f",
    "prev_index": "0",
    "more_records": True,
}
LAST = {**INFO, "next_index": None, "more_records": False}


def email(message_id: Any = "a1", **fields: Any) -> dict[str, Any]:
    """One email as the page shows it; no linked_record unless it is given."""
    return {
        "cc": None,
        "summary": None,
        "owner": {"name": "Patricia Boyle", "id": "5843104000000424672"},
        "read": True,
        "subject": "Your quote",
        "message_id": message_id,
        "has_attachment": False,
        "source": "imap",
        "sent": True,
        "from": {"user_name": "Patricia", "email": "p@example.com"},
        "to": [{"user_name": "Carl", "email": "c@example.com"}],
        "time": "2026-01-09T11:14:31+05:30",
        "status": [{"type": "sent"}],
        **fields,
    }


def links_of(*emails: Any) -> dict[str, LinkedDeal | None]:
    """What a page with these emails says of their links."""
    page = parse_links_page(answer({"Emails": list(emails), "info": LAST}))
    assert page is not None
    return page.links


def test_an_email_on_a_deal_is_on_that_deal() -> None:
    assert links_of(email(linked_record=RECORD)) == {"a1": DEAL}


def test_an_email_whose_linked_record_is_null_is_on_no_deal() -> None:
    assert links_of(email(linked_record=None)) == {"a1": None}


def test_an_email_without_linked_record_says_nothing_of_its_link() -> None:
    assert links_of(email()) == {}


@pytest.mark.parametrize(
    "record",
    ["", "5843104000004382122", 0, False, True, [], [RECORD], {}, {"name": "X"}, {"id": None}]
    + [{"id": wrong} for wrong in ("", True, 1.5, ["7"], {"id": "7"})],
    ids=repr,
)
def test_a_linked_record_of_a_wrong_type_says_nothing_of_the_link(record: Any) -> None:
    assert links_of(email(linked_record=record)) == {}


def test_an_email_on_a_record_of_another_module_is_not_read_as_being_on_a_deal() -> None:
    other = {**RECORD, "module": {"api_name": "Quotes", "id": "9"}}
    assert links_of(email(linked_record=other)) == {}


@pytest.mark.parametrize("name", [None, 7, ["X"]], ids=repr)
def test_a_deal_whose_name_is_no_text_is_read_without_a_name(name: Any) -> None:
    assert links_of(email(linked_record={**RECORD, "name": name})) == {"a1": LinkedDeal(DEAL.id)}


@pytest.mark.parametrize("message_id", [None, "", True, 1.5, ["a1"], {"id": "a1"}], ids=repr)
def test_an_email_without_a_message_id_is_left_out(message_id: Any) -> None:
    assert links_of(email(message_id, linked_record=None), email("b2", linked_record=None)) == {
        "b2": None
    }


@pytest.mark.parametrize("wrong", [None, "a1", 5, [], [[]]], ids=repr)
def test_what_is_no_email_is_left_out(wrong: Any) -> None:
    assert links_of(wrong, email("b2", linked_record=RECORD)) == {"b2": DEAL}


def test_no_content_is_a_last_page_without_emails() -> None:
    assert parse_links_page(Answer(204)) == LinksPage({}, None)


def test_more_records_tell_the_index_of_the_next_page() -> None:
    page = parse_links_page(answer({"Emails": [email()], "info": INFO}))
    assert page is not None
    assert page.next_index == "c8550c2f"


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(LAST, id="no-more"),
        pytest.param({**INFO, "more_records": False}, id="no-more-yet-an-index"),
        pytest.param({**INFO, "more_records": "false"}, id="a-text"),
        pytest.param({**INFO, "next_index": None}, id="more-but-no-index"),
        pytest.param({**INFO, "next_index": ["x"]}, id="an-index-of-a-wrong-type"),
        pytest.param(None, id="null"),
        pytest.param([], id="a-list"),
        pytest.param("more", id="text"),
    ],
)
def test_a_page_without_a_next_one_is_the_last(info: Any) -> None:
    page = parse_links_page(answer({"Emails": [email()], "info": info}))
    assert page is not None
    assert page.next_index is None


def test_a_page_without_info_is_the_last() -> None:
    page = parse_links_page(answer({"Emails": [email(linked_record=None)]}))
    assert page == LinksPage({"a1": None}, None)


@pytest.mark.parametrize(
    "content",
    [
        None,
        0,
        "Emails",
        [],
        [email(linked_record=None)],
        {},
        {"Emails": None},
        {"Emails": {}},
        {"Emails": "none"},
        {"code": "NO_PERMISSION", "status": "error", "details": {}},
    ],
    ids=repr,
)
def test_an_answer_without_a_list_of_emails_is_no_page(content: Any) -> None:
    assert parse_links_page(answer(content)) is None


@pytest.mark.parametrize("body", [b"", b"{", b"<html>sign in</html>", b"\xff\xfe"], ids=repr)
def test_an_answer_that_is_no_json_is_no_page(body: bytes) -> None:
    assert parse_links_page(Answer(200, body)) is None


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
def test_an_error_is_no_page_even_if_it_lists_emails(status: int) -> None:
    page = {"Emails": [email(linked_record=RECORD)], "info": LAST}
    assert parse_links_page(answer(page, status)) is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["Emails", "info", "message_id", "linked_record", "id", "module"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON), JSON)
def test_a_page_says_of_an_email_only_what_its_entry_says(emails: list[Any], info: Any) -> None:
    page = parse_links_page(Answer(200, json.dumps({"Emails": emails, "info": info}).encode()))
    assert page is not None
    listed = [found for found in emails if isinstance(found, dict) and "linked_record" in found]
    for message_id, deal in page.links.items():
        records = [e["linked_record"] for e in listed if str(e.get("message_id")) == message_id]
        if deal is None:
            assert None in records
        else:
            assert deal.id in [str(r["id"]) for r in records if isinstance(r, dict) and "id" in r]


@given(st.integers(200, 599), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_answer_makes_the_reader_fail(status: int, body: bytes) -> None:
    page = parse_links_page(Answer(status, body))
    assert page is None or isinstance(page, LinksPage)


def listing(*entries: Any, info: Any = LAST) -> EmailListPage:
    parsed_listing = parse_email_list(answer({"Emails": list(entries), "info": info}))
    assert parsed_listing is not None
    return parsed_listing


def test_an_email_is_parsed_as_zoho_shows_it() -> None:
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


def test_missing_fields_of_an_email_are_unset() -> None:
    (found,) = listing({"message_id": "a1"}).emails
    assert found == ListedEmail("a1")
    assert found.deal is msgspec.UNSET


def test_an_email_on_no_deal_is_so() -> None:
    assert listing(email(linked_record=None)).emails[0].deal is None


@pytest.mark.parametrize("sent", [None, "true", 1, []])
def test_a_direction_that_is_not_a_boolean_is_none(sent: object) -> None:
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
def test_the_next_page_is_the_one_the_answer_names(
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


def test_what_is_longer_than_anything_of_zohos_is_not_taken() -> None:
    long_deal = {**RECORD, "name": "n" * 256}
    long_fields = {"time": "2" * 5000, "owner": {"id": "7", "name": "n" * 256}}
    (found,) = listing(email(linked_record=long_deal, **long_fields)).emails
    assert found.deal == LinkedDeal(DEAL.id, None)
    assert (found.owner_name, found.time) == (None, None)
    assert listing(email("a" * 501)).nameless == 1
    assert listing(info={**INFO, "next_index": "x" * 2001}).truncated


def test_what_is_as_long_as_zoho_allows_is_taken() -> None:
    (found,) = listing(email("a" * 500, linked_record={**RECORD, "name": "n" * 255})).emails
    assert found.message_id == "a" * 500
    assert found.deal == LinkedDeal(DEAL.id, "n" * 255)
    assert listing(info={**INFO, "next_index": "x" * 2000}).next_index == "x" * 2000
