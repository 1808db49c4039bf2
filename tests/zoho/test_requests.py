"""Requests compared with the samples of Zoho's pages."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.models import Op
from bulklink.zoho import requests
from bulklink.zoho.http import CallKind, Request
from bulklink.zoho.page_info import EMAILS_PER_PAGE
from tests.zoho.fakes import message, query_of

MODULE = "5843104000000003735"
DEAL = ("5843104000004382122", "Travel Insurance")
MESSAGE_ID = "8937fb03ac4b7cc9a5a8d4e3f1b0c2d6e7f8091a2b3c4d5e6f708192a3b4c5d6"
SAMPLE = message(
    MESSAGE_ID,
    contact_id="5843104000000424001",
    owner_id="5843104000000424672",
    owner_name="Patricia Boyle",
    deal_id=DEAL[0],
    deal_name=DEAL[1],
)
SAMPLE_ITEM = {
    "owner": {"name": "Patricia Boyle", "id": "5843104000000424672"},
    "message_id": MESSAGE_ID,
    "linked_record": {
        "module": {"api_name": "Deals", "id": MODULE},
        "name": "Travel Insurance",
        "id": "5843104000004382122",
    },
}


def body_of(request: Request) -> Any:
    assert request.body is not None
    return json.loads(request.body)


def every_id(value: Any) -> list[Any]:
    """Return all values with the key of an id."""
    if isinstance(value, list):
        return [id_value for inner in value for id_value in every_id(inner)]
    if not isinstance(value, dict):
        return []
    own = [inner for key, inner in value.items() if key in ("id", "message_id")]
    return own + [id_value for inner in value.values() for id_value in every_id(inner)]


def test_a_link_request_equals_the_documented_sample() -> None:
    request = requests.link_request([SAMPLE], [DEAL], MODULE)
    assert (request.kind, request.method) == (CallKind.LINK, "POST")
    assert request.target == "/crm/v8/Contacts/5843104000000424001/Emails/actions/link_record"
    assert body_of(request) == {"Emails": [SAMPLE_ITEM]}


def test_a_link_request_has_deal_and_owner_of_each_email_in_order() -> None:
    first = message("a1", owner_id="1", owner_name="Ana")
    second = message("b2", owner_id="2", owner_name="Ben")
    items = body_of(requests.link_request([first, second], [("7", "X"), ("8", "Y")], MODULE))[
        "Emails"
    ]
    sent_items = [
        (i["message_id"], i["owner"], i["linked_record"]["id"], i["linked_record"]["name"])
        for i in items
    ]
    assert sent_items == [
        ("a1", {"name": "Ana", "id": "1"}, "7", "X"),
        ("b2", {"name": "Ben", "id": "2"}, "8", "Y"),
    ]


def test_a_single_link_request_has_the_message_id_only_in_the_path() -> None:
    request = requests.single_link_request(SAMPLE, DEAL, MODULE)
    assert (request.kind, request.method) == (CallKind.LINK, "POST")
    assert request.target == (
        f"/crm/v8/Contacts/5843104000000424001/Emails/{MESSAGE_ID}/actions/link_record"
    )
    expected = {key: value for key, value in SAMPLE_ITEM.items() if key != "message_id"}
    assert body_of(request) == {"Emails": [expected]}


@pytest.mark.parametrize(
    "request_sent",
    [
        pytest.param(requests.link_request([SAMPLE], [DEAL], MODULE), id="many"),
        pytest.param(requests.single_link_request(SAMPLE, DEAL, MODULE), id="one"),
    ],
)
def test_ids_are_json_strings(request_sent: Request) -> None:
    ids = every_id(body_of(request_sent))
    assert len(ids) >= 3
    assert all(isinstance(id_value, str) for id_value in ids)


@pytest.mark.parametrize("single", [False, True], ids=["many", "one"])
def test_without_names_only_ids_are_sent(single: bool) -> None:
    request = (
        requests.single_link_request(SAMPLE, DEAL, MODULE, include_names=False)
        if single
        else requests.link_request([SAMPLE], [DEAL], MODULE, include_names=False)
    )
    item = body_of(request)["Emails"][0]
    assert item["owner"] == {"id": "5843104000000424672"}
    assert item["linked_record"] == {
        "module": {"api_name": "Deals", "id": MODULE},
        "id": "5843104000004382122",
    }
    assert b"Patricia" not in (request.body or b"")
    assert b"Insurance" not in (request.body or b"")


def test_an_unknown_name_is_omitted() -> None:
    item = body_of(requests.link_request([message("a1")], [("7", None)], MODULE))["Emails"][0]
    assert "name" not in item["owner"]
    assert "name" not in item["linked_record"]


@pytest.mark.parametrize("name", ["Zoë “Müller”", 'a "quoted" \\ name', "線 \U0001d4b3 \x7f\n"])
def test_names_are_sent_unchanged(name: str) -> None:
    item = body_of(requests.link_request([message("a1", owner_name=name)], [("7", name)], MODULE))
    assert item["Emails"][0]["owner"]["name"] == name
    assert item["Emails"][0]["linked_record"]["name"] == name


def test_an_unlink_request_has_one_owner_and_unescaped_commas() -> None:
    request = requests.unlink_request([message(m, Op.UNLINK) for m in ("M1", "M2", "M3")])
    assert request == Request(
        CallKind.UNLINK,
        "DELETE",
        "/crm/v8/Contacts/11/Emails/actions/link_record?owner_id=22&message_ids=M1,M2,M3",
        message_ids=['"M1"', '"M2"', '"M3"'],
    )


def test_a_single_unlink_request_has_the_message_in_the_path_and_the_owner_in_the_query() -> None:
    assert requests.single_unlink_request(message("M1", Op.UNLINK)) == Request(
        CallKind.UNLINK,
        "DELETE",
        "/crm/v8/Contacts/11/Emails/M1/actions/link_record?owner_id=22",
    )


def test_the_limits_are_the_documented_ones() -> None:
    assert requests.MAX_MESSAGES_PER_CALL == 20
    assert requests.MAX_MESSAGE_IDS_LENGTH == 2000
    assert requests.MAX_DEAL_IDS_LENGTH == 1024
    assert EMAILS_PER_PAGE == 10


@pytest.mark.parametrize(
    ("request_sent", "target"),
    [
        pytest.param(requests.org_request(), "/crm/v8/org", id="org"),
        pytest.param(
            requests.deals_module_request(), "/crm/v8/settings/modules/Deals", id="module"
        ),
    ],
)
def test_look_ups_without_a_query_use_the_documented_paths(
    request_sent: Request, target: str
) -> None:
    assert request_sent == Request(CallKind.LOOKUP, "GET", target)


def test_deals_are_looked_up_by_ids_with_unescaped_commas_and_the_required_fields() -> None:
    request = requests.deals_request(["71", "72", "73"])
    assert (request.kind, request.method, request.body) == (CallKind.LOOKUP, "GET", None)
    assert urlsplit(request.target).path == "/crm/v8/Deals"
    query = query_of(request.target)
    assert query["ids"] == ["71,72,73"]
    assert "Deal_Name" in query["fields"][0].split(",")
    assert "ids=71,72,73" in request.target


LOOKUPS = {
    "contact roles": (
        requests.contact_roles_request("71", 1),
        "Deals/71/Contact_Roles?fields=Full_Name,Email",
    ),
    "more contact roles": (
        requests.contact_roles_request("71", 2),
        "Deals/71/Contact_Roles?fields=Full_Name,Email&page=2",
    ),
    "deals of a contact": (
        requests.contact_deals_request("11", 1),
        "Contacts/11/Deals?fields=Deal_Name,Stage,Contact_Name,Owner,Closing_Date,Created_Time,"
        "Modified_Time&per_page=200",
    ),
    "timeline": (
        requests.timeline_request("71", None),
        "Deals/71/__timeline?sort_by=audited_time&per_page=200",
    ),
    "more of the timeline": (
        requests.timeline_request("71", "a/b="),
        "Deals/71/__timeline?sort_by=audited_time&page_token=a%2Fb%3D",
    ),
    "an email": (requests.email_request("11", "M1", None), "Contacts/11/Emails/M1"),
    "an email of a user": (
        requests.email_request("11", "M1", "22"),
        "Contacts/11/Emails/M1?user_id=22",
    ),
}


@pytest.mark.parametrize(("request_", "target"), LOOKUPS.values(), ids=LOOKUPS)
def test_a_record_is_looked_up_with_the_scopes_of_every_token(
    request_: Request, target: str
) -> None:
    assert request_ == Request(CallKind.LOOKUP, "GET", f"/crm/v8/{target}")


def test_the_stages_are_looked_up_with_scopes_of_their_own() -> None:
    assert requests.layouts_request() == Request(
        CallKind.LOOKUP,
        "GET",
        "/crm/v8/settings/layouts?module=Deals",
        scope="ZohoCRM.settings.layouts.READ",
    )
    assert requests.pipeline_request("91") == Request(
        CallKind.LOOKUP,
        "GET",
        "/crm/v8/settings/pipeline?layout_id=91",
        scope="ZohoCRM.settings.pipeline.READ",
    )


@pytest.mark.parametrize("page", [1, 2, 37])
def test_users_of_any_state_are_looked_up_page_by_page(page: int) -> None:
    request = requests.users_request(page)
    assert (request.kind, request.method, request.body) == (CallKind.LOOKUP, "GET", None)
    assert urlsplit(request.target).path == "/crm/v8/users"
    query = query_of(request.target)
    assert query["type"] == ["AllUsers"]
    assert query["page"] == [str(page)]


def test_the_first_page_of_emails_is_requested_without_an_index() -> None:
    assert requests.emails_page_request("11", None) == Request(
        CallKind.READ, "GET", "/crm/v8/Contacts/11/Emails"
    )


def test_a_later_page_of_emails_is_requested_with_its_index() -> None:
    target = requests.emails_page_request("11", "77af02").target
    assert target == "/crm/v8/Contacts/11/Emails?index=77af02"


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_index_is_sent_unchanged(index: str) -> None:
    target = requests.emails_page_request("11", index).target
    assert query_of(target) == {"index": [index]}
    assert target.isascii()
    assert " " not in target


def test_only_link_and_unlink_change_the_crm() -> None:
    assert [kind for kind in CallKind if kind.is_write] == [CallKind.LINK, CallKind.UNLINK]
