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
from tests.emulator.client import ANA, MODULE, EmulatorClient, email, item, small_world


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
