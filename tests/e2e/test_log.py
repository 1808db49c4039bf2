"""`--log FILE`: one line per request, without secrets."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.servers import (
    REFRESH,
    SECRET,
    TOKEN,
    Emulator,
    ReceivedRequest,
    Reply,
    StandIn,
    error,
)
from tests.e2e.world import Contact, World

KEYS = {
    *("ts", "method", "host", "path", "status", "error"),
    *("duration", "call", "attempt"),
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read_calls(run: Path) -> list[tuple[int, int]]:
    ledger_lines = lines(run / "ledger.jsonl")
    return [(line["call"], line["attempt"]) for line in ledger_lines if line["event"] == "call"]


def test_each_request_of_a_run_is_a_line_that_names_its_call_in_the_ledger(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=30)

    async def busy_once(seen: ReceivedRequest) -> Reply | None:
        first = seen.kind == "link" and seen.number == 1
        return error(429, "TOO_MANY_REQUESTS") if first else None

    standin.script = busy_once
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    result = command("link", "m.csv", "--run-dir", "here", "--log", "calls.log", "--yes")
    assert result.code == 0, result
    logged = lines(bulklink.folder / "calls.log")
    assert {frozenset(line) for line in logged} == {frozenset(KEYS)}
    api = [line for line in logged if line["call"] is not None]
    assert sorted((line["call"], line["attempt"]) for line in api) == read_calls(
        bulklink.folder / "here"
    )
    assert [line["path"] for line in logged if line["call"] is None] == ["/oauth/v2/token"]
    assert sorted(line["status"] for line in api if line["method"] == "POST") == [200, 200, 429]
    assert all(line["duration"] >= 0 and line["ts"].endswith("Z") for line in logged)
    assert stat.S_IMODE((bulklink.folder / "calls.log").stat().st_mode) == 0o600


def test_the_log_holds_no_token_name_query_or_body(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=2)
    given = rows(contact.linked, contact.b, owner_name="Patricia Boyle", deal_name="Insurance")
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env(), BULKLINK_LOG="calls.log")
    assert command("relink", "m.csv", "--yes").code == 0
    text = (bulklink.folder / "calls.log").read_text("utf-8")
    unwanted = (SECRET, REFRESH, TOKEN, "?", "owner_id", "Patricia", "Insurance")
    assert [word for word in unwanted if word in text] == []
    assert "DELETE" in text


def test_a_request_without_an_answer_is_logged_with_the_reason(bulklink: Command) -> None:
    url = "http://127.0.0.1:9"
    env = {"BULKLINK_API_URL": url, "BULKLINK_ACCESS_TOKEN": TOKEN}
    contact = World().add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    assert bulklink.with_env(**env)("link", "m.csv", "--log", "calls.log", "-q").code == 3
    assert {(line["status"], line["error"]) for line in lines(bulklink.folder / "calls.log")} == {
        (None, "nothing accepts connections there")
    }


def test_the_log_is_appended_to_and_can_be_set_in_a_job_file(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], contact.a))
    (connected_command.folder / "job.toml").write_text(
        'op = "link"\nmapping = "m.csv"\nlog = "calls.log"\n', "utf-8"
    )
    assert connected_command("run", "job.toml").code == 0
    once = len(lines(connected_command.folder / "calls.log"))
    assert connected_command("run", "job.toml").code in (0, 1)
    assert len(lines(connected_command.folder / "calls.log")) > once
    assert connected_command("status").code == 0
    both = len(lines(connected_command.folder / "calls.log"))
    assert connected_command("link", "m.csv").code in (0, 1)
    assert len(lines(connected_command.folder / "calls.log")) == both


def test_signing_in_and_out_is_logged_without_its_secrets(
    bulklink: Command, emulator: Emulator
) -> None:
    place = {"BULKLINK_API_URL": emulator.url, "BULKLINK_ACCOUNTS_URL": emulator.url}
    client = {"BULKLINK_CLIENT_ID": "demo", "BULKLINK_CLIENT_SECRET": "demo"}
    command = bulklink.with_env(**place, **client, BULKLINK_GRANT_CODE="demo", BULKLINK_LOG="c.log")
    assert command("auth", "login").code == 0
    assert bulklink("auth", "status", "--log", "c.log").code == 0
    assert bulklink("auth", "logout", "--log", "c.log").code == 0
    paths = [line["path"] for line in lines(bulklink.folder / "c.log")]
    assert paths[0] == "/oauth/v2/token"
    assert paths[-2:] == ["/crm/v8/org", "/oauth/v2/token/revoke"]
    assert "1000." not in (bulklink.folder / "c.log").read_text("utf-8")


@pytest.mark.parametrize("path", ["missing/calls.log", "."])
def test_a_log_that_cannot_be_written_is_refused_before_anything_is_sent(
    connected_command: Command, contact: Contact, path: str
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:1], contact.a))
    result = connected_command("link", "m.csv", "--log", path, "--json")
    assert result.code == 2, result
    assert "log" in " ".join(result.error.values())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_ends_the_log_but_not_the_run(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:2], contact.a))
    result = connected_command("link", "m.csv", "--log", "/dev/full")
    assert result.code == 0, result
    assert result.err.count("the log ends here") == 1
