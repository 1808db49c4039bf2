"""`bulklink auth status` and `logout`: whether it works, and what is left of it."""

from __future__ import annotations

import pytest

from tests.e2e.command import Command
from tests.e2e.servers import Emulator, Reply, Seen, StandIn, error

from .signing import (
    AT_HAND,
    THROTTLED,
    place,
    refresh_token,
    revoke,
    signing_in,
    stored,
)


def test_status_tells_all_profiles_and_whether_each_works(member: Command, url: str) -> None:
    assert member.given(**place(url), **AT_HAND)("auth", "login", "--profile", "test").code == 0
    told = member("auth", "status", "--json")
    assert told.code == 0, told
    assert [one["profile"] for one in told.object["profiles"]] == ["default", "test"]
    for entry in told.object["profiles"]:
        assert entry["works"] is True
        assert entry["token_ends"].endswith("Z")
        assert entry["api_url"] == url
    one = member("auth", "status", "--profile", "test", "--json").object["profiles"]
    assert [entry["profile"] for entry in one] == ["test"]


def test_status_asks_for_no_token_while_one_is_kept(member: Command, emulator: Emulator) -> None:
    before = emulator.state()["calls"]["token"]
    assert member("auth", "status").code == 0
    assert member("auth", "status").code == 0
    assert emulator.state()["calls"]["token"] == before


def test_status_renews_a_kept_token_that_is_refused_once(bulklink: Command, zoho: StandIn) -> None:
    exchange = zoho.script
    assert signing_in(bulklink, zoho.url)("auth", "login").code == 0

    async def refuse(seen: Seen) -> Reply | None:
        return await exchange(seen) or error(401, "INVALID_TOKEN")

    zoho.script = refuse
    zoho.seen.clear()
    told = bulklink("auth", "status", "--json")
    assert told.code == 1, told
    (entry,) = told.object["profiles"]
    assert entry["works"] is False
    assert "INVALID_TOKEN" in entry["problem"]["message"]
    assert len(zoho.of("token")) == 1


def test_status_of_a_revoked_sign_in_says_what_to_do(member: Command, emulator: Emulator) -> None:
    revoke(emulator, refresh_token(member.folder))
    for file in (member.folder / "state" / "bulklink" / "tokens").glob("*.json"):
        file.unlink()
    told = member("auth", "status")
    assert told.code == 1, told
    assert "bulklink auth login" in " ".join(told.out.split())


def test_status_without_any_profile_ends_with_1(bulklink: Command) -> None:
    told = bulklink("auth", "status")
    assert told.code == 1
    assert "bulklink auth login" in told.err
    assert bulklink("auth", "status", "--json").object == {"profiles": []}


def test_status_of_a_broken_profile_is_told_beside_the_others(member: Command) -> None:
    (member.folder / "config" / "bulklink" / "profiles" / "bad.toml").write_text("x", "utf-8")
    told = member("auth", "status", "--json")
    assert told.code == 1
    assert [one["works"] for one in told.object["profiles"]] == [False, True]


def test_signing_out_revokes_at_zoho_and_removes_everything(
    member: Command, emulator: Emulator, url: str
) -> None:
    token = refresh_token(member.folder)
    told = member("auth", "logout", "--json")
    assert told.code == 0, told
    assert told.object == {"profile": "default", "revoked": True, "removed": True}
    assert stored(member.folder) == set()
    client = {"BULKLINK_CLIENT_ID": "demo", "BULKLINK_CLIENT_SECRET": "demo"}
    again = member.given(**place(url), **client, BULKLINK_REFRESH_TOKEN=token)
    assert again("auth", "login").code == 2


def test_signing_out_of_what_zoho_has_ended_already_is_fine(
    member: Command, emulator: Emulator
) -> None:
    revoke(emulator, refresh_token(member.folder))
    told = member("auth", "logout")
    assert told.code == 0, told
    assert stored(member.folder) == set()


@pytest.mark.parametrize(
    "answer",
    [Reply(503), Reply(400, THROTTLED), Reply(200, b"<html>")],
    ids=["503", "throttled", "html"],
)
def test_what_cannot_be_revoked_is_removed_only_by_force(
    bulklink: Command, zoho: StandIn, answer: Reply
) -> None:
    assert signing_in(bulklink, zoho.url)("auth", "login").code == 0

    async def refuse(_: Seen) -> Reply | None:
        return answer

    zoho.script = refuse
    told = bulklink("auth", "logout", "--json")
    assert told.code == 3, told
    assert "--force" in told.error["advice"]
    assert stored(bulklink.folder) == {"profiles", "secrets", "tokens"}
    told = bulklink("auth", "logout", "--force", "--json")
    assert told.code == 0, told
    assert told.object == {"profile": "default", "revoked": False, "removed": True}
    assert "not revoked" in told.err
    assert stored(bulklink.folder) == set()


def test_a_profile_without_its_secrets_is_removed_only_by_force(member: Command) -> None:
    (member.folder / "config" / "bulklink" / "secrets" / "default.json").unlink()
    assert member("auth", "logout").code == 2
    assert member("auth", "logout", "--force").code == 0
    assert member("auth", "status").code == 1
