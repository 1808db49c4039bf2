"""Calls with valid and invalid emails: each shape of the answer, and which changes are applied."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.emulator.settings import MixedAnswer, Settings, parse_mixed_answer
from tests.emulator.client import (
    OTHERS,
    TRAVEL,
    EmulatorClient,
    JsonResponse,
    item,
    item_codes,
    message,
)


async def mixed_call(**mixed: Any) -> tuple[EmulatorClient, JsonResponse]:
    """Link a valid, an invalid and another valid email in one call."""
    crm = EmulatorClient(Settings(mixed_answer=MixedAnswer(**mixed)))
    return crm, await crm.link(item(1), item(2, OTHERS), item(3))


async def test_by_default_an_invalid_email_refuses_the_call_and_valid_ones_have_no_errors() -> None:
    crm, response = await mixed_call()
    assert response.status == 400
    first_valid, invalid, second_valid = response.json["Emails"]
    assert (first_valid, second_valid) == ([], [])
    assert invalid[0]["code"] == "NOT_ALLOWED"
    assert invalid[0]["details"]["json_path"] == "Emails[1].linked_record.id"
    assert "message_id" not in invalid[0]["details"]
    assert set((await crm.deals()).values()) == {None}


@pytest.mark.parametrize("status", [200, 207, 400])
async def test_valid_emails_can_be_applied_under_any_status(status: int) -> None:
    crm, response = await mixed_call(status=status, applied="yes", good="success")
    assert response.status == status
    assert item_codes(response) == ["SUCCESS", "NOT_ALLOWED", "SUCCESS"]
    assert [await crm.deal_of(n) for n in (1, 2, 3)] == [TRAVEL, None, TRAVEL]


async def test_the_answer_can_be_flat() -> None:
    _, response = await mixed_call(applied="yes", good="success", shape="flat")
    assert [type(entry) for entry in response.json["Emails"]] == [dict, dict, dict]


async def test_valid_emails_can_be_omitted() -> None:
    crm, response = await mixed_call(applied="yes", good="omitted")
    assert item_codes(response) == ["NOT_ALLOWED"]
    assert await crm.deal_of(3) == TRAVEL


@pytest.mark.parametrize(
    ("named", "keys"),
    [
        ("json-path", {"api_name", "json_path"}),
        ("message-id", {"api_name", "message_id"}),
        ("both", {"api_name", "json_path", "message_id"}),
        ("none", {"api_name"}),
    ],
)
async def test_an_invalid_email_is_identified_as_set(named: str, keys: set[str]) -> None:
    _, response = await mixed_call(named=named)
    details = response.json["Emails"][1][0]["details"]
    assert set(details) == keys
    assert details.get("message_id", message(2)) == message(2)


async def test_the_answer_can_be_reversed() -> None:
    _, response = await mixed_call(order="reversed", applied="yes", good="success", named="both")
    assert [entry[0]["details"]["message_id"] for entry in response.json["Emails"]] == [
        message(n) for n in (3, 2, 1)
    ]


async def test_the_answer_can_be_shuffled_reproducibly() -> None:
    orders = []
    for _ in range(2):
        settings = Settings(
            mixed_answer=MixedAnswer(order="shuffled", named="both", good="omitted")
        )
        response = await EmulatorClient(settings).link(*(item(n, OTHERS) for n in range(20)))
        orders.append([entry[0]["details"]["message_id"] for entry in response.json["Emails"]])
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert sorted(orders[0]) == [message(n) for n in range(20)]


async def test_a_call_without_a_valid_email_is_always_answered_with_400() -> None:
    settings = Settings(mixed_answer=MixedAnswer(status=207, applied="yes", good="success"))
    response = await EmulatorClient(settings).link(item(1, OTHERS), item(99))
    assert response.status == 400


async def test_an_unlink_answers_in_the_same_shapes() -> None:
    settings = Settings(mixed_answer=MixedAnswer(status=207, applied="yes", good="success"))
    crm = EmulatorClient(settings)
    await crm.link(item(1))
    response = await crm.unlink(1, 99)
    assert (response.status, item_codes(response)) == (207, ["SUCCESS", "INVALID_DATA"])
    assert await crm.deal_of(1) is None


@pytest.mark.parametrize("rule", ["limit-exceeded", "invalid-data", "accept"])
async def test_more_than_twenty_emails_are_answered_as_set(rule: Any) -> None:
    response = await EmulatorClient(Settings(over_max=rule)).link(*(item(n) for n in range(21)))
    if rule == "accept":
        assert (response.status, len(response.json["Emails"])) == (200, 21)
    else:
        assert (response.status, response.code) == (400, rule.replace("-", "_").upper())


async def test_the_maximum_number_of_emails_can_be_set() -> None:
    crm = EmulatorClient(Settings(max_items=2))
    assert (await crm.link(item(0), item(1))).status == 200
    assert (await crm.link(item(2), item(3), item(4))).status == 400


async def test_single_errors_can_be_nested() -> None:
    response = await EmulatorClient(Settings(single_error="nested")).link_one(
        1, item(1, OTHERS, single=True)
    )
    assert response.json["Emails"][0][0]["code"] == "NOT_ALLOWED"


def test_the_option_text_sets_every_field() -> None:
    text = "status=207, applied=yes,shape=flat,named=none,good=omitted,order=shuffled"
    assert parse_mixed_answer(text) == MixedAnswer(
        status=207, applied="yes", shape="flat", named="none", good="omitted", order="shuffled"
    )


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("status=208", "200|207|400"),
        ("colour=red", "'colour=red' is not known: one of status"),
        ("foo", "'foo' is not known: one of status"),
        ("good=success", "is not a success"),
        ("shape=flat", "needs shape=nested"),
        ("shape=call", "needs good=omitted"),
    ],
)
def test_an_invalid_mixed_answer_is_refused(text: str, expected_text: str) -> None:
    with pytest.raises(ValueError, match=expected_text.replace("|", r"\|")):
        parse_mixed_answer(text)
