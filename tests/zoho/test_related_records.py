"""Parsers of contact roles and of a contact's deals."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.zoho.coql import DealRow
from bulklink.zoho.http import Answer
from bulklink.zoho.related_records import (
    ContactRole,
    RelatedPage,
    parse_contact_deals,
    parse_contact_roles,
)
from tests.zoho.fakes import answer

ROLE = {"Email": "c@example.com", "Contact_Role": {"name": "Decision Maker", "id": "9"}, "id": "7"}


def test_a_contact_role_has_contact_and_name() -> None:
    page = parse_contact_roles(answer({"data": [ROLE], "info": {"more_records": True}}))
    assert page == RelatedPage({"7": ContactRole("7", "Decision Maker")}, more=True)


@pytest.mark.parametrize(
    ("role", "name"),
    [("Buyer", "Buyer"), (None, None), ({}, None), ({"name": None}, None), (5, None), ([], None)],
    ids=repr,
)
def test_a_role_comes_in_several_shapes(role: Any, name: str | None) -> None:
    page = parse_contact_roles(answer({"data": [{"id": 7, "Contact_Role": role}]}))
    assert page == RelatedPage({"7": ContactRole("7", name)})


def test_a_deal_of_a_contact_has_what_a_row_has() -> None:
    record = {
        "id": "1",
        "Deal_Name": "Travel",
        "Stage": "Open",
        "Contact_Name": {"id": "7", "name": "Carl"},
        "Modified_Time": "2026-01-09T11:14:31+05:30",
    }
    page = parse_contact_deals(answer({"data": [record, record]}))
    deal = DealRow("1", "Travel", "Open", "7", modified_time="2026-01-09T11:14:31+05:30")
    assert page == RelatedPage({"1": deal})


@pytest.mark.parametrize("parse", [parse_contact_roles, parse_contact_deals])
def test_http_204_means_none(parse: Any) -> None:
    assert parse(Answer(204)) == RelatedPage({})


@pytest.mark.parametrize("parse", [parse_contact_roles, parse_contact_deals])
@pytest.mark.parametrize("entry", [None, "7", [], {}, {"id": None}, {"id": "x7"}, {"id": True}])
def test_an_entry_without_an_id_is_left_out(parse: Any, entry: Any) -> None:
    page = parse(answer({"data": [entry], "info": [1]}))
    assert page == RelatedPage({})


@pytest.mark.parametrize("parse", [parse_contact_roles, parse_contact_deals])
@pytest.mark.parametrize("wrong", [None, 5, [], {}, {"data": {}}, {"Emails": []}], ids=repr)
def test_an_answer_without_data_is_not_a_page(parse: Any, wrong: Any) -> None:
    assert parse(answer(wrong)) is None
    assert parse(answer({"data": []}, 404)) is None
