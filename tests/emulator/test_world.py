"""World files: valid ones, and the errors of invalid ones."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from bulklink.emulator.builtin_world import builtin_world
from bulklink.emulator.jsonstream import BrokenJsonError, iter_members
from bulklink.emulator.worldfile import WorldError, load_world, parse_world
from tests.emulator.client import (
    ANA,
    FLEET,
    MODULE,
    NAMES,
    PAT,
    TOM,
    TRAVEL,
    EmulatorClient,
    email,
    item,
    message,
    small_world,
)

ACCOUNT = "5843104000004390001"
DEAL: dict[str, Any] = {
    "id": TRAVEL,
    "name": NAMES[TRAVEL],
    "contact_id": ANA,
    "stage": "Closed Won",
    "owner_id": PAT,
    "account_id": ACCOUNT,
    "pipeline": "Standard",
    "layout_id": "5843104000000091023",
    "closing_date": "2026-03-01",
    "contact_roles": [TOM],
    "fields": {"Amount": 1200.5, "Tags": ["a", None]},
    "history": [
        {"time": "2026-03-05T10:00:00+00:00", "field": None, "source": "workflow"},
        {"time": "2026-03-01T09:00:00+05:30", "field": "Amount", "old": None, "new": 1200.5},
        {
            "time": "2026-03-01T04:00:00+00:00",
            "field": "Stage",
            "old": "Negotiation",
            "new": "Closed Won",
            "source": "crm_ui",
        },
    ],
}
DETAILS = {
    "from": {"user_name": None, "email": "ana@home.example"},
    "to": [{"user_name": "Patricia Boyle", "email": "pat@us.example"}],
    "cc": [],
    "source": "gmail",
    "thread_id": "t1",
    "summary": "A question",
    "sent_from_deal": False,
    "has_attachment": True,
    "intent": "query",
}


def full_world(*emails: dict[str, object], deal: dict[str, object] | None = None) -> dict[str, Any]:
    """Return the object of a world file that has every key."""
    world = small_world(0, emails=list(emails), accounts=[{"id": ACCOUNT, "name": "Ferreira Ltd"}])
    world["users"][0]["connected_time"] = "2026-01-01T00:00:00+00:00"
    world["contacts"][0]["account_id"] = ACCOUNT
    world["deals"][0] = deal or DEAL
    return world


def test_a_world_file_loads_like_the_object_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps(small_world(), indent=1), "utf-8")
    assert load_world(path) == parse_world(small_world())


async def test_the_world_in_the_state_can_be_loaded() -> None:
    crm = EmulatorClient()
    await crm.link(item(1))
    state = await crm.state()
    reloaded = EmulatorClient(world=state["world"])
    assert await reloaded.deals() == await crm.deals()


async def test_a_world_with_every_key_is_in_the_state_unchanged() -> None:
    world = full_world(email(1, **DETAILS), email(2))
    reloaded = (await EmulatorClient(world=world).state())["world"]
    assert reloaded["accounts"] == world["accounts"]
    assert reloaded["users"][0] == world["users"][0] | {"status": "active"}
    assert reloaded["contacts"][0] == world["contacts"][0]
    deal = reloaded["deals"][0]
    assert {key: deal[key] for key in DEAL if key != "history"} == {
        key: value for key, value in DEAL.items() if key != "history"
    }
    by_id = {entry["message_id"]: entry for entry in reloaded["emails"]}
    assert by_id[message(1)] == email(1, **DETAILS)
    assert by_id[message(2)] == email(2)
    assert parse_world(reloaded) == parse_world(world)


def test_a_history_is_in_order_of_time_and_its_last_entry_modified_the_deal() -> None:
    deal = parse_world(full_world()).deals[TRAVEL]
    assert [change.field for change in deal.history] == ["Amount", "Stage", None]
    assert deal.modified_time == "2026-03-05T10:00:00+00:00"


def test_a_stated_modified_time_stands() -> None:
    changed = DEAL | {"modified_time": "2026-04-01T00:00:00+00:00"}
    deal = parse_world(full_world(deal=changed)).deals[TRAVEL]
    assert deal.modified_time == "2026-04-01T00:00:00+00:00"


def test_the_stages_of_a_history_may_go_by_either_name() -> None:
    history = [
        {
            "time": "2026-03-01T04:00:00+00:00",
            "field": "Stage",
            "old": "Negotiation",
            "new": "Closed-Lost to Competition",
        }
    ]
    changed = DEAL | {"stage": "Lost to Competition", "history": history}
    assert parse_world(full_world(deal=changed)).deals[TRAVEL].stage == "Lost to Competition"


def test_the_deals_of_a_contact_role_are_apart_from_the_contacts_own() -> None:
    world = full_world(deal=DEAL | {"contact_roles": [TOM, ANA]})
    parsed = parse_world(world)
    assert [deal.id for deal in parsed.deals_by_role[TOM]] == [TRAVEL]
    assert ANA not in parsed.deals_by_role
    assert [deal.id for deal in parsed.deals_by_contact[ANA]] == [TRAVEL, FLEET]


def test_every_field_of_an_email_may_be_null_or_left_out() -> None:
    nulls = dict.fromkeys(DETAILS)
    details = parse_world(full_world(email(1, **nulls))).mailboxes[ANA].emails[0].known_details
    bare = parse_world(full_world(email(1))).mailboxes[ANA].emails[0].known_details
    assert details == bare


def test_emails_share_their_people_and_threads_in_memory() -> None:
    text = json.dumps(full_world(email(1, **DETAILS), email(2, **DETAILS)))
    first, second = (
        entry.known_details for entry in parse_world(json.loads(text)).mailboxes[ANA].emails
    )
    assert first.sender is second.sender
    assert first.to is second.to
    assert first.thread_id is second.thread_id


def changed_history(**changed: object) -> dict[str, object]:
    return {"deals": [DEAL | {"account_id": None, "history": [DEAL["history"][0] | changed]}]}


def stage_change(**changed: object) -> dict[str, object]:
    return changed_history(**({"field": "Stage", "old": None, "new": "Closed Won"} | changed))


def changed_deal(**changed: object) -> dict[str, object]:
    return {"deals": [DEAL | {"account_id": None, "history": []} | changed]}


@pytest.mark.parametrize(
    ("changed", "expected_text"),
    [
        (changed_deal(owner_id="9"), f"deal {TRAVEL} refers to user 9"),
        (changed_deal(account_id="9"), f"deal {TRAVEL} refers to account 9"),
        (changed_deal(contact_roles=["9"]), f"deal {TRAVEL}, in contact_roles, .* contact 9"),
        (changed_deal(contact_roles=[TOM, TOM]), f"deal {TRAVEL} names a contact twice"),
        (changed_deal(closing_date="March"), r"deals\[0\].*closing_date 'March'"),
        (changed_deal(closing_date="2026-02-30"), r"deals\[0\].*day"),
        (changed_deal(layout_id="x"), r"deals\[0\].*layout_id"),
        (changed_deal(fields=[1]), r"deals\[0\].*fields"),
        (changed_history(time="soon"), r"deals\[0\]: history\[0\].*soon"),
        (changed_history(time="2026-03-01T10:00:00"), r"deals\[0\]: history\[0\].*no offset"),
        (changed_history(field=5), r"deals\[0\].*history\[0\]"),
        (
            stage_change(new="Won?"),
            f"deal {TRAVEL} has a history with stage 'Won\\?' at 2026-03-05",
        ),
        (stage_change(new=None), f"deal {TRAVEL} has a history with stage None"),
        (stage_change(old="Lead"), f"deal {TRAVEL} has a history with stage 'Lead'"),
        (stage_change(new="Proposal"), f"deal {TRAVEL} .*its history ends in stage 'Proposal'"),
        ({"accounts": [{"id": "1", "name": "x"}] * 2}, r"accounts\[1\].*twice"),
        ({"contacts": [{"id": ANA, "name": "x", "account_id": "9"}]}, f"contact {ANA} .*account 9"),
        (
            {"users": [{"id": PAT, "full_name": "x", "connected_time": "soon"}]},
            f"user {PAT}.*soon",
        ),
        ({"emails": [email(0, **{"from": "ana"})]}, r"emails\[0\].*from"),
        ({"emails": [email(0, to=[{}])]}, r"emails\[0\].*to\[0\]|emails\[0\].*email"),
        ({"emails": [email(0, intent="buy")]}, r"emails\[0\].*intent"),
        ({"emails": [email(0, sent_from_deal=True)]}, r"emails\[0\].*sent_from_deal"),
    ],
)
def test_an_invalid_addition_to_a_world_names_its_place(
    changed: dict[str, Any], expected_text: str
) -> None:
    with pytest.raises(WorldError, match=expected_text):
        parse_world(small_world(**changed))


async def test_a_received_email_may_say_as_much_as_one_of_a_world() -> None:
    crm = EmulatorClient()
    sent = email(500, **(DETAILS | {"sent_from_deal": None}))
    answer = await crm.send("POST", "/_emulator/receive", body=sent)
    assert answer.json == {key: v for key, v in sent.items() if v is not None} | {"deal_id": FLEET}
    refused = await crm.send("POST", "/_emulator/receive", body=email(501, sent_from_deal=True))
    assert (refused.status, "sent_from_deal" in refused.json["error"]) == (400, True)


def test_the_builtin_world_has_emails_to_link() -> None:
    world = builtin_world()
    assert all(len(mailbox.emails) == 12 for mailbox in world.mailboxes.values())


def test_the_order_of_a_worlds_members_does_not_matter() -> None:
    reordered = dict(reversed(small_world().items()))
    assert parse_world(reordered) == parse_world(small_world())


@pytest.mark.parametrize(
    ("changed", "expected_text"),
    [
        ({"module_id": ""}, "module_id"),
        ({"module_id": "12x"}, "module_id"),
        ({"users": {}}, "users must be a list"),
        ({"module_id": ["1"]}, "must not be a list"),
        ({"colour": 1}, "colour is not known"),
        ({"contacts": [{"id": 5, "name": "x"}]}, r"contacts\[0\].*Expected `str`"),
        ({"contacts": [{"id": ANA, "name": "x"}] * 2}, r"contacts\[1\].*twice"),
        ({"emails": [email(0, contact_id="9")]}, "contact 9"),
        ({"emails": [email(0, owner_id="9")]}, "user 9"),
        ({"emails": [email(0, deal_id="9")]}, "deal 9"),
        ({"emails": [email(0, message_id="a-b")]}, r"emails\[0\].*message_id"),
        ({"emails": [email(0), email(0)]}, "two emails with the same message_id"),
        ({"emails": [email(0, time="yesterday")]}, "yesterday"),
        ({"emails": [email(0, time="2026-03-01T10:00:00")]}, "no offset"),
        ({"deals": [{"id": "1", "name": "x", "contact_id": "9"}]}, "contact 9"),
        ({"deals": [{"id": "1", "name": "x", "contact_id": ANA, "stage": "?"}]}, "stage '?'"),
        ({"stages": [{"display_value": "a", "actual_value": "a", "forecast_type": "x"}]}, "stages"),
    ],
)
def test_an_invalid_world_names_the_invalid_part(
    changed: dict[str, Any], expected_text: str
) -> None:
    with pytest.raises(WorldError, match=expected_text):
        parse_world(small_world(**changed))


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        (b"", "line 1"),
        (b"[]", "line 1"),
        (b'{"module_id":\n"1",\n}', "line 3"),
        (b'{"users":[{"id":"1"\n', "line 1"),
        (b'{"module_id":"1"} x', "after the end"),
        (b'{1:2}', "double quotes"),
        (b'{"users":[{"id":"1","full_name":"x"} 2]}', "','"),
        (b'{"module_id":"\xff"}', "UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_valid_json_says_why(
    tmp_path: Path, text: bytes, expected_text: str
) -> None:
    path = tmp_path / "world.json"
    path.write_bytes(text)
    with pytest.raises(WorldError, match=expected_text):
        load_world(path)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="cannot be read"):
        load_world(tmp_path / "none.json")
    with pytest.raises(WorldError, match="cannot be read"):
        load_world(tmp_path)


def test_a_file_larger_than_a_chunk_is_read_in_full() -> None:
    items = [{"n": n, "pad": "x" * 90, "nested": [1, {"a": None}]} for n in range(8_000)]
    text = json.dumps({"module_id": MODULE, "items": items, "last": 12345})
    members = list(iter_members(io.StringIO(text)))
    assert [member.value for member in members if member.key == "items"] == items
    assert (members[0].value, members[-1].value) == (MODULE, 12345)


def test_a_syntax_error_far_into_a_file_names_its_line() -> None:
    lines = ",\n".join(json.dumps({"pad": "x" * 500}) for _ in range(4_000))
    with pytest.raises(BrokenJsonError, match="line 4001"):
        list(iter_members(io.StringIO('{"items":[\n' + lines + ' "oops"]}')))
