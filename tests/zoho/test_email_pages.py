"""Parsers of pages of a contact's emails."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.email_pages import (
    EmailDetails,
    EmailListPage,
    LinkedDeal,
    LinksPage,
    ListedEmail,
    parse_email_details,
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
    """Return an entry of a page, without linked_record unless given."""
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
    """Return the parsed links of a page with these emails."""
    page = parse_links_page(answer({"Emails": list(emails), "info": LAST}))
    assert page is not None
    return page.links


def test_an_email_with_a_linked_record_is_on_that_deal() -> None:
    assert links_of(email(linked_record=RECORD)) == {"a1": DEAL}


def test_an_email_whose_linked_record_is_null_is_on_no_deal() -> None:
    assert links_of(email(linked_record=None)) == {"a1": None}


def test_an_email_without_linked_record_is_left_out() -> None:
    assert links_of(email()) == {}


@pytest.mark.parametrize("records", [[RECORD, {"id": "8"}], [RECORD, None], [None, RECORD, None]])
def test_an_email_that_is_listed_on_several_deals_is_left_out(records: list[Any]) -> None:
    assert links_of(*(email(linked_record=record) for record in records)) == {}


def test_an_email_that_is_listed_twice_on_one_deal_is_on_it() -> None:
    nameless = {"id": DEAL.id}
    entries = [email(linked_record=RECORD), email(), email(linked_record=nameless)]
    assert links_of(*entries) == {"a1": DEAL}


@pytest.mark.parametrize(
    "record",
    ["", "5843104000004382122", 0, False, True, [], [RECORD], {}, {"name": "X"}, {"id": None}]
    + [{"id": wrong} for wrong in ("", True, 1.5, ["7"], {"id": "7"})],
    ids=repr,
)
def test_an_email_with_an_invalid_linked_record_is_left_out(record: Any) -> None:
    assert links_of(email(linked_record=record)) == {}


def test_an_email_on_a_record_of_another_module_is_left_out() -> None:
    other = {**RECORD, "module": {"api_name": "Quotes", "id": "9"}}
    assert links_of(email(linked_record=other)) == {}


@pytest.mark.parametrize("name", [None, 7, ["X"]], ids=repr)
def test_a_deal_with_an_invalid_name_has_no_name(name: Any) -> None:
    assert links_of(email(linked_record={**RECORD, "name": name})) == {"a1": LinkedDeal(DEAL.id)}


@pytest.mark.parametrize("message_id", [None, "", True, 1.5, ["a1"], {"id": "a1"}], ids=repr)
def test_an_email_without_a_message_id_is_left_out(message_id: Any) -> None:
    assert links_of(email(message_id, linked_record=None), email("b2", linked_record=None)) == {
        "b2": None
    }


@pytest.mark.parametrize("wrong", [None, "a1", 5, [], [[]]], ids=repr)
def test_an_entry_that_is_not_an_email_is_left_out(wrong: Any) -> None:
    assert links_of(wrong, email("b2", linked_record=RECORD)) == {"b2": DEAL}


def test_http_204_is_a_last_page_without_emails() -> None:
    assert parse_links_page(Answer(204)) == LinksPage({}, None)


def test_a_page_with_more_records_has_a_next_index() -> None:
    page = parse_links_page(answer({"Emails": [email()], "info": INFO}))
    assert page is not None
    assert page.next_index == "c8550c2f"


@pytest.mark.parametrize(
    "info",
    [
        pytest.param(LAST, id="no-more"),
        pytest.param({**INFO, "more_records": False}, id="no-more-but-an-index"),
        pytest.param({**INFO, "more_records": "false"}, id="more-as-text"),
        pytest.param({**INFO, "next_index": None}, id="more-but-no-index"),
        pytest.param({**INFO, "next_index": ["x"]}, id="an-invalid-index"),
        pytest.param(None, id="null"),
        pytest.param([], id="a-list"),
        pytest.param("more", id="text"),
    ],
)
def test_a_page_without_more_records_or_index_is_the_last(info: Any) -> None:
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
def test_an_answer_without_a_list_of_emails_is_not_a_page(content: Any) -> None:
    assert parse_links_page(answer(content)) is None


@pytest.mark.parametrize("body", [b"", b"{", b"<html>sign in</html>", b"\xff\xfe"], ids=repr)
def test_an_answer_other_than_json_is_not_a_page(body: bytes) -> None:
    assert parse_links_page(Answer(200, body)) is None


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
def test_an_error_is_not_a_page_even_if_it_lists_emails(status: int) -> None:
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
def test_a_parsed_link_always_comes_from_an_entry_of_its_email(
    emails: list[Any], info: Any
) -> None:
    page = parse_links_page(Answer(200, json.dumps({"Emails": emails, "info": info}).encode()))
    assert page is not None
    listed = [entry for entry in emails if isinstance(entry, dict) and "linked_record" in entry]
    for message_id, deal in page.links.items():
        records = [e["linked_record"] for e in listed if str(e.get("message_id")) == message_id]
        if deal is None:
            assert None in records
        else:
            assert deal.id in [str(r["id"]) for r in records if isinstance(r, dict) and "id" in r]


@given(st.integers(200, 599), st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_the_page_parser_never_raises(status: int, body: bytes) -> None:
    page = parse_links_page(Answer(status, body))
    assert page is None or isinstance(page, LinksPage)


def listing(*entries: Any, info: Any = LAST) -> EmailListPage:
    parsed_listing = parse_email_list(answer({"Emails": list(entries), "info": info}))
    assert parsed_listing is not None
    return parsed_listing


def test_all_fields_of_an_email_are_parsed() -> None:
    (parsed,) = listing(email(linked_record=RECORD)).emails
    assert parsed == ListedEmail(
        "a1",
        "5843104000000424672",
        "Patricia Boyle",
        LinkedDeal("5843104000004382122", "Travel Insurance"),
        "Your quote",
        "2026-01-09T11:14:31+05:30",
        received=False,
        from_name="Patricia",
        from_address="p@example.com",
        to_addresses=("c@example.com",),
        source="imap",
        has_attachment=False,
    )


def test_missing_fields_of_an_email_are_none_or_unset() -> None:
    (parsed,) = listing({"message_id": "a1"}).emails
    assert parsed == ListedEmail("a1")
    assert parsed.deal is msgspec.UNSET


def test_an_email_on_no_deal_has_deal_none() -> None:
    assert listing(email(linked_record=None)).emails[0].deal is None


@pytest.mark.parametrize("sent", [None, "true", 1, []])
def test_a_direction_that_is_not_a_boolean_is_none(sent: object) -> None:
    assert listing(email(sent=sent)).emails[0].received is None


def test_entries_without_a_message_id_are_counted() -> None:
    page = listing({"subject": "x"}, "text", None, email(""), email("a1"))
    assert [parsed.message_id for parsed in page.emails] == ["a1"]
    assert page.nameless == 4


@pytest.mark.parametrize(
    ("info", "next_index", "truncated"),
    [
        (INFO, "c8550c2f", False),
        (LAST, None, False),
        (None, None, False),
        ({**INFO, "next_index": None}, None, True),
        ({**INFO, "more_records": "yes"}, None, False),
    ],
)
def test_the_next_index_and_truncation_follow_the_info(
    info: Any, next_index: str | None, truncated: bool
) -> None:
    page = listing(email(), info=info)
    assert (page.next_index, page.truncated) == (next_index, truncated)


@pytest.mark.parametrize("info", [None, [], {}, {"per_page": 10}, {"more_records": "no"}])
@pytest.mark.parametrize(("emails", "truncated"), [(9, False), (10, True)])
def test_a_full_page_that_does_not_show_the_end_of_its_list_may_be_followed_by_others(
    emails: int, truncated: bool, info: Any
) -> None:
    entries = [email(f"a{number}", linked_record=None) for number in range(emails)]
    for content in ({"Emails": entries, "info": info}, {"Emails": entries}):
        for page in (parse_email_list(answer(content)), parse_links_page(answer(content))):
            assert page is not None
            assert (page.next_index, page.truncated) == (None, truncated)
    last = parse_links_page(answer({"Emails": entries, "info": LAST}))
    assert last is not None
    assert not last.truncated


def test_http_204_means_no_emails() -> None:
    assert parse_email_list(Answer(204)) == EmailListPage(())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"Emails": {}}', b"<html>"])
def test_another_answer_is_not_a_list_of_emails(body: bytes) -> None:
    assert parse_email_list(Answer(200, body)) is None
    assert parse_email_list(Answer(500, b'{"Emails": []}')) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
FIELDS = ("message_id", "owner", "linked_record", "subject", "time", "sent")


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON | st.just(RECORD), max_size=6)))
def test_both_page_parsers_agree_on_the_links(entries: list[Any]) -> None:
    content = answer({"Emails": entries, "info": LAST})
    email_list, links_page = parse_email_list(content), parse_links_page(content)
    assert email_list is not None
    assert links_page is not None
    linked = [email for email in email_list.emails if email.deal is not msgspec.UNSET]
    deals: dict[str, list[str | None]] = {}
    for email in linked:
        deals.setdefault(email.message_id, []).append(email.deal.id if email.deal else None)
    agreed = {message_id: found[0] for message_id, found in deals.items() if len(set(found)) == 1}
    assert agreed == {name: deal and deal.id for name, deal in links_page.links.items()}


def test_values_longer_than_zohos_limits_are_ignored() -> None:
    long_deal = {**RECORD, "name": "n" * 256}
    long_fields = {"time": "2" * 5000, "owner": {"id": "7", "name": "n" * 256}}
    (parsed,) = listing(email(linked_record=long_deal, **long_fields)).emails
    assert parsed.deal == LinkedDeal(DEAL.id, None)
    assert (parsed.owner_name, parsed.time) == (None, None)
    assert listing(email("a" * 501)).nameless == 1
    assert listing(info={**INFO, "next_index": "x" * 2001}).truncated


def test_values_as_long_as_zohos_limits_are_accepted() -> None:
    (parsed,) = listing(email("a" * 500, linked_record={**RECORD, "name": "n" * 255})).emails
    assert parsed.message_id == "a" * 500
    assert parsed.deal == LinkedDeal(DEAL.id, "n" * 255)
    assert listing(info={**INFO, "next_index": "x" * 2000}).next_index == "x" * 2000


def listed(**fields: Any) -> ListedEmail:
    """Return the email of a page that has one with these fields."""
    page = parse_email_list(answer({"Emails": [email(**fields)], "info": LAST}))
    assert page is not None
    return page.emails[0]


def test_a_listed_email_has_its_people_and_what_zoho_says_of_it() -> None:
    shown = listed(
        cc={"user_name": "Dora", "email": "d@example.com"},
        summary="They ask for a quote.",
        intent="request",
        has_attachment=True,
    )
    assert (shown.from_name, shown.from_address) == ("Patricia", "p@example.com")
    assert (shown.to_addresses, shown.cc_addresses) == (("c@example.com",), ("d@example.com",))
    assert (shown.source, shown.summary, shown.intent) == (
        "imap",
        "They ask for a quote.",
        "request",
    )
    assert shown.has_attachment is True


@pytest.mark.parametrize(
    "wrong", [None, 5, True, [], {}, [None], [[]], [{"email": 5}], {"email": None}, ""], ids=repr
)
def test_people_and_texts_of_the_wrong_type_are_unknown(wrong: Any) -> None:
    fields = ("to", "cc", "source", "summary", "intent")
    shown = listed(**dict.fromkeys(fields, wrong), **{"from": wrong}, has_attachment="yes")
    assert (shown.from_name, shown.from_address) == (None, None)
    assert (shown.to_addresses, shown.cc_addresses) == ((), ())
    assert (shown.source, shown.summary, shown.intent) == (None, None, None)
    assert shown.has_attachment is None


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("c@example.com", ("c@example.com",)),
        (["c@example.com", {"email": "d@example.com"}], ("c@example.com", "d@example.com")),
        ([{"email": "x" * 321}, {"email": "d@example.com"}], ("d@example.com",)),
        ([{"email": "d@example.com"}] * 5_000, ("d@example.com",) * 100),
    ],
    ids=["text", "mixed", "too long", "too many"],
)
def test_recipients_come_in_any_shape(value: Any, addresses: tuple[str, ...]) -> None:
    assert listed(to=value).to_addresses == addresses


def test_long_texts_of_a_listed_email_are_cut_or_unknown() -> None:
    shown = listed(
        summary="s" * 5_000,
        source="x" * 101,
        intent="y" * 101,
        **{"from": {"user_name": "n" * 999}},
    )
    assert shown.summary == "s" * 1_000
    assert shown.from_name == "n" * 255
    assert (shown.source, shown.intent) == (None, None)


@pytest.mark.parametrize(
    ("content", "details"),
    [
        ({"Emails": [email(thread_id="t1")]}, EmailDetails("a1", "t1")),
        ({"Emails": [email("b2"), email(thread_id=5)]}, EmailDetails("a1", "5")),
        ({"Emails": email(thread_id="t1")}, EmailDetails("a1", "t1")),
        ({"Emails": [email()]}, EmailDetails("a1")),
        ({"Emails": [email(thread_id=["t1"])]}, EmailDetails("a1")),
        ({"Emails": [email("b2", thread_id="t1")]}, None),
        ({"Emails": []}, None),
        ({"Emails": None}, None),
        ({"Emails": "a1"}, None),
        ([email()], None),
        (None, None),
    ],
)
def test_a_single_email_has_its_thread_if_the_answer_is_about_it(
    content: Any, details: EmailDetails | None
) -> None:
    assert parse_email_details(answer(content), "a1") == details
