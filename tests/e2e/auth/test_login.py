"""`bulklink auth login`: inputs, errors, stored files."""

from __future__ import annotations

import json
import stat

import pytest

from tests.e2e.auth.sign_in_env import (
    CODE,
    SCOPES,
    SIGN_IN_ENV,
    THROTTLED,
    api_env,
    files,
    posix_only,
    signing_in_command,
    stored_kinds,
)
from tests.e2e.command import (
    Command,
    ensure_terminated,
    interrupt,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import Emulator, ReceivedRequest, Reply, StandIn, serve_world
from tests.e2e.world import Contact, World


def test_a_code_from_standard_input_signs_in_and_shows_the_org(signed_out: Command) -> None:
    result = signed_out.run_in_subprocess("auth", "login", "--stdin", "--json", stdin=CODE)
    assert result.code == 0, result
    entry = result.object
    assert entry["profile"] == "default"
    assert set(entry["org"]) == {"id", "name", "type", "edition"}
    assert entry["org"]["type"] == "Sandbox"
    assert entry["scopes"] == SCOPES
    assert entry["secrets"] == "file"
    assert "NoKeyringError" in result.err


@pytest.mark.parametrize(
    "given",
    [
        json.dumps({"client_id": "demo", "client_secret": "demo", "code": "demo",
                    "expiry_time": 1, "scope": ["x"], "grant_type": "authorization_code"}),
        "\ufeffCLIENT_ID = demo\r\n\r\nclient_secret=demo\r\nrefresh_token=demo",
    ],
    ids=["json", "lines"],
)  # fmt: skip
def test_standard_input_is_json_or_lines_and_overrides_the_environment(
    signed_out: Command, given: str
) -> None:
    command = signed_out.with_env(BULKLINK_CLIENT_ID="other", BULKLINK_GRANT_CODE="other")
    result = command.run_in_subprocess("auth", "login", "--stdin", stdin=given)
    assert result.code == 0
    assert "Unknown names" not in result.err


@pytest.mark.parametrize(
    "given",
    [
        json.dumps({"client_id": "demo", "client_secrte": "s3cret", "1000.cafe": "s3cret"}),
        "client_id=demo\nclient_secrte=s3cret\n1000.cafe\n",
    ],
    ids=["json", "lines"],
)
def test_unknown_names_on_standard_input_are_named_without_their_values(
    signed_out: Command, given: str
) -> None:
    result = signed_out.run_in_subprocess("auth", "login", "--stdin", "--json", stdin=given)
    assert (result.code, result.error["message"]) == (
        2,
        "Missing for the sign-in: client_secret, code.",
    )
    assert result.err.splitlines() == [
        "warning: Unknown names on standard input are ignored: client_secrte, 1 that may be"
        " secret. Did you mean client_secret? The names are client_id, client_secret, code,"
        " refresh_token."
    ]


def test_the_environment_can_sign_in_and_next_commands_are_shown(signed_out: Command) -> None:
    result = signed_out.with_env(**SIGN_IN_ENV)("auth", "login", "--profile", "Test")
    assert result.code == 0, result
    assert "bulklink link mapping.csv --profile test" in result.out


def test_a_run_after_a_sign_in_requests_no_other_token(
    signed_in: Command, emulator: Emulator, contact: Contact
) -> None:
    before = emulator.state()["calls"]["token"]
    write_mapping(signed_in.folder / "m.csv", rows(contact.free[:2], contact.a))
    result = signed_in("link", "m.csv", "--json")
    assert result.code == 0, result
    assert emulator.state()["calls"]["token"] == before


@posix_only
def test_stored_files_are_readable_only_by_their_owner(signed_in: Command) -> None:
    assert stored_kinds(signed_in.folder) == {"profiles", "secrets", "tokens"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(signed_in.folder)}
    assert modes == {0o600}


@pytest.mark.parametrize(
    ("changed", "code", "expected_text"),
    [
        ({"BULKLINK_GRANT_CODE": "ended"}, 2, "3 to 10 minutes"),
        ({"BULKLINK_CLIENT_ID": "elsewhere"}, 2, "another data centre"),
        ({"BULKLINK_CLIENT_SECRET": "typo"}, 2, "client secret"),
        ({"BULKLINK_CLIENT_SECRET": ""}, 2, "BULKLINK_CLIENT_SECRET"),
        ({"BULKLINK_ACCOUNTS_URL": "http://127.0.0.1:9"}, 3, "does not answer"),
        ({"BULKLINK_API_URL": "", "BULKLINK_ACCOUNTS_URL": ""}, 2, "BULKLINK_DC"),
    ],
    ids=["code", "client", "secret", "missing", "closed port", "no place"],
)
def test_each_failure_of_a_sign_in_is_shown_and_stores_nothing(
    signed_out: Command, changed: dict[str, str], code: int, expected_text: str
) -> None:
    result = signed_out.with_env(**{**SIGN_IN_ENV, **changed})("auth", "login", "--json")
    assert result.code == code, result
    shown = result.error
    assert expected_text in " ".join(shown.values())
    assert shown["where"]
    assert shown["advice"]
    assert stored_kinds(signed_out.folder) == set()


@pytest.mark.parametrize("given", ["", '{"client_secret":7}'], ids=repr)
def test_standard_input_without_the_credentials_is_an_error(
    signed_out: Command, given: str
) -> None:
    result = signed_out.run_in_subprocess("auth", "login", "--stdin", "--json", stdin=given)
    assert result.code == 2, result
    assert result.error["where"] == "standard input"


@pytest.mark.parametrize("given", ['{"client_id":"demo","client_secret":"s3cr', "[" * 50_000])
def test_invalid_json_on_standard_input_is_named_without_its_content(
    signed_out: Command, given: str
) -> None:
    result = signed_out.run_in_subprocess("auth", "login", "--stdin", "--json", stdin=given)
    assert result.code == 2, result
    assert result.error["message"] == "The JSON is not valid or not complete."
    assert result.err == ""
    assert "s3cr" not in result.output


def test_missing_scopes_are_named_and_nothing_is_stored(
    bulklink: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    few = "ZohoCRM.modules.emails.ALL,ZohoCRM.modules.contacts.ALL,ZohoCRM.org.READ"
    world = World()
    world.add(free=1)
    with serve_world(world, tmp_path_factory.mktemp("few"), "--scopes", few) as server:
        result = bulklink.with_env(**api_env(server.url), **SIGN_IN_ENV)("auth", "login", "--json")
        assert server.state()["calls"].get("link", 0) == 0
    assert result.code == 2, result
    assert "ZohoCRM.modules.deals.ALL" in result.error["message"]
    assert "ZohoCRM.modules.emails.ALL" not in result.error["message"]
    assert ",".join(SCOPES) in result.error["advice"]
    assert stored_kinds(bulklink.folder) == set()


def test_throttling_ends_with_exit_code_3(bulklink: Command, zoho: StandIn) -> None:
    async def throttle(seen: ReceivedRequest) -> Reply | None:
        return Reply(400, THROTTLED) if seen.kind == "token" else None

    zoho.script = throttle
    result = signing_in_command(bulklink, zoho.url)("auth", "login")
    assert result.code == 3, result
    assert "ten tokens in ten minutes" in result.err
    assert len(zoho.requests_of("token")) == 1


@pytest.mark.parametrize("command", ["login", "status", "logout"])
def test_the_help_of_each_command_has_an_example(bulklink: Command, command: str) -> None:
    result = bulklink("auth", command, "--help")
    assert result.code == 0
    assert f"bulklink auth {command}" in result.out.partition("Example")[2]


def test_a_secret_cannot_be_an_argument(bulklink: Command) -> None:
    result = bulklink("auth", "login", "--help").out
    assert "--client-secret" not in result
    assert "--refresh-token" not in result


def test_ctrl_c_during_a_code_exchange_exits_with_130_and_stores_nothing(
    bulklink: Command, zoho: StandIn
) -> None:
    async def held(seen: ReceivedRequest) -> Reply | None:
        await zoho.wait_for_gate()
        return Reply(503)

    zoho.script = held
    with ensure_terminated(
        signing_in_command(bulklink, zoho.url).start("auth", "login")
    ) as process:
        zoho.wait_until(lambda: bool(zoho.requests_of("token")))
        interrupt(process)
        result = wait_for_exit(process)
        zoho.gate.set()
    assert result.code == 130, result
    assert stored_kinds(bulklink.folder) == set()


def test_the_demo_ignores_profiles(bulklink: Command) -> None:
    result = bulklink.with_env(BULKLINK_PROFILE="nope")("demo")
    assert result.code == 0, result


def test_a_folder_that_cannot_be_written_is_an_error_before_a_code_is_used(
    bulklink: Command, zoho: StandIn
) -> None:
    (bulklink.folder / "config").touch()
    result = signing_in_command(bulklink, zoho.url)("auth", "login", "--json")
    assert result.code == 2, result
    assert "Cannot write" in result.error["message"]
    assert zoho.requests == []
