"""Effects of each fault on the state and the answer, and their reproducibility by a seed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulklink.emulator.fault_effects import concurrent_edit
from bulklink.emulator.faults import Fault, FaultError, FaultKind, parse_fault, should_fire
from bulklink.emulator.http import DeliveryMode
from bulklink.zoho.error_codes import Code
from tests.emulator.client import (
    ANA,
    FLEET,
    TOM,
    TRAVEL,
    EmulatorClient,
    JsonResponse,
    item,
    message,
)

EMAILS = f"Contacts/{ANA}/Emails"


async def link_with_fault(**fault: Any) -> tuple[EmulatorClient, JsonResponse]:
    """Link one email while a fault hits that call."""
    crm = EmulatorClient()
    await set_fault(crm, op="link", **fault)
    return crm, await crm.link(item(1))


async def set_fault(crm: EmulatorClient, **fault: Any) -> JsonResponse:
    return await crm.send("POST", "/_emulator/faults", body=fault)


@pytest.mark.parametrize(
    ("kind", "delivery", "deal"),
    [
        ("lost-request", DeliveryMode.DROPPED, None),
        ("lost-answer", DeliveryMode.DROPPED, TRAVEL),
        ("cut", DeliveryMode.CUT, TRAVEL),
        ("stalled", DeliveryMode.DROPPED, TRAVEL),
    ],
)
async def test_the_connection_is_closed_before_or_after_the_call_is_executed(
    kind: str, delivery: DeliveryMode, deal: str | None
) -> None:
    crm, response = await link_with_fault(kind=kind)
    assert response.answer.delivery is delivery
    assert await crm.deal_of(1) == deal


@pytest.mark.parametrize(
    ("kind", "status", "body", "deal"),
    [
        ("500", 500, b"INTERNAL_ERROR", None),
        ("500-applied", 500, b"INTERNAL_ERROR", TRAVEL),
        ("502", 502, b"", None),
        ("503", 503, b"", None),
        ("html", 500, b"<html>", None),
        ("html-200", 200, b"<html>", None),
        ("empty", 200, b"", TRAVEL),
    ],
)
async def test_a_fault_replaces_the_answer(
    kind: str, status: int, body: bytes, deal: str | None
) -> None:
    crm, response = await link_with_fault(kind=kind)
    assert response.status == status
    assert body in response.answer.body
    assert await crm.deal_of(1) == deal


async def test_an_ignored_call_is_answered_with_success_and_changes_nothing() -> None:
    crm, response = await link_with_fault(kind="ignored")
    assert response.status == 200
    assert b"SUCCESS" in response.answer.body
    assert await crm.deal_of(1) is None


async def test_an_html_page_has_its_content_type() -> None:
    _, response = await link_with_fault(kind="html")
    assert response.answer.content_type == "text/html"


async def test_truncated_json_is_not_valid_but_the_call_is_executed() -> None:
    crm, response = await link_with_fault(kind="truncated")
    with pytest.raises(json.JSONDecodeError):
        json.loads(response.answer.body)
    assert await crm.deal_of(1) == TRAVEL


async def test_a_late_call_is_executed_after_its_connection_is_closed() -> None:
    crm, response = await link_with_fault(kind="late", seconds=30, count=1)
    assert response.answer.delivery is DeliveryMode.DROPPED
    crm.time.now += 29
    assert await crm.deal_of(1) is None
    crm.time.now += 1
    assert await crm.deal_of(1) == TRAVEL


async def test_a_late_unlink_removes_a_link_made_after_it() -> None:
    crm = EmulatorClient()
    await crm.link(item(1))
    await set_fault(crm, kind="late", op="unlink", seconds=10, count=1)
    await crm.unlink(1)
    await crm.unlink(1)
    await crm.link(item(1, FLEET))
    assert await crm.deal_of(1) == FLEET
    crm.time.now += 10
    assert await crm.deal_of(1) is None


async def test_a_slow_answer_takes_the_seconds_of_the_fault() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="slow", seconds=7)
    before = crm.time.now
    assert (await crm.link(item(1))).status == 200
    assert crm.time.now == before + 7


async def test_a_stalled_call_is_dropped_after_ten_minutes() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="stalled")
    before = crm.time.now
    assert (await crm.link(item(1))).answer.delivery is DeliveryMode.DROPPED
    assert crm.time.now == before + 600


async def test_a_stale_read_shows_earlier_links() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="stale", op="read", seconds=10)
    await crm.link(item(1))
    crm.time.now += 5
    await crm.unlink(1)
    await crm.link(item(1, FLEET))

    assert (await crm.deals())[message(1)] == FLEET
    assert (await all_links(crm))[message(1)] is None
    crm.time.now += 6
    assert (await all_links(crm))[message(1)] == TRAVEL
    crm.time.now += 6
    assert (await all_links(crm))[message(1)] == FLEET


async def all_links(crm: EmulatorClient) -> dict[str, str | None]:
    """Return the deal of each of Ana's emails, read from all pages of the list."""
    links: dict[str, str | None] = {}
    index: str | None = "0"
    while index is not None:
        page = (await crm.get(EMAILS, index=index)).json
        for listed_email in page["Emails"]:
            links[listed_email["message_id"]] = (
                listed_email["linked_record"] and listed_email["linked_record"]["id"]
            )
        index = page["info"]["next_index"]
    return links


async def test_hidden_emails_are_not_listed_but_can_be_linked() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="hidden", share=0.5, seed=3)
    shown = await all_links(crm)
    assert 5 < len(shown) < 20
    assert await all_links(crm) == shown
    hidden = next(n for n in range(25) if message(n) not in shown)
    assert (await crm.link(item(hidden))).status == 200


async def test_another_user_moves_an_email_before_a_call() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="edited", op="read", count=1)
    await crm.get(EMAILS)
    moved = [deal for deal in (await crm.deals()).values() if deal]
    assert len(moved) == 1
    assert [change.author for change in crm.crm.state.change_log] == ["user"]


async def test_an_edit_by_another_user_always_changes_a_link() -> None:
    crm = EmulatorClient()
    for number in range(40):
        view = crm.crm.state.view(ANA)
        change = concurrent_edit(view, crm.crm.world, 1, number)
        assert change is not None
        assert change.deal_id != view.deal_of(view.mailbox.by_id[change.message_id])
        crm.crm.state.apply(ANA, [change], 0.0)
    assert concurrent_edit(crm.crm.state.view(TOM), crm.crm.world, 1, 0) is None


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.SUCCESS])
async def test_every_code_can_be_injected(code: Code) -> None:
    crm, response = await link_with_fault(kind=code.value)
    assert response.code == code.value
    assert response.status >= 400
    assert await crm.deal_of(1) is None


async def test_a_fault_is_limited_to_its_op_contact_and_count() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="500", op="unlink", contact_id=ANA, count=1)
    assert (await crm.link(item(1))).status == 200
    assert (await crm.unlink(1)).status == 500
    assert (await crm.unlink(1)).status == 200
    await set_fault(crm, kind="500", contact_id=TOM)
    assert (await crm.get(EMAILS)).status == 200
    assert (await crm.get(f"Contacts/{TOM}/Emails")).status == 500


async def test_a_fault_without_op_does_not_hit_token_requests() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="503")
    assert (await crm.grant()).status == 200
    assert (await crm.get("org")).status == 503
    await set_fault(crm, kind="lost-answer", op="token")
    assert (await crm.grant()).answer.delivery is DeliveryMode.DROPPED


async def test_a_late_token_request_is_dropped() -> None:
    crm = EmulatorClient()
    await set_fault(crm, kind="late", op="token", count=1)
    assert (await crm.grant()).answer.delivery is DeliveryMode.DROPPED
    crm.time.now += 60
    assert (await crm.get("org")).status == 200


def test_the_seed_alone_determines_the_share_of_calls_hit() -> None:
    fault = Fault(kind="500", share=0.3, seed=5)
    hit = [n for n in range(1_000) if should_fire(fault, n, 0)]
    assert 250 < len(hit) < 350
    assert hit == [n for n in range(1_000) if should_fire(fault, n, 0)]
    other = Fault(kind="500", share=0.3, seed=6)
    assert hit != [n for n in range(1_000) if should_fire(other, n, 0)]


async def test_faults_can_be_listed_with_their_counts_and_cleared() -> None:
    crm = EmulatorClient()
    response = await set_fault(crm, kind="500", share=0.0)
    assert response.json == {"faults": [{"kind": "500", "share": 0.0, "met": 0, "fired": 0}]}
    await crm.link(item(1))
    listed = await crm.send("GET", "/_emulator/faults")
    assert listed.json["faults"][0]["met"] == 1
    assert (await crm.send("DELETE", "/_emulator/faults")).json == {"faults": []}


async def test_several_faults_can_be_added_at_once() -> None:
    crm = EmulatorClient()
    body = [{"kind": "500", "count": 1}, {"kind": "503", "count": 1}]
    await crm.send("POST", "/_emulator/faults", body=body)
    assert [(await crm.get("org")).status for _ in range(3)] == [500, 200, 200]


@pytest.mark.parametrize(
    ("body", "expected_text"),
    [
        ({"kind": "flood"}, "no fault 'flood'"),
        ({"kind": "500", "op": "erase"}, "op must be one of"),
        ({"kind": "500", "share": 2}, "share"),
        ({"kind": "500", "count": 0}, "count"),
        ({"kind": "500", "seconds": 1}, "no seconds"),
        ({"kind": "hidden", "count": 1}, "no count"),
        ({"kind": "500", "colour": 1}, "colour"),
        ({"op": "link"}, "kind"),
        ("500", "object"),
        (b"{", "JSON"),
    ],
)
async def test_an_invalid_fault_is_refused(body: object, expected_text: str) -> None:
    answer = await EmulatorClient().send("POST", "/_emulator/faults", body=body)
    assert answer.status == 400
    assert expected_text in answer.json["error"]


def test_a_fault_is_parsed_from_option_text() -> None:
    assert parse_fault("late,op=link,share=0.25,count=3,seed=9,seconds=1.5") == Fault(
        kind="late", op="link", share=0.25, count=3, seed=9, seconds=1.5
    )
    assert parse_fault("kind=NO_PERMISSION,contact_id=12").contact_id == "12"
    for text in ("late,op", "late,share=x", "nothing", ""):
        with pytest.raises(FaultError):
            parse_fault(text)


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        ("late,share=2", "share must be a number from 0 to 1, not '2'"),
        ("late,share=x", "share must be a number from 0 to 1, not 'x'"),
        ("late,seed=x", "seed must be a whole number, not 'x'"),
        ("late,count=0", "count must be a whole number of at least 1, not '0'"),
        ("late,seconds=-1", "seconds must be a number from 0 to 86,400, not '-1'"),
        ("late,colour=red", "'colour' is not known; the names are kind, op, share"),
        ("nothing", "there is no fault 'nothing'"),
    ],
)
def test_the_error_of_an_invalid_fault_says_what_is_valid(text: str, expected_text: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_fault(text)
    assert str(caught.value).startswith(expected_text)


def test_every_kind_of_fault_has_a_test() -> None:
    tested = {
        *("lost-request", "lost-answer", "late", "500", "500-applied", "502", "503", "html"),
        *("html-200", "empty", "truncated", "cut", "slow", "stalled", "stale", "hidden", "edited"),
        "ignored",
    }
    assert tested == {kind.value for kind in FaultKind}
