"""Reading look-ups: org, module, names of deals and users; and cutting ids into look-ups."""

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
READERS = {
    "org": (parse_org, "org"),
    "module": (parse_module_id, "modules"),
    "deals": (parse_deals, "data"),
    "users": (parse_user_names, "users"),
}
NO_ANSWERS = {
    "empty": b"",
    "html": b"<html>sign in</html>",
    "truncated": b'{"data":[{"id":"1"',
    "null": b"null",
    "number": b"7",
    "array": b"[]",
    "object": b"{}",
    "flat error": b'{"code":"INVALID_DATA","status":"error","message":"no","details":{}}',
}


def test_an_org_is_read() -> None:
    org = parse_org(answer({"org": [ORG]}))
    assert org == Org("5843104000000020005", "Zylker", "Sandbox", "enterprise", 10)


@pytest.mark.parametrize(
    ("purchased", "users"),
    [(25, 25), ("25", 25), (None, None), ("many", None), (-1, None), ([], None)],
)
def test_the_users_of_a_licence_are_a_number_or_not_known(
    purchased: Any, users: int | None
) -> None:
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
def test_only_an_org_that_says_so_is_a_sandbox(kind: Any, sandbox: bool) -> None:
    org = parse_org(answer({"org": [{**ORG, "type": kind}]}))
    assert org is not None
    assert org.sandbox is sandbox


@pytest.mark.parametrize("licence", [None, [], "enterprise", {}, {"paid_type": 7}], ids=repr)
def test_an_org_without_a_licence_is_read_without_one(licence: Any) -> None:
    org = parse_org(answer({"org": [{**ORG, "license_details": licence}]}))
    assert org is not None
    assert (org.id, org.paid_type) == ("5843104000000020005", None)


@pytest.mark.parametrize("content", [{"org": []}, {"org": [None]}, {"org": {}}], ids=repr)
def test_an_answer_that_tells_no_org_is_none(content: Any) -> None:
    assert parse_org(answer(content)) is None


def test_the_id_of_the_module_deals_is_read() -> None:
    found = parse_module_id(
        answer({"modules": [{"api_name": "Deals", "id": "5843104000000003735"}]})
    )
    assert found == "5843104000000003735"


@pytest.mark.parametrize("wrong", [None, "", True, 1.5, ["7"], {}], ids=repr)
def test_a_module_without_an_id_tells_none(wrong: Any) -> None:
    assert parse_module_id(answer({"modules": [{"api_name": "Deals", "id": wrong}]})) is None


def test_names_of_deals_are_read_by_id_and_missing_deals_are_absent() -> None:
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


def test_names_of_users_are_read_by_id() -> None:
    user = {"id": "22", "full_name": "Patricia Boyle", "email": "p@x.com", "status": "active"}
    response = answer({"users": [user], "info": {"more_records": True}})
    assert parse_user_names(response) == NamesPage({"22": "Patricia Boyle"}, has_more=True)


def test_no_content_means_that_nothing_is_there() -> None:
    assert parse_deals(Answer(204)) == []
    assert parse_user_names(Answer(204)) == NamesPage({}, has_more=False)


@pytest.mark.parametrize("name", [None, "", 7, ["A"], {}], ids=repr)
def test_a_deal_without_a_name_is_absent(name: Any) -> None:
    response = answer({"data": [{"id": "71", "Deal_Name": name}, {"id": "72", "Deal_Name": "B"}]})
    assert parse_deals(response) == [DealDetails("72", "B")]


@pytest.mark.parametrize("info", [None, [], "x", {}, {"more_records": "true"}], ids=repr)
def test_only_more_records_true_means_a_next_page(info: Any) -> None:
    response = answer({"users": [], "info": info})
    assert parse_user_names(response) == NamesPage({}, has_more=False)


@pytest.mark.parametrize("reader", [reader for reader, _ in READERS.values()], ids=READERS)
@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_to_a_look_up_is_none(reader: Any, body: bytes) -> None:
    assert reader(Answer(200, body)) is None


@pytest.mark.parametrize(("reader", "key"), READERS.values(), ids=READERS)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500])
def test_an_error_is_none_whatever_it_holds(reader: Any, key: str, status: int) -> None:
    record = {**ORG, "Deal_Name": "X", "full_name": "Y"}
    assert reader(answer({key: [record]}, status)) is None


@given(
    st.sampled_from(sorted(READERS)),
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
def test_no_answer_makes_a_reader_fail(reader: str, body: bytes) -> None:
    for status in (200, 204, 400):
        READERS[reader][0](Answer(status, body))


IDS = st.lists(st.text("0123456789", min_size=1, max_size=100), max_size=150)


@given(IDS)
def test_cutting_ids_loses_none_keeps_their_order_and_fits_the_query(ids: list[str]) -> None:
    batches = list(deal_batches(iter(ids)))
    assert [deal_id for batch in batches for deal_id in batch] == ids
    assert all(batch and len(",".join(batch)) <= 1024 for batch in batches)


@given(IDS)
def test_no_two_neighbouring_batches_would_have_fitted_in_one(ids: list[str]) -> None:
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


def test_ids_of_nineteen_digits_go_out_by_fifty_one() -> None:
    batches = list(deal_batches(iter([f"{n:019d}" for n in range(120)])))
    assert [len(batch) for batch in batches] == [51, 51, 18]


def test_a_name_that_no_link_can_hold_is_no_name_and_its_record_exists() -> None:
    deals = parse_deals(answer({"data": [{"id": "7", "Deal_Name": "n" * 256}]}))
    assert deals == [DealDetails("7", None)]
    users = parse_user_names(answer({"users": [{"id": "8", "full_name": "n" * 256}]}))
    assert users is not None
    assert users.names == {"8": None}


def test_a_text_that_is_only_shown_is_cut_and_has_no_secret() -> None:
    secret = "1000.0123456789abcdef"
    content = {"org": [{"id": "5", "company_name": "n" * 1000, "type": f"Sandbox {secret}"}]}
    org = parse_org(msgspec.structs.replace(answer(content), mask=SecretMask(secret)))
    assert org is not None
    assert org.name == "n" * 254 + "…"
    assert org.type == "Sandbox [secret]"
