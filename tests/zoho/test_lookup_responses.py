"""Parsers of look-ups of org, module, deals and users, and batching of ids."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulklink.zoho.http import Answer
from bulklink.zoho.lookup_responses import (
    DealDetails,
    NamesPage,
    Org,
    deal_batches,
    parse_deals,
    parse_module_id,
    parse_org,
    parse_user_names,
)
from bulklink.zoho.secret_mask import SecretMask
from tests.zoho.fakes import answer

ORG = {
    "id": "5843104000000020005",
    "company_name": "Zylker",
    "zgid": "10086",
    "type": "Sandbox",
    "time_zone": "Asia/Kolkata",
    "license_details": {"paid_type": "enterprise", "users_license_purchased": 10},
}
PARSERS = {
    "org": (parse_org, "org"),
    "module": (parse_module_id, "modules"),
    "deals": (parse_deals, "data"),
    "users": (parse_user_names, "users"),
}
OTHER_ANSWERS = {
    "empty": b"",
    "html": b"<html>sign in</html>",
    "truncated": b'{"data":[{"id":"1"',
    "null": b"null",
    "number": b"7",
    "array": b"[]",
    "object": b"{}",
    "flat error": b'{"code":"INVALID_DATA","status":"error","message":"no","details":{}}',
}


def test_an_org_is_parsed() -> None:
    org = parse_org(answer({"org": [ORG]}))
    assert org == Org("5843104000000020005", "Zylker", "Sandbox", "enterprise", 10)


@pytest.mark.parametrize(
    ("purchased", "users"),
    [(25, 25), ("25", 25), (None, None), ("many", None), (-1, None), ([], None)],
)
def test_the_number_of_licensed_users_is_parsed_or_none(purchased: Any, users: int | None) -> None:
    licence = {"paid_type": "enterprise", "users_license_purchased": purchased}
    org = parse_org(answer({"org": [ORG | {"license_details": licence}]}))
    assert org is not None
    assert org.users == users


@pytest.mark.parametrize(
    ("kind", "sandbox"),
    [
        ("Sandbox", True),
        ("Production", False),
        ("Developer", False),
        ("Bigin", False),
        (None, False),
        (["Sandbox"], False),
    ],
    ids=repr,
)
def test_only_an_org_of_type_sandbox_is_a_sandbox(kind: Any, sandbox: bool) -> None:
    org = parse_org(answer({"org": [{**ORG, "type": kind}]}))
    assert org is not None
    assert org.sandbox is sandbox


@pytest.mark.parametrize("licence", [None, [], "enterprise", {}, {"paid_type": 7}], ids=repr)
def test_an_org_without_a_licence_has_no_paid_type(licence: Any) -> None:
    org = parse_org(answer({"org": [{**ORG, "license_details": licence}]}))
    assert org is not None
    assert (org.id, org.paid_type) == ("5843104000000020005", None)


@pytest.mark.parametrize("content", [{"org": []}, {"org": [None]}, {"org": {}}], ids=repr)
def test_an_answer_without_an_org_is_none(content: Any) -> None:
    assert parse_org(answer(content)) is None


def test_the_id_of_the_deals_module_is_parsed() -> None:
    module_id = parse_module_id(
        answer({"modules": [{"api_name": "Deals", "id": "5843104000000003735"}]})
    )
    assert module_id == "5843104000000003735"


@pytest.mark.parametrize("wrong", [None, "", True, 1.5, ["7"], {}], ids=repr)
def test_a_module_without_a_valid_id_is_none(wrong: Any) -> None:
    assert parse_module_id(answer({"modules": [{"api_name": "Deals", "id": wrong}]})) is None


def test_names_of_existing_deals_are_parsed_by_id() -> None:
    response = answer(
        {
            "data": [{"id": "71", "Deal_Name": "Ä"}, {"id": "72", "Deal_Name": "B"}],
            "info": {"more_records": False},
        }
    )
    assert parse_deals(response) == [DealDetails("71", "Ä"), DealDetails("72", "B")]


def test_a_deals_contact_and_stage_are_parsed_if_present() -> None:
    deal = {"id": "71", "Deal_Name": "A", "Stage": "Closed Won"}
    contact = {"name": "Ana", "id": "5843104000004382000"}
    response = answer({"data": [deal | {"Contact_Name": contact}, deal | {"Contact_Name": None}]})
    assert parse_deals(response) == [
        DealDetails("71", "A", "5843104000004382000", "Closed Won"),
        DealDetails("71", "A", None, "Closed Won"),
    ]


def test_names_of_users_are_parsed_by_id() -> None:
    user = {"id": "22", "full_name": "Patricia Boyle", "email": "p@x.com", "status": "active"}
    response = answer({"users": [user], "info": {"more_records": True}})
    assert parse_user_names(response) == NamesPage({"22": "Patricia Boyle"}, has_more=True)


def test_http_204_means_no_records() -> None:
    assert parse_deals(Answer(204)) == []
    assert parse_user_names(Answer(204)) == NamesPage({}, has_more=False)


@pytest.mark.parametrize("name", [None, "", 7, ["A"], {}], ids=repr)
def test_a_deal_without_a_name_is_left_out(name: Any) -> None:
    response = answer({"data": [{"id": "71", "Deal_Name": name}, {"id": "72", "Deal_Name": "B"}]})
    assert parse_deals(response) == [DealDetails("72", "B")]


@pytest.mark.parametrize("info", [None, [], "x", {}, {"more_records": "true"}], ids=repr)
def test_only_more_records_true_means_a_next_page(info: Any) -> None:
    response = answer({"users": [], "info": info})
    assert parse_user_names(response) == NamesPage({}, has_more=False)


@pytest.mark.parametrize("parser", [parser for parser, _ in PARSERS.values()], ids=PARSERS)
@pytest.mark.parametrize("body", OTHER_ANSWERS.values(), ids=OTHER_ANSWERS)
def test_an_answer_of_another_shape_is_none(parser: Any, body: bytes) -> None:
    assert parser(Answer(200, body)) is None


@pytest.mark.parametrize(("parser", "key"), PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500])
def test_an_error_is_none_even_if_it_contains_records(parser: Any, key: str, status: int) -> None:
    record = {**ORG, "Deal_Name": "X", "full_name": "Y"}
    assert parser(answer({key: [record]}, status)) is None


@given(
    st.sampled_from(sorted(PARSERS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["org", "modules", "data", "users", "info", "id", "Deal_Name"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode())
    | st.binary(),
)
def test_look_up_parsers_never_raise(parser: str, body: bytes) -> None:
    for status in (200, 204, 400):
        PARSERS[parser][0](Answer(status, body))


IDS = st.lists(st.text("0123456789", min_size=1, max_size=100), max_size=150)


@given(IDS)
def test_batches_keep_all_ids_in_order_within_the_length_limit(ids: list[str]) -> None:
    batches = list(deal_batches(iter(ids)))
    assert [deal_id for batch in batches for deal_id in batch] == ids
    assert all(batch and len(",".join(batch)) <= 1024 for batch in batches)


@given(IDS)
def test_each_batch_is_filled_before_the_next_begins(ids: list[str]) -> None:
    batches = list(deal_batches(iter(ids)))
    for first, second in pairwise(batches):
        assert len(",".join([*first, second[0]])) > 1024


@example(24, 41)
@example(40, 25)
@example(4, 205)
@given(st.integers(1, 100), st.integers(0, 600))
def test_ids_of_one_length_take_the_fewest_look_ups(length: int, count: int) -> None:
    room = (1024 + 1) // (length + 1)
    batches = list(deal_batches(iter(["1" * length] * count)))
    assert len(batches) == -(-count // room)


def test_fifty_one_ids_of_nineteen_digits_fit_in_a_look_up() -> None:
    batches = list(deal_batches(iter([f"{n:019d}" for n in range(120)])))
    assert [len(batch) for batch in batches] == [51, 51, 18]


def test_a_name_too_long_for_a_link_is_none() -> None:
    deals = parse_deals(answer({"data": [{"id": "7", "Deal_Name": "n" * 256}]}))
    assert deals == [DealDetails("7", None)]
    users = parse_user_names(answer({"users": [{"id": "8", "full_name": "n" * 256}]}))
    assert users is not None
    assert users.names == {"8": None}


def test_a_text_for_display_is_truncated_and_masked() -> None:
    secret = "1000.0123456789abcdef"
    content = {"org": [{"id": "5", "company_name": "n" * 1000, "type": f"Sandbox {secret}"}]}
    org = parse_org(msgspec.structs.replace(answer(content), mask=SecretMask(secret)))
    assert org is not None
    assert org.name == "n" * 254 + "…"
    assert org.type == "Sandbox [secret]"
