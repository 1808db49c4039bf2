"""Every answer is decoded strictly by the documented shapes."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulklink.emulator.settings import MixedAnswer, Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    OTHERS,
    PAT,
    TRAVEL,
    EmulatorClient,
    JsonResponse,
    item,
    message,
)

_T = TypeVar("_T")
Id = Annotated[str, msgspec.Meta(pattern="^[0-9]+$", max_length=100)]
MessageId = Annotated[str, msgspec.Meta(pattern="^[a-zA-Z0-9]+$", max_length=500)]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A shape without unknown keys, in which every key without a default is required."""


class ModuleName(Strict):
    api_name: str
    id: Id


class Correspondent(Strict):
    name: str
    id: Id


class Participant(Strict):
    user_name: str | None
    email: str


class LinkedRecord(Strict):
    id: Id
    name: str
    module: ModuleName


class EmailStatus(Strict):
    type: str


class Email(Strict):
    cc: list[Participant] | None
    summary: str | None
    owner: Correspondent
    read: bool
    subject: str
    message_id: MessageId
    has_attachment: bool
    has_thread_attachment: bool
    source: str
    sent: bool
    intent: Literal["request", "query", "purchase", "complaints", "spam", "others"] | None
    sentiment_info: None
    linked_record: LinkedRecord | None
    emotion: None
    from_: Participant = msgspec.field(name="from")
    to: list[Participant]
    time: datetime
    status: list[EmailStatus]
    activity_info: None


class EmailsInfo(Strict):
    per_page: Literal[10]
    count: Annotated[int, msgspec.Meta(ge=1, le=10)]
    next_index: str | None
    prev_index: str
    more_records: bool


class EmailsPage(Strict):
    Emails: Annotated[list[Email], msgspec.Meta(min_length=1, max_length=10)]
    info: EmailsInfo


class PageInfo(Strict):
    per_page: Annotated[int, msgspec.Meta(ge=1, le=200)]
    count: Annotated[int, msgspec.Meta(ge=1, le=200)]
    page: Annotated[int, msgspec.Meta(ge=1)]
    more_records: bool


class Deal(Strict):
    id: Id
    Deal_Name: str
    Stage: str
    Modified_Time: datetime
    Created_Time: datetime


class DealsPage(Strict):
    data: list[Deal]
    info: PageInfo


class User(Strict):
    id: Id
    full_name: str
    email: str
    status: str


class UsersPage(Strict):
    users: list[User]
    info: PageInfo


class License(Strict):
    paid_type: str
    users_license_purchased: int


class Org(Strict):
    id: Id
    company_name: str
    zgid: str
    type: Literal["Production", "Sandbox", "Developer", "Bigin"]
    time_zone: str
    license_details: License


class Orgs(Strict):
    org: Annotated[list[Org], msgspec.Meta(min_length=1, max_length=1)]


class Modules(Strict):
    modules: list[ModuleName]


class Token(Strict):
    access_token: str
    api_domain: str
    token_type: Literal["Bearer"]
    expires_in: int


class SuccessDetails(Strict):
    message_id: MessageId


class Success(Strict):
    code: Literal["SUCCESS"]
    details: SuccessDetails
    message: str
    status: Literal["success"]


class Successes(Strict):
    Emails: list[Success]


class ErrorDetails(Strict):
    api_name: str
    json_path: str


class Error(Strict):
    code: str
    details: ErrorDetails
    message: str
    status: Literal["error"]


class Errors(Strict):
    Emails: list[list[Error]]


class AnyErrors(Strict):
    Emails: list[list[dict[str, Any]]]


class Echo(Strict):
    linked_record: LinkedRecord
    owner: Correspondent


class Echoes(Strict):
    Emails: list[Echo]


class FlatError(Strict):
    code: str
    details: dict[str, Any]
    message: str
    status: Literal["error"]


def read(response: JsonResponse, shape: type[_T]) -> _T:
    return msgspec.json.decode(response.answer.body, type=shape)


FIELDS = "Deal_Name,Stage,Modified_Time,Created_Time"


@pytest.mark.parametrize(
    ("path", "query", "shape"),
    [
        (f"Contacts/{ANA}/Emails", {}, EmailsPage),
        (f"Contacts/{ANA}/Deals", {"fields": FIELDS}, DealsPage),
        ("Deals", {"fields": FIELDS}, DealsPage),
        ("Deals", {"fields": FIELDS, "ids": FLEET}, DealsPage),
        ("users", {"type": "AllUsers"}, UsersPage),
        ("org", {}, Orgs),
        ("settings/modules/Deals", {}, Modules),
    ],
)
async def test_every_read_answer_has_exactly_the_documented_shape(
    path: str, query: dict[str, str], shape: Any
) -> None:
    read(await EmulatorClient().get(path, **query), shape)


async def test_a_token_answer_has_exactly_the_documented_shape() -> None:
    read(await EmulatorClient().grant(), Token)


async def test_all_pages_of_a_list_have_exactly_the_documented_shape() -> None:
    crm = EmulatorClient()
    await crm.link(*(item(number) for number in range(0, 20, 3)))
    seen: list[Email] = []
    index: str | None = "0"
    while index:
        page = read(await crm.get(f"Contacts/{ANA}/Emails", index=index), EmailsPage)
        assert page.info.count == len(page.Emails)
        assert (page.info.next_index is None) == (not page.info.more_records)
        seen += page.Emails
        index = page.info.next_index
    assert len({email.message_id for email in seen}) == 25
    assert sum(email.linked_record is not None for email in seen) == 7


async def test_link_answers_have_exactly_the_documented_shape() -> None:
    crm = EmulatorClient()
    read(await crm.link(item(1), item(2)), Successes)
    read(await crm.link_one(3, item(3, single=True)), Echoes)
    read(await crm.link(item(1, FLEET), item(99), item(4, OTHERS)), Errors)
    read(await crm.link_one(5, item(5, OTHERS, single=True)), FlatError)
    read(await crm.unlink(99, 98), Errors)
    read(await crm.unlink(1, 2), Successes)
    read(await crm.unlink_one(3), Successes)
    read(await crm.unlink_one(99), FlatError)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([PAT, FLEET, message(1), "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["owner", "id", "name", "linked_record", "module", "message_id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def link_item_with(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Return a valid link item with one value changed."""
    link_item = item(1)
    target: Any = link_item
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    return link_item


places = st.sampled_from(
    [
        ("owner",),
        ("owner", "id"),
        ("owner", "name"),
        ("message_id",),
        ("linked_record",),
        ("linked_record", "module"),
        ("linked_record", "module", "id"),
        ("linked_record", "id"),
    ]
)


@given(
    emails=st.lists(
        json_values | st.builds(link_item_with, places, json_values), min_size=1, max_size=3
    ),
    applied=st.booleans(),
)
@example(emails=[{"owner": "5843", "id": None, "linked_record": "5843"}], applied=False)
@settings(deadline=None, max_examples=150)
def test_any_body_is_answered_in_a_documented_shape(emails: list[Any], *, applied: bool) -> None:
    mixed = MixedAnswer(applied="yes", good="success") if applied else MixedAnswer()

    async def link() -> JsonResponse:
        return await EmulatorClient(Settings(mixed_answer=mixed)).link(*emails)

    response = asyncio.run(link())
    if response.status == 200:
        read(response, Successes)
        return
    assert response.status == 400
    if "Emails" in response.json:
        entries = read(response, AnyErrors).Emails
        assert len(entries) == len(emails)
    else:
        read(response, FlatError)


segments = st.sampled_from(
    [
        *("Contacts", "Deals", "Leads", ANA, "1", "Emails", message(1), "actions"),
        *("link_record", "settings", "modules", "pipeline", "users", "org", "", "%", "é"),
        *("Contact_Roles", "__timeline", "layouts", "coql", TRAVEL),
    ]
)
words = st.sampled_from(["", "0", "1", "-1", "x", "9" * 30, "Deal_Name", ANA, PAT, "user_emails"])
names = st.sampled_from(
    [
        *("ids", "fields", "page", "per_page", "index", "type", "owner_id", "message_ids"),
        *("sort_by", "sort_order", "filters", "page_token", "module", "layout_id"),
    ]
)


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]),
    path=st.lists(segments, max_size=6).map("/".join),
    query=st.dictionaries(names, words, max_size=4),
)
@settings(deadline=None, max_examples=300)
def test_any_address_is_answered_with_a_documented_status(
    method: str, path: str, query: dict[str, str]
) -> None:
    response = asyncio.run(EmulatorClient().crm_call(method, path, query))
    assert response.status in {200, 204, 400, 404}
    assert (response.status == 204) == (response.answer.body == b"")
    if response.status == 404:
        assert response.code == "INVALID_URL_PATTERN"
