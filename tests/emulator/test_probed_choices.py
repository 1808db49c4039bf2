"""Choices that a probe can find out and that no other test covers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bulklink.emulator.settings import MixedAnswer, Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    JACOB,
    OTHERS,
    TOM,
    TRAVEL,
    EmulatorClient,
    email,
    item,
    item_codes,
    message,
    small_world,
)


def shared_world() -> dict[str, Any]:
    """Return a world in which Tom has the first email of Ana too."""
    return small_world(emails=[email(1), email(2), email(1, contact_id=TOM)])


async def deals_by_contact(crm: EmulatorClient) -> dict[tuple[str, str], str | None]:
    emails = (await crm.state())["world"]["emails"]
    return {(one["contact_id"], one["message_id"]): one["deal_id"] for one in emails}


async def test_owner_names_can_be_refused() -> None:
    crm = EmulatorClient(Settings(names="refused"))
    response = await crm.link(item(1))
    assert (response.status, item_codes(response)) == (400, ["INVALID_DATA"])
    assert response.json["Emails"][0][0]["details"]["api_name"] == "owner.name"
    nameless = item(1)
    del nameless["owner"]["name"]
    assert item_codes(await crm.link(nameless)) == ["SUCCESS"]


async def test_a_deal_name_of_more_than_255_characters_is_refused_unless_set_otherwise() -> None:
    long_name, longest = item(1), item(2)
    long_name["linked_record"]["name"] = "x" * 256
    longest["linked_record"]["name"] = "x" * 255
    response = await EmulatorClient().link(long_name)
    assert response.json["Emails"][0][0]["details"]["api_name"] == "linked_record.name"
    assert item_codes(await EmulatorClient().link(longest)) == ["SUCCESS"]
    accepting = EmulatorClient(Settings(long_names="accept"))
    assert item_codes(await accepting.link(long_name)) == ["SUCCESS"]


async def test_a_deal_that_the_contact_is_not_on_can_be_allowed() -> None:
    crm = EmulatorClient(Settings(foreign_deals="allowed"))
    assert item_codes(await crm.link(item(1, OTHERS))) == ["SUCCESS"]
    assert await crm.deal_of(1) == OTHERS


async def test_allowed_foreign_deals_do_not_allow_refused_role_deals() -> None:
    world = small_world()
    world["deals"][2]["contact_roles"] = [ANA]
    crm = EmulatorClient(Settings(foreign_deals="allowed", role_links="refused"), world)
    assert item_codes(await crm.link(item(1, OTHERS))) == ["NOT_ALLOWED"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("refused", "NOT_ALLOWED"),
        ("no-permission", "NO_PERMISSION"),
        ("invalid-data", "INVALID_DATA"),
        ("allowed", "SUCCESS"),
    ],
)
async def test_an_email_of_a_private_mailbox_is_answered_as_set(answer: Any, code: str) -> None:
    world = small_world(emails=[email(1), email(2, owner_id=JACOB)])
    crm = EmulatorClient(Settings(private_mailboxes=(JACOB,), private_links=answer), world)
    assert item_codes(await crm.link(item(2, owner=JACOB))) == [code]
    assert item_codes(await crm.link(item(1))) == ["SUCCESS"]


async def test_each_contact_of_an_email_has_a_link_of_its_own() -> None:
    crm = EmulatorClient(world=shared_world())
    await crm.link(item(1))
    deals = await deals_by_contact(crm)
    assert (deals[ANA, message(1)], deals[TOM, message(1)]) == (TRAVEL, None)


async def test_the_contacts_of_an_email_can_share_its_link() -> None:
    crm = EmulatorClient(Settings(shared_emails="shared"), shared_world())
    await crm.link(item(1))
    deals = await deals_by_contact(crm)
    assert (deals[ANA, message(1)], deals[TOM, message(1)]) == (TRAVEL, TRAVEL)
    assert item_codes(await crm.link(item(1, OTHERS), contact=TOM)) == ["ALREADY_LINKED"]
    await crm.unlink(1, contact=TOM)
    assert set((await deals_by_contact(crm)).values()) == {None}


async def test_the_view_of_a_single_email_can_show_its_deal() -> None:
    crm = EmulatorClient(Settings(single_view="shown"))
    await crm.link(item(1))
    view = (await crm.get(f"Contacts/{ANA}/Emails/{message(1)}")).json["Emails"][0]
    assert view["linked_record"]["id"] == TRAVEL


async def test_by_default_links_leave_no_trace_on_their_deals() -> None:
    crm = EmulatorClient()
    before = await traces(crm)
    await crm.link(item(1))
    await crm.unlink(1)
    assert await traces(crm) == before == ("2026-01-05T09:00:00+00:00", [])


@pytest.mark.parametrize("calls", ["link", "unlink", "both"])
async def test_calls_can_change_when_the_deal_was_modified(calls: Any) -> None:
    crm = EmulatorClient(Settings(link_touches=calls))
    times = [await modified_time(crm)]
    for call in (crm.link(item(1), item(2)), crm.unlink(1)):
        crm.time.now += 60
        await call
        times.append(await modified_time(crm))
    changed = [earlier != later for earlier, later in itertools.pairwise(times)]
    assert changed == [calls != "unlink", calls != "link"]


@pytest.mark.parametrize("calls", ["link", "unlink", "both"])
async def test_calls_can_add_an_entry_to_the_timeline(calls: Any) -> None:
    crm = EmulatorClient(Settings(link_timeline=calls, link_source="crm_ui"))
    await crm.link(item(1), item(2))
    crm.time.now += 1
    await crm.unlink(1)
    time, sources = await traces(crm)
    assert sources == ["crm_ui"] * (2 if calls == "both" else 1)
    assert time == "2026-01-05T09:00:00+00:00"


async def test_a_modified_deal_is_so_in_every_list_and_in_prediction() -> None:
    crm = EmulatorClient(Settings(link_touches="both"))
    await crm.query("select id from Deals where id > '0'")
    await crm.link(item(1, FLEET))
    by_time = await crm.query("select id from Deals where id > '0' order by Modified_Time desc")
    assert by_time.json["data"][0]["id"] == FLEET
    listed = await crm.get(f"Contacts/{ANA}/Deals", fields="Stage", sort_by="Modified_Time")
    assert listed.json["data"][0]["id"] == FLEET
    received = await crm.send("POST", "/_emulator/receive", body=email(99))
    assert received.json["deal_id"] == FLEET


async def test_the_world_that_was_loaded_is_not_changed_by_traces() -> None:
    crm = EmulatorClient(Settings(link_touches="both", link_timeline="both"))
    world = crm.crm.world
    other = EmulatorClient(Settings(link_touches="both"), world)
    await other.link(item(1))
    assert world.deals[TRAVEL].modified_time == "2026-01-05T09:00:00+00:00"


async def modified_time(crm: EmulatorClient) -> str:
    response = await crm.get("Deals", ids=TRAVEL, fields="Modified_Time")
    return str(response.json["data"][0]["Modified_Time"])


async def traces(crm: EmulatorClient) -> tuple[str, list[str]]:
    """Return when a deal was modified, and the sources of its timeline."""
    timeline = await crm.get(f"Deals/{TRAVEL}/__timeline")
    entries = [] if timeline.status == 204 else timeline.json["__timeline"]
    return await modified_time(crm), [entry["source"] for entry in entries]


@pytest.mark.parametrize(
    ("quotes", "accepted"),
    [("both", {"\\'", "''"}), ("backslash", {"\\'"}), ("doubled", {"''"})],
)
async def test_quotes_in_queries_are_escaped_as_set(quotes: Any, accepted: set[str]) -> None:
    world = small_world()
    world["contacts"][1]["name"] = "Tom O'Hara"
    crm = EmulatorClient(Settings(coql_quote=quotes), world)
    found = {}
    for escaped in ("\\'", "''"):
        text = f"select id from Contacts where Last_Name = 'O{escaped}Hara'"
        found[escaped] = (await crm.query(text)).status
    assert {escaped for escaped, status in found.items() if status == 200} == accepted
    assert {status for status in found.values() if status != 200} <= {400}


async def test_a_backslash_is_an_ordinary_character_where_quotes_are_doubled() -> None:
    world = small_world()
    world["contacts"][1]["name"] = "Tom O\\Hara"
    crm = EmulatorClient(Settings(coql_quote="doubled"), world)
    response = await crm.query("select id from Contacts where Last_Name = 'O\\Hara'")
    assert [row["id"] for row in response.json["data"]] == [TOM]


async def test_one_error_can_refuse_a_call_with_valid_and_invalid_emails() -> None:
    mixed = MixedAnswer(status=400, shape="call", good="omitted")
    crm = EmulatorClient(Settings(mixed_answer=mixed))
    response = await crm.link(item(1), item(2, OTHERS), item(3))
    assert (response.status, response.code) == (400, "NOT_ALLOWED")
    assert response.json["details"]["json_path"] == "Emails[1].linked_record.id"
    assert set((await crm.deals()).values()) == {None}
