"""Calls that read emails, field by field."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.emulator.client import (
    ANA,
    FLEET,
    JACOB,
    MODULE,
    PAT,
    TOM,
    EmulatorClient,
    email,
    item,
    message,
    small_world,
)

EMAILS = f"Contacts/{ANA}/Emails"
KEYS = {
    "cc", "summary", "owner", "read", "subject", "message_id", "has_attachment",
    "has_thread_attachment", "source", "sent", "intent", "sentiment_info", "linked_record",
    "emotion", "from", "to", "time", "status", "activity_info",
}  # fmt: skip


async def test_a_listed_email_has_every_key_and_type_of_the_published_sample() -> None:
    entry = (await EmulatorClient(world=small_world(1)).get(EMAILS)).json["Emails"][0]
    assert set(entry) == KEYS
    assert entry["owner"] == {"name": "Patricia Boyle", "id": PAT}
    assert entry["from"] == {"user_name": "Ana Ferreira", "email": "ana@customer.example"}
    assert entry["to"] == [{"user_name": "Patricia Boyle", "email": f"{PAT}@us.example"}]
    assert entry["linked_record"] is None
    assert {type(entry[key]) for key in ("read", "sent", "has_attachment")} == {bool}
    assert entry["sent"] is False
    assert {type(entry[key]) for key in ("subject", "message_id", "source", "time")} == {str}
    assert datetime.fromisoformat(entry["time"]).tzinfo is not None
    assert [type(status) for status in entry["status"]] == [dict]
    nullable = ("cc", "summary", "intent", "sentiment_info", "emotion", "activity_info")
    assert [entry[key] for key in nullable] == [None] * len(nullable)


async def test_a_linked_email_names_its_deal_and_module() -> None:
    crm = EmulatorClient(world=small_world(1))
    await crm.link(item(0, FLEET))
    entry = (await crm.get(EMAILS)).json["Emails"][0]
    assert entry["linked_record"] == {
        "id": FLEET,
        "name": "Fleet Renewal",
        "module": {"api_name": "Deals", "id": MODULE},
    }


async def test_a_sent_email_goes_from_the_owner_to_the_contact() -> None:
    crm = EmulatorClient(world=small_world(0, emails=[email(0, received=False)]))
    entry = (await crm.get(EMAILS)).json["Emails"][0]
    assert entry["sent"] is True
    assert entry["from"]["user_name"] == "Patricia Boyle"


def one_email(**details: object) -> EmulatorClient:
    return EmulatorClient(world=small_world(0, emails=[email(0, **details)]))


async def test_a_listed_email_shows_what_the_world_says_of_it() -> None:
    people = {
        "from": {"user_name": None, "email": "ana@home.example"},
        "to": [
            {"user_name": "Patricia Boyle", "email": "pat@us.example"},
            {"user_name": None, "email": "sales@us.example"},
        ],
        "cc": [{"user_name": "Tom Okafor", "email": "tom@customer.example"}],
    }
    others = {"source": "gmail", "summary": "Wants a quote", "has_attachment": True}
    world_details = people | others | {"intent": "purchase", "thread_id": "t1"}
    entry = (await one_email(**world_details).get(EMAILS)).json["Emails"][0]
    assert set(entry) == KEYS
    assert {key: entry[key] for key in people | others} == people | others
    assert entry["intent"] == "purchase"


async def test_an_email_to_nobody_has_no_recipients() -> None:
    entry = (await one_email(to=[], cc=[]).get(EMAILS)).json["Emails"][0]
    assert (entry["to"], entry["cc"]) == ([], [])


async def test_only_the_call_for_one_email_shows_its_thread() -> None:
    crm = one_email(thread_id="12343212343")
    assert (await crm.get(f"{EMAILS}/{message(0)}")).json["Emails"][0]["thread_id"] == "12343212343"
    assert "thread_id" not in (await crm.get(EMAILS)).json["Emails"][0]
    unknown = await one_email().get(f"{EMAILS}/{message(0)}")
    assert "thread_id" not in unknown.json["Emails"][0]


async def test_emails_are_listed_newest_first_in_pages_of_ten() -> None:
    crm = EmulatorClient(world=small_world(25))
    pages = [(await crm.get(EMAILS)).json]
    while pages[-1]["info"]["more_records"]:
        pages.append((await crm.get(EMAILS, index=pages[-1]["info"]["next_index"])).json)
    assert [len(page["Emails"]) for page in pages] == [10, 10, 5]
    listed = [entry["message_id"] for page in pages for entry in page["Emails"]]
    assert listed == [message(number) for number in reversed(range(25))]


async def test_the_first_and_last_pages_are_marked() -> None:
    crm = EmulatorClient(world=small_world(25))
    first = (await crm.get(EMAILS)).json["info"]
    second = (await crm.get(EMAILS, index=first["next_index"])).json["info"]
    last = (await crm.get(EMAILS, index=second["next_index"])).json["info"]
    assert first | {"next_index": ""} == {
        "per_page": 10, "count": 10, "next_index": "", "prev_index": "0", "more_records": True,
    }  # fmt: skip
    assert isinstance(first["next_index"], str)
    assert second["prev_index"] == "0"
    assert last["next_index"] is None
    assert (last["count"], last["more_records"]) == (5, False)
    back = (await crm.get(EMAILS, index=last["prev_index"])).json
    assert back["Emails"][0]["message_id"] == message(14)


async def test_a_full_last_page_has_no_more_records() -> None:
    info = (await EmulatorClient(world=small_world(10)).get(EMAILS)).json["info"]
    assert (info["count"], info["more_records"], info["next_index"]) == (10, False, None)


async def test_a_contact_without_emails_is_answered_with_204_and_no_body() -> None:
    response = await EmulatorClient().get(f"Contacts/{TOM}/Emails")
    assert (response.status, response.answer.body) == (204, b"")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        pytest.param({"index": "10"}, "index", id="an index that was never issued"),
        pytest.param({"index": "%%%"}, "index", id="an index that cannot be decoded"),
        pytest.param({"type": "all"}, "type", id="an unknown type"),
        pytest.param({"owner_id": PAT}, "owner_id", id="an owner without a type"),
    ],
)
async def test_an_invalid_query_of_the_list_is_refused(query: dict[str, str], param: str) -> None:
    response = await EmulatorClient().get(EMAILS, **query)
    assert (response.status, response.code) == (400, "INVALID_DATA")
    assert response.json["details"] == {"param_name": param}


async def test_the_list_can_be_limited_to_one_owner() -> None:
    emails = [email(0), email(1, owner_id=JACOB)]
    crm = EmulatorClient(world=small_world(0, emails=emails))
    response = await crm.get(EMAILS, type="user_emails", owner_id=JACOB)
    assert [entry["message_id"] for entry in response.json["Emails"]] == [message(1)]


@pytest.mark.parametrize("kind", ["sent_from_crm", "scheduled_in_crm", "drafts"])
async def test_no_emails_are_listed_as_created_in_the_crm(kind: str) -> None:
    assert (await EmulatorClient().get(EMAILS, type=kind)).status == 204


async def test_a_single_email_shows_its_content_but_not_its_link() -> None:
    crm = EmulatorClient()
    await crm.link(item(1))
    entry = (await crm.get(f"{EMAILS}/{message(1)}")).json["Emails"][0]
    assert "linked_record" not in entry
    assert (entry["message_id"], entry["attachments"]) == (message(1), [])
    assert "Question 1" in entry["content"]


async def test_an_unknown_email_is_refused() -> None:
    response = await EmulatorClient().get(f"{EMAILS}/{message(99)}")
    assert response.json["details"] == {"resource_path_index": 3}
