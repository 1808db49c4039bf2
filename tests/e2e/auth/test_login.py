"""`bulklink auth login`: what it takes, what each fault says, what is stored."""

from __future__ import annotations

import json
import stat

import pytest

from tests.e2e.command import Command, ended, interrupt, put_down, rows, write_mapping
from tests.e2e.servers import Emulator, Reply, Seen, StandIn, emulating
from tests.e2e.world import Contact, World

from .signing import (
    AT_HAND,
    CODE,
    SCOPES,
    THROTTLED,
    files,
    place,
    posix_only,
    signing_in,
    stored,
)


def test_a_code_from_standard_input_signs_in_and_says_to_what(visitor: Command) -> None:
    told = visitor.alone("auth", "login", "--stdin", "--json", stdin=CODE)
    assert told.code == 0, told
    entry = told.object
    assert entry["profile"] == "default"
    assert set(entry["org"]) == {"id", "name", "type", "edition"}
    assert entry["org"]["type"] == "Sandbox"
    assert entry["scopes"] == SCOPES
    assert entry["secrets"] == "file"
    assert "NoKeyringError" in told.err


@pytest.mark.parametrize(
    "given",
    [
        json.dumps({"client_id": "demo", "client_secret": "demo", "code": "demo",
                    "expiry_time": 1, "scope": ["x"], "grant_type": "authorization_code"}),
        "\ufeffCLIENT_ID = demo\r\n\r\nclient_secret=demo\r\nrefresh_token=demo",
    ],
    ids=["json", "lines"],
)  # fmt: skip
def test_standard_input_is_json_or_lines_and_goes_before_the_environment(
    visitor: Command, given: str
) -> None:
    command = visitor.given(BULKLINK_CLIENT_ID="other", BULKLINK_GRANT_CODE="other")
    assert command.alone("auth", "login", "--stdin", stdin=given).code == 0


def test_the_environment_signs_in_too_and_says_what_to_try_next(visitor: Command) -> None:
    told = visitor.given(**AT_HAND)("auth", "login", "--profile", "Test")
    assert told.code == 0, told
    assert "bulklink link mapping.csv --profile test" in told.out


def test_a_run_after_a_sign_in_asks_for_no_other_token(
    member: Command, emulator: Emulator, contact: Contact
) -> None:
    before = emulator.state()["calls"]["token"]
    write_mapping(member.folder / "m.csv", rows(contact.free[:2], contact.a))
    told = member("link", "m.csv", "--json")
    assert told.code == 0, told
    assert emulator.state()["calls"]["token"] == before


@posix_only
def test_what_is_stored_is_for_its_owner_alone(member: Command) -> None:
    assert stored(member.folder) == {"profiles", "secrets", "tokens"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in files(member.folder)}
    assert modes == {0o600}


@pytest.mark.parametrize(
    ("changed", "code", "said"),
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
def test_each_fault_of_a_sign_in_is_told_and_stores_nothing(
    visitor: Command, changed: dict[str, str], code: int, said: str
) -> None:
    told = visitor.given(**{**AT_HAND, **changed})("auth", "login", "--json")
    assert told.code == code, told
    shown = told.error
    assert said in " ".join(shown.values())
    assert shown["where"]
    assert shown["advice"]
    assert stored(visitor.folder) == set()


@pytest.mark.parametrize("given", ["", '{"client_secret":7}'], ids=repr)
def test_standard_input_without_what_is_needed_is_told(visitor: Command, given: str) -> None:
    told = visitor.alone("auth", "login", "--stdin", "--json", stdin=given)
    assert told.code == 2, told
    assert told.error["where"] == "standard input"


def test_scopes_too_few_are_named_and_nothing_is_stored(
    bulklink: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    few = "ZohoCRM.modules.emails.ALL,ZohoCRM.modules.contacts.ALL,ZohoCRM.org.READ"
    world = World()
    world.add(free=1)
    with emulating(world, tmp_path_factory.mktemp("few"), "--scopes", few) as server:
        told = bulklink.given(**place(server.url), **AT_HAND)("auth", "login", "--json")
        assert server.state()["calls"].get("link", 0) == 0
    assert told.code == 2, told
    assert "ZohoCRM.modules.deals.ALL" in told.error["message"]
    assert "ZohoCRM.modules.emails.ALL" not in told.error["message"]
    assert ",".join(SCOPES) in told.error["advice"]
    assert stored(bulklink.folder) == set()


def test_throttled_is_told_with_exit_code_3(bulklink: Command, zoho: StandIn) -> None:
    async def throttle(seen: Seen) -> Reply | None:
        return Reply(400, THROTTLED) if seen.kind == "token" else None

    zoho.script = throttle
    told = signing_in(bulklink, zoho.url)("auth", "login")
    assert told.code == 3, told
    assert "ten tokens in ten minutes" in told.err
    assert len(zoho.of("token")) == 1


@pytest.mark.parametrize("command", ["login", "status", "logout"])
def test_the_help_of_each_command_has_an_example(bulklink: Command, command: str) -> None:
    told = bulklink("auth", command, "--help")
    assert told.code == 0
    assert f"bulklink auth {command}" in told.out.partition("Example")[2]


def test_a_secret_cannot_be_an_argument(bulklink: Command) -> None:
    told = bulklink("auth", "login", "--help").out
    assert "--client-secret" not in told
    assert "--refresh-token" not in told


def test_ctrl_c_while_a_code_is_exchanged_ends_with_130_and_stores_nothing(
    bulklink: Command, zoho: StandIn
) -> None:
    async def held(seen: Seen) -> Reply | None:
        await zoho.opened()
        return Reply(503)

    zoho.script = held
    with put_down(signing_in(bulklink, zoho.url).start("auth", "login")) as process:
        zoho.wait(lambda: bool(zoho.of("token")))
        interrupt(process)
        told = ended(process)
        zoho.gate.set()
    assert told.code == 130, told
    assert stored(bulklink.folder) == set()


def test_a_demo_is_given_no_profile(bulklink: Command) -> None:
    told = bulklink.given(BULKLINK_PROFILE="nope")("demo")
    assert told.code == 0, told


def test_a_folder_that_cannot_be_written_is_told_before_a_code_is_used_up(
    bulklink: Command, zoho: StandIn
) -> None:
    (bulklink.folder / "config").touch()
    told = signing_in(bulklink, zoho.url)("auth", "login", "--json")
    assert told.code == 2, told
    assert "cannot be written" in told.error["message"]
    assert zoho.seen == []
