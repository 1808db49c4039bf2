"""Rules of the link and unlink calls, with the requests and answers of Zoho's published samples."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.emulator.settings import Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    JACOB,
    MODULE,
    OTHERS,
    PAT,
    TOM,
    TRAVEL,
    UNKNOWN_CONTACT,
    EmulatorClient,
    email,
    item,
    item_codes,
    message,
    small_world,
)

LINK = f"Contacts/{ANA}/Emails/actions/link_record"


async def test_linking_many_emails_answers_with_a_success_for_each() -> None:
    crm = EmulatorClient()
    response = await crm.link(item(1), item(2, FLEET))
    assert response.status == 200
    assert response.json == {
        "Emails": [
            {
                "code": "SUCCESS",
                "details": {"message_id": message(number)},
                "message": "email has been linked with the deal successfully",
                "status": "success",
            }
            for number in (1, 2)
        ]
    }
    assert (await crm.deal_of(1), await crm.deal_of(2)) == (TRAVEL, FLEET)


async def test_unlinking_many_emails_answers_in_the_same_shape() -> None:
    crm = EmulatorClient()
    await crm.link(item(1), item(2))
    response = await crm.unlink(1, 2)
    assert response.status == 200
    assert response.json["Emails"][0] == {
        "code": "SUCCESS",
        "details": {"message_id": message(1)},
        "message": "email has been unlinked from the deal successfully",
        "status": "success",
    }
    assert await crm.deal_of(1) is None


async def test_an_unlinked_email_stays_in_the_contacts_list() -> None:
    crm = EmulatorClient(world=small_world(1))
    await crm.link(item(0))
    await crm.unlink(0)
    listed = (await crm.get(f"Contacts/{ANA}/Emails")).json["Emails"]
    assert [(entry["message_id"], entry["linked_record"]) for entry in listed] == [
        (message(0), None)
    ]


async def test_linking_one_email_echoes_the_request() -> None:
    crm = EmulatorClient()
    sent = item(3, single=True)
    response = await crm.link_one(3, sent)
    assert response.status == 200
    assert response.json == {"Emails": [sent]}
    assert await crm.deal_of(3) == TRAVEL


async def test_linking_one_email_can_answer_with_a_success() -> None:
    crm = EmulatorClient(Settings(single_answer="success", wording="openapi"))
    response = await crm.link_one(3, item(3, single=True))
    assert response.json["Emails"][0]["code"] == "SUCCESS"
    assert response.json["Emails"][0]["message"] == "Email linked to the record successfully"


async def test_unlinking_one_email_answers_with_its_message_id() -> None:
    crm = EmulatorClient()
    await crm.link(item(3))
    response = await crm.unlink_one(3)
    assert response.json["Emails"][0]["details"] == {"message_id": message(3)}
    assert await crm.deal_of(3) is None


async def test_a_refused_link_answers_with_400_and_a_list_of_errors_per_email() -> None:
    crm = EmulatorClient()
    nameless, lost = item(1), item(2)
    del nameless["message_id"]
    lost["linked_record"]["id"] = "1"
    response = await crm.link(nameless, lost)
    assert response.status == 400
    assert response.json == {
        "Emails": [
            [
                {
                    "status": "error",
                    "code": "MANDATORY_NOT_FOUND",
                    "message": "message_id is mandatory",
                    "details": {"api_name": "message_id", "json_path": "Emails[0].message_id"},
                }
            ],
            [
                {
                    "status": "error",
                    "code": "INVALID_DATA",
                    "message": "invalid data",
                    "details": {
                        "api_name": "linked_record.id",
                        "json_path": "Emails[1].linked_record.id",
                    },
                }
            ],
        ]
    }


async def test_the_errors_of_a_refused_unlink_point_into_the_query() -> None:
    response = await EmulatorClient().unlink(99)
    assert response.status == 400
    assert response.json["Emails"][0][0]["details"]["json_path"] == "message_ids[0]"


def link_item_without(field: str) -> dict[str, Any]:
    """Return a link item that lacks `field`."""
    link_item = item(1)
    *parents, last = field.split(".")
    target = link_item
    for parent in parents:
        target = target[parent]
    del target[last]
    return link_item


@pytest.mark.parametrize(
    "field",
    [
        "owner.id",
        "owner.name",
        "message_id",
        "linked_record.id",
        "linked_record.name",
        "linked_record.module.api_name",
        "linked_record.module.id",
    ],
)
async def test_a_missing_mandatory_field_is_named_by_its_path(field: str) -> None:
    response = await EmulatorClient().link(link_item_without(field))
    error = response.json["Emails"][0][0]
    assert (response.status, error["code"]) == (400, "MANDATORY_NOT_FOUND")
    assert error["details"] == {"api_name": field, "json_path": f"Emails[0].{field}"}


@pytest.mark.parametrize("field", ["owner.name", "linked_record.name"])
async def test_names_can_be_optional(field: str) -> None:
    response = await EmulatorClient(Settings(names="optional")).link(link_item_without(field))
    assert (response.status, item_codes(response)) == (200, ["SUCCESS"])


async def test_an_id_sent_as_a_number_is_invalid() -> None:
    numeric = item(1)
    numeric["linked_record"]["id"] = int(TRAVEL)
    response = await EmulatorClient().link(numeric)
    assert item_codes(response) == ["INVALID_DATA"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(item(99), "INVALID_DATA", id="an email that is not the contact's"),
        pytest.param(item(1, OTHERS), "NOT_ALLOWED", id="another contact's deal"),
        pytest.param(item(1, owner=JACOB), "INVALID_DATA", id="another user's mailbox"),
        pytest.param(
            item(1) | {"owner": {"id": "7", "name": "x"}}, "INVALID_DATA", id="unknown user"
        ),
        pytest.param("not an object", "INVALID_DATA", id="an email that is not an object"),
    ],
)
async def test_an_email_is_refused_with_its_code(sent: object, code: str) -> None:
    crm = EmulatorClient()
    response = await crm.link(sent)
    assert (response.status, item_codes(response)) == (400, [code])
    assert set((await crm.deals()).values()) == {None}


async def test_an_email_on_another_deal_is_already_linked() -> None:
    crm = EmulatorClient()
    await crm.link(item(1, FLEET))
    response = await crm.link(item(1, TRAVEL))
    assert (response.status, item_codes(response)) == (400, ["ALREADY_LINKED"])
    assert await crm.deal_of(1) == FLEET


async def test_an_email_named_twice_in_a_call_is_already_linked_the_second_time() -> None:
    response = await EmulatorClient().link(item(1), item(1, FLEET))
    assert item_codes(response) == ["ALREADY_LINKED"]


async def test_linking_to_the_same_deal_twice_is_refused_unless_set_otherwise() -> None:
    for same_deal, expected in (("already-linked", "ALREADY_LINKED"), ("success", "SUCCESS")):
        crm = EmulatorClient(Settings(same_deal=same_deal))  # type: ignore[arg-type]
        await crm.link(item(1))
        assert item_codes(await crm.link(item(1))) == [expected]


@pytest.mark.parametrize(
    ("module", "code"),
    [
        pytest.param({"api_name": "Quotes", "id": MODULE}, "INVALID_MODULE", id="no such module"),
        pytest.param(
            {"api_name": "Deals", "id": MODULE[:-1] + "6"},
            "AMBIGUITY_DURING_PROCESSING",
            id="id and name differ",
        ),
        pytest.param(
            {"api_name": "Leads", "id": str(int(MODULE) + 2)},
            "INVALID_MODULE",
            id="another module with its own id",
        ),
    ],
)
async def test_a_wrong_module_refuses_the_whole_call(module: dict[str, str], code: str) -> None:
    crm = EmulatorClient()
    mismatched = item(1)
    mismatched["linked_record"]["module"] = module
    response = await crm.link(item(2), mismatched)
    assert (response.status, response.code, response.json["status"]) == (400, code, "error")
    assert await crm.deal_of(2) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"", "REQUEST_BODY_IS_EMPTY", id="empty"),
        pytest.param(b"{", "INVALID_DATA", id="not JSON"),
        pytest.param([], "INVALID_DATA", id="not an object"),
        pytest.param({}, "MANDATORY_NOT_FOUND", id="Emails is missing"),
        pytest.param({"Emails": []}, "MANDATORY_NOT_FOUND", id="Emails is empty"),
        pytest.param({"Emails": {}}, "INVALID_DATA", id="Emails is not a list"),
    ],
)
async def test_an_invalid_body_is_refused(body: object, code: str) -> None:
    response = await EmulatorClient().crm_call("POST", LINK, body=body)
    assert (response.status, response.code) == (400, code)


async def test_a_call_may_carry_at_most_twenty_emails() -> None:
    crm = EmulatorClient()
    assert (await crm.link(*(item(n) for n in range(20)))).status == 200
    response = await crm.link(*(item(n) for n in range(21)))
    assert (response.status, response.code) == (400, "LIMIT_EXCEEDED")
    assert (await crm.unlink(*range(21))).code == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(
    ("query", "code", "param"),
    [
        pytest.param({"message_ids": message(1)}, "MANDATORY_NOT_FOUND", "owner_id", id="no owner"),
        pytest.param({"owner_id": PAT}, "MANDATORY_NOT_FOUND", "message_ids", id="no messages"),
        pytest.param(
            {"owner_id": "7", "message_ids": message(1)}, "INVALID_DATA", "owner_id", id="unknown"
        ),
        pytest.param(
            {"owner_id": PAT, "message_ids": "a" * 2_001},
            "INVALID_DATA",
            "message_ids",
            id="over 2,000 characters",
        ),
    ],
)
async def test_an_unlink_with_an_invalid_query_is_refused(
    query: dict[str, str], code: str, param: str
) -> None:
    response = await EmulatorClient().crm_call("DELETE", LINK, query)
    assert (response.status, response.code) == (400, code)
    assert response.json["details"]["param_name"] == param


async def test_message_ids_may_have_2000_characters() -> None:
    world = small_world(0)
    ids = [letter * 500 for letter in "abcd"]
    ids[0] = ids[0][:-3]
    world["emails"] = [email(0, message_id=message_id, deal_id=TRAVEL) for message_id in ids]
    crm = EmulatorClient(world=world)
    joined = ",".join(ids)
    assert len(joined) == 2_000
    response = await crm.crm_call("DELETE", LINK, {"owner_id": PAT, "message_ids": joined})
    assert response.status == 200


async def test_unlinking_an_unlinked_email_succeeds_unless_set_otherwise() -> None:
    assert (await EmulatorClient().unlink(1)).status == 200
    assert (await EmulatorClient(Settings(unlinked="invalid-data")).unlink(1)).status == 400


async def test_unlinking_another_users_email_is_refused() -> None:
    crm = EmulatorClient()
    await crm.link(item(1))
    assert item_codes(await crm.unlink(1, owner=JACOB)) == ["INVALID_DATA"]
    assert await crm.deal_of(1) == TRAVEL


async def test_a_single_call_for_an_unknown_message_names_the_path_segment() -> None:
    crm = EmulatorClient()
    for response in (await crm.link_one(99, item(99, single=True)), await crm.unlink_one(99)):
        assert (response.status, response.code) == (400, "INVALID_DATA")
        assert response.json["details"] == {"resource_path_index": 3}


async def test_a_single_link_of_two_emails_is_refused() -> None:
    path = f"Contacts/{ANA}/Emails/{message(1)}/actions/link_record"
    body = {"Emails": [item(1, single=True), item(2, single=True)]}
    assert (await EmulatorClient().crm_call("POST", path, body=body)).code == "LIMIT_EXCEEDED"


@pytest.mark.parametrize("contact", [UNKNOWN_CONTACT, "abc"])
async def test_an_unknown_contact_is_refused(contact: str) -> None:
    response = await EmulatorClient().link(item(1), contact=contact)
    assert (response.status, response.code) == (400, "INVALID_DATA")
    assert response.json["details"] == {"resource_path_index": 1}


async def test_another_contacts_email_is_not_found() -> None:
    response = await EmulatorClient().link(item(1, OTHERS), contact=TOM)
    assert item_codes(response) == ["INVALID_DATA"]
