"""Queries in COQL: their texts and credits, and the parsers of their rows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.zoho.coql import (
    MAX_IN_VALUES,
    MAX_VALUES_LENGTH,
    ContactRow,
    CoqlPage,
    DealRow,
    Query,
    can_be_quoted,
    coql_request,
    in_batches,
    parse_contact_rows,
    parse_deal_rows,
    select_contacts,
    select_contacts_by_email,
    select_contacts_by_name,
    select_deals,
    select_deals_with_key,
    select_first_deal,
)
from bulklink.zoho.coql_condition import Condition
from bulklink.zoho.http import Answer, CallKind
from tests.zoho.fakes import answer

DEALS = (
    "select id, Deal_Name, Stage, Contact_Name, Owner, Account_Name, Closing_Date, Created_Time,"
    " Modified_Time from Deals where "
)
CONTACTS = "select id, Full_Name, Email from Contacts where "
QUERIES = {
    "deals": (
        select_deals(Condition("Stage = 'A' and Amount > 5"), "17"),
        f"{DEALS}((id > '17') and (Stage = 'A' and Amount > 5)) order by id asc limit 0, 2000",
        3,
    ),
    "contacts": (
        select_contacts(Condition("Email is not null"), "17"),
        f"{CONTACTS}((id > '17') and (Email is not null)) order by id asc limit 0, 2000",
        3,
    ),
    "emails": (
        select_contacts_by_email(["a@example.com", "b@example.com"], "17"),
        f"{CONTACTS}((id > '17') and (Email in ('a@example.com', 'b@example.com')))"
        " order by id asc limit 0, 200",
        1,
    ),
    "names": (
        select_contacts_by_name(["Zoë Ng"], "17"),
        f"{CONTACTS}((id > '17') and (Full_Name in ('Zoë Ng'))) order by id asc limit 0, 200",
        1,
    ),
    "the first deal": (
        select_first_deal(),
        "select id from Deals where (id > '0') order by id asc limit 0, 1",
        1,
    ),
}


@pytest.mark.parametrize(("query", "text", "credits_"), QUERIES.values(), ids=QUERIES)
def test_a_query_has_our_condition_and_its_own_in_brackets(
    query: Query, text: str, credits_: int
) -> None:
    assert query.text == text
    request = coql_request(query)
    assert (request.kind, request.method) == (CallKind.LOOKUP, "POST")
    assert request.target == "/crm/v8/coql"
    assert json.loads(request.body or b"") == {"select_query": text}
    assert (query.credits, request.credits) == (credits_, credits_)


@pytest.mark.parametrize(
    ("limit", "credits_"), [(1, 1), (200, 1), (201, 2), (1_000, 2), (1_001, 3), (2_000, 3)]
)
def test_the_credits_of_a_query_follow_from_its_limit(limit: int, credits_: int) -> None:
    assert Query(("id",), "from Deals", limit).credits == credits_


def test_a_query_can_leave_out_fields_that_an_org_may_lack() -> None:
    query = select_deals(Condition("id is not null"), "0")
    assert query.dispensable_fields == {"Account_Name", "Closing_Date"}
    assert "Account_Name" not in query.without({"Account_Name"}).text
    assert query.without({"Account_Name"}).dispensable_fields == {"Closing_Date"}


@pytest.mark.parametrize("after", ["", "1'", "x", "-1", "²", "1" * 101], ids=repr)
def test_only_an_id_continues_a_query(after: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        select_deals(Condition("id is not null"), after)


@pytest.mark.parametrize(
    "value", ["", "O'Brien", 'a"b', "a\\b", "a\nb", "\ud800", "x" * 321], ids=repr
)
def test_a_value_that_needs_an_escape_never_enters_a_query(value: str) -> None:
    assert not can_be_quoted(value)
    with pytest.raises(ValueError, match="between quotes"):
        select_contacts_by_name([value], "0")


@pytest.mark.parametrize("count", [0, MAX_IN_VALUES + 1])
def test_a_query_has_between_one_and_fifty_values(count: int) -> None:
    with pytest.raises(ValueError, match="values"):
        select_contacts_by_email(["a"] * count, "0")


@given(st.lists(st.text("ab@.", min_size=1, max_size=320), max_size=300))
def test_batches_have_all_values_in_order_and_fit_into_a_query(values: list[str]) -> None:
    batches = list(in_batches(values))
    assert [value for batch in batches for value in batch] == values
    for batch in batches:
        assert 0 < len(batch) <= MAX_IN_VALUES
        assert sum(len(value) + 4 for value in batch) <= MAX_VALUES_LENGTH


DEAL = {
    "id": "5843104000004382122",
    "Deal_Name": "Travel Insurance",
    "Stage": "Closed Won",
    "Contact_Name": {"id": "11", "name": "Carl"},
    "Owner": {"id": "12"},
    "Account_Name": {"id": "13", "name": "Zylker"},
    "Closing_Date": "2026-03-01",
    "Created_Time": "2026-01-09T11:14:31+05:30",
    "Modified_Time": "2026-01-10T11:14:31+05:30",
}
ROW = DealRow(
    "5843104000004382122",
    "Travel Insurance",
    "Closed Won",
    "11",
    "12",
    "13",
    "2026-03-01",
    "2026-01-09T11:14:31+05:30",
    "2026-01-10T11:14:31+05:30",
)


def deals(*records: Any, more: Any = False) -> CoqlPage[DealRow]:
    page = parse_deal_rows(answer({"data": list(records), "info": {"more_records": more}}))
    assert page is not None
    return page


def test_a_deal_has_all_that_the_row_has() -> None:
    assert deals(DEAL) == CoqlPage((ROW,))


def test_a_contact_has_a_name_and_an_address() -> None:
    record = {"id": 7, "Full_Name": "Carl Ng", "Email": "c@example.com"}
    page = parse_contact_rows(answer({"data": [record], "info": {"more_records": True}}))
    assert page == CoqlPage((ContactRow("7", "Carl Ng", "c@example.com"),), more=True)


def test_http_204_means_no_rows() -> None:
    assert parse_deal_rows(Answer(204)) == CoqlPage(())


@pytest.mark.parametrize(
    ("fields", "contact_id"),
    [
        ({"Contact_Name": {"id": "11"}}, "11"),
        ({"Contact_Name": {"id": 11, "name": None}}, "11"),
        ({"Contact_Name": "11"}, "11"),
        ({"Contact_Name": 11}, "11"),
        ({"Contact_Name.id": "11"}, "11"),
        ({"Contact_Name": "Carl", "Contact_Name.id": "11"}, "11"),
        ({"Contact_Name": None}, None),
        ({"Contact_Name": {}}, None),
        ({"Contact_Name": ["11"]}, None),
        ({"Contact_Name": {"id": "Carl"}}, None),
        ({"Contact_Name": True}, None),
        ({}, None),
    ],
    ids=repr,
)
def test_the_id_of_another_record_is_found_in_any_shape(
    fields: dict[str, Any], contact_id: str | None
) -> None:
    assert deals({"id": "1", **fields}).rows == (DealRow("1", contact_id=contact_id),)


@pytest.mark.parametrize(
    "record", [None, "1", [], {}, {"id": None}, {"id": ""}, {"id": "a1"}, {"id": -1}, {"id": True}]
)
def test_an_entry_without_an_id_is_not_a_row(record: Any) -> None:
    assert deals(record, DEAL).rows == (ROW,)


@pytest.mark.parametrize("wrong", [None, 5, True, [], {}, ["x"]], ids=repr)
def test_a_field_of_the_wrong_type_is_unknown(wrong: Any) -> None:
    record = {field: wrong for field in DEAL if field not in ("Contact_Name", "Owner")}
    page = deals({**record, "id": "1"})
    assert page.rows in ((DealRow("1"),), (DealRow("1", account_id="5"),))


def test_long_texts_are_limited_and_a_long_name_is_unknown() -> None:
    (row,) = deals({"id": "1", "Deal_Name": "x" * 256, "Stage": "y" * 5_000}).rows
    assert row.name is None
    assert row.stage is not None
    assert len(row.stage) == 255


@pytest.mark.parametrize(
    ("info", "records", "more"),
    [
        ({"more_records": True}, [DEAL], True),
        ({"more_records": True}, [], True),
        ({"more_records": False}, [DEAL], False),
        ({}, [DEAL], True),
        (None, [DEAL], True),
        ({"more_records": "false"}, [DEAL], True),
        (None, [], False),
    ],
)
def test_without_a_statement_a_page_with_rows_may_not_be_the_last(
    info: Any, records: list[Any], more: bool
) -> None:
    page = parse_deal_rows(answer({"data": records, "info": info}))
    assert page is not None
    assert page.more is more


@pytest.mark.parametrize(
    "wrong",
    [None, 5, "x", [], {}, {"data": None}, {"data": {}}, {"data": "x"}, {"Emails": []}],
    ids=repr,
)
def test_an_answer_without_data_is_not_a_page(wrong: Any) -> None:
    assert parse_deal_rows(answer(wrong)) is None
    assert parse_contact_rows(answer(wrong)) is None
    assert parse_deal_rows(answer({"data": []}, 400)) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from([*DEAL, "data", "info", "name"]), inner, max_size=4)
        ),
    )
)
def test_no_answer_breaks_the_parsers(content: Any) -> None:
    for body in (content, {"data": [content], "info": content}):
        text = msgspec.json.encode(body)
        for parse in (parse_deal_rows, parse_contact_rows):
            page = parse(Answer(200, text))
            assert page is None or all(row.id.isdigit() for row in page.rows)


def test_deals_with_a_key_are_selected_without_their_values() -> None:
    """Whatever a key is, it is no part of a query."""
    query = select_deals_with_key("Legacy_Id", "17")
    assert query.text == (
        "select id, Deal_Name, Legacy_Id from Deals where ((id > '17') and (Legacy_Id is not null))"
        " order by id asc limit 0, 2000"
    )
    assert (query.credits, query.key_field) == (3, "Legacy_Id")
    assert select_deals_with_key("Deal_Name", "0").fields == ("id", "Deal_Name")
    with pytest.raises(ValueError, match="field"):
        select_deals_with_key("Legacy_Id is null) or (id", "0")
