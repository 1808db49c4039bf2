"""`bulklink auth status` and `logout`: working profiles, removed profiles."""

from __future__ import annotations

import pytest

from tests.e2e.auth.sign_in_env import (
    SIGN_IN_ENV,
    THROTTLED,
    api_env,
    posix_only,
    refresh_token,
    revoke,
    signing_in_command,
    stored_kinds,
)
from tests.e2e.command import Command
from tests.e2e.servers import Emulator, ReceivedRequest, Reply, StandIn, error


def test_status_shows_all_profiles_and_whether_each_works(signed_in: Command, url: str) -> None:
    assert (
        signed_in.with_env(**api_env(url), **SIGN_IN_ENV)("auth", "login", "--profile", "test").code
        == 0
    )
    result = signed_in("auth", "status", "--json")
    assert result.code == 0, result
    assert [one["profile"] for one in result.object["profiles"]] == ["default", "test"]
    for entry in result.object["profiles"]:
        assert entry["works"] is True
        assert entry["token_ends"].endswith("Z")
        assert entry["api_url"] == url
    one = signed_in("auth", "status", "--profile", "test", "--json").object["profiles"]
    assert [entry["profile"] for entry in one] == ["test"]


def test_status_requests_no_token_while_one_is_stored(
    signed_in: Command, emulator: Emulator
) -> None:
    before = emulator.state()["calls"]["token"]
    assert signed_in("auth", "status").code == 0
    assert signed_in("auth", "status").code == 0
    assert emulator.state()["calls"]["token"] == before


def test_status_renews_a_stored_token_that_is_refused_once(
    bulklink: Command, zoho: StandIn
) -> None:
    exchange = zoho.script
    assert signing_in_command(bulklink, zoho.url)("auth", "login").code == 0

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        return await exchange(seen) or error(401, "INVALID_TOKEN")

    zoho.script = refuse
    zoho.requests.clear()
    result = bulklink("auth", "status", "--json")
    assert result.code == 1, result
    (entry,) = result.object["profiles"]
    assert entry["works"] is False
    assert "INVALID_TOKEN" in entry["problem"]["message"]
    assert len(zoho.requests_of("token")) == 1


def test_status_of_a_revoked_sign_in_has_advice(signed_in: Command, emulator: Emulator) -> None:
    revoke(emulator, refresh_token(signed_in.folder))
    for file in (signed_in.folder / "state" / "bulklink" / "tokens").glob("*.json"):
        file.unlink()
    result = signed_in("auth", "status")
    assert result.code == 1, result
    assert "bulklink auth login" in " ".join(result.out.split())


def test_status_without_any_profile_ends_with_1(bulklink: Command) -> None:
    result = bulklink("auth", "status")
    assert result.code == 1
    assert "bulklink auth login" in result.err
    assert bulklink("auth", "status", "--json").object == {"profiles": []}


def test_the_status_of_a_broken_profile_is_shown_with_the_others(signed_in: Command) -> None:
    (signed_in.folder / "config" / "bulklink" / "profiles" / "bad.toml").write_text("x", "utf-8")
    result = signed_in("auth", "status", "--json")
    assert result.code == 1
    assert [one["works"] for one in result.object["profiles"]] == [False, True]


def test_signing_out_revokes_at_zoho_and_removes_everything(
    signed_in: Command, emulator: Emulator, url: str
) -> None:
    token = refresh_token(signed_in.folder)
    result = signed_in("auth", "logout", "--json")
    assert result.code == 0, result
    assert result.object == {"profile": "default", "revoked": True, "removed": True}
    assert stored_kinds(signed_in.folder) == set()
    client = {"BULKLINK_CLIENT_ID": "demo", "BULKLINK_CLIENT_SECRET": "demo"}
    again = signed_in.with_env(**api_env(url), **client, BULKLINK_REFRESH_TOKEN=token)
    assert again("auth", "login").code == 2


def test_signing_out_with_a_revoked_token_succeeds(signed_in: Command, emulator: Emulator) -> None:
    revoke(emulator, refresh_token(signed_in.folder))
    result = signed_in("auth", "logout")
    assert result.code == 0, result
    assert stored_kinds(signed_in.folder) == set()


@pytest.mark.parametrize(
    "answer",
    [Reply(503), Reply(400, THROTTLED), Reply(200, b"<html>")],
    ids=["503", "throttled", "html"],
)
def test_an_unrevoked_profile_is_removed_only_by_force(
    bulklink: Command, zoho: StandIn, answer: Reply
) -> None:
    assert signing_in_command(bulklink, zoho.url)("auth", "login").code == 0

    async def refuse(_: ReceivedRequest) -> Reply | None:
        return answer

    zoho.script = refuse
    result = bulklink("auth", "logout", "--json")
    assert result.code == 3, result
    assert "--force" in result.error["advice"]
    assert stored_kinds(bulklink.folder) == {"profiles", "secrets", "tokens"}
    result = bulklink("auth", "logout", "--force", "--json")
    assert result.code == 0, result
    assert result.object == {"profile": "default", "revoked": False, "removed": True}
    assert "not revoked" in result.err
    assert stored_kinds(bulklink.folder) == set()


def test_a_profile_without_its_secrets_is_removed_only_by_force(signed_in: Command) -> None:
    (signed_in.folder / "config" / "bulklink" / "secrets" / "default.json").unlink()
    assert signed_in("auth", "logout").code == 2
    assert signed_in("auth", "logout", "--force").code == 0
    assert signed_in("auth", "status").code == 1


@pytest.mark.parametrize("damage", ["x", 'client_id = "a"\n'], ids=["text", "no-secrets-key"])
def test_a_damaged_profile_is_removed_with_its_secrets_only_by_force(
    signed_in: Command, url: str, damage: str
) -> None:
    other = signed_in.with_env(**api_env(url), **SIGN_IN_ENV)
    assert other("auth", "login", "--profile", "acme").code == 0
    config = signed_in.folder / "config" / "bulklink"
    (config / "profiles" / "acme.toml").write_text(damage, "utf-8")
    advice = signed_in("link", "m.csv", "--profile", "acme", "--json").error["advice"]
    assert "`bulklink auth login --profile acme --force`" in advice
    assert "`bulklink auth logout --profile acme --force`" in advice
    refused = signed_in("auth", "logout", "--profile", "acme", "--json")
    assert refused.code == 2, refused
    assert "--force" in refused.error["advice"]
    assert (config / "secrets" / "acme.json").exists()
    result = signed_in("auth", "logout", "--profile", "acme", "--force", "--json")
    assert result.code == 0, result
    assert result.object == {"profile": "acme", "revoked": False, "removed": True}
    assert [file.name for file in config.rglob("*.*")] == ["default.toml", "default.json"]


@posix_only
def test_secrets_that_others_may_read_are_revoked_and_removed(
    signed_in: Command, emulator: Emulator
) -> None:
    (signed_in.folder / "config" / "bulklink" / "secrets" / "default.json").chmod(0o644)
    assert signed_in("link", "m.csv").code == 2
    result = signed_in("auth", "logout", "--json")
    assert result.code == 0, result
    assert result.object == {"profile": "default", "revoked": True, "removed": True}
    assert stored_kinds(signed_in.folder) == set()


def test_the_advice_for_a_revoked_sign_in_names_its_profile(
    signed_in: Command, emulator: Emulator, url: str
) -> None:
    other = signed_in.with_env(**api_env(url), **SIGN_IN_ENV)
    assert other("auth", "login", "--profile", "acme").code == 0
    revoke(emulator, refresh_token(signed_in.folder, "acme"))
    for file in (signed_in.folder / "state" / "bulklink" / "tokens").glob("*.json"):
        file.unlink()
    result = signed_in("auth", "status", "--profile", "acme", "--json")
    (entry,) = result.object["profiles"]
    assert "`bulklink auth login --profile acme --force`" in entry["problem"]["advice"]


def test_status_shows_what_a_missing_optional_scope_prevents(
    bulklink: Command, zoho: StandIn
) -> None:
    exchange = zoho.script

    async def refuse_queries(seen: ReceivedRequest) -> Reply | None:
        if seen.path.endswith("/coql"):
            return error(401, "OAUTH_SCOPE_MISMATCH")
        return await exchange(seen)

    zoho.script = refuse_queries
    login = signing_in_command(bulklink, zoho.url)("auth", "login")
    assert login.code == 0, login
    assert "lacks the scope ZohoCRM.coql.READ" in login.err
    (entry,) = bulklink("auth", "status", "--json").object["profiles"]
    assert entry["works"] is True
    assert list(entry["missing_scopes"]) == ["ZohoCRM.coql.READ"]
    assert "without ZohoCRM.coql.READ" in bulklink("auth", "status").out
