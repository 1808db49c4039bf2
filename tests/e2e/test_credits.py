"""Credits over a socket: exit 4, resume, waiting, and commands that share a day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.audit import assert_crm_matches, audit_run
from tests.e2e.command import (
    Command,
    CommandResult,
    ensure_terminated,
    free_rows,
    interrupt,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import Emulator, serve_world
from tests.e2e.world import World

CONTACTS = 12


@pytest.fixture
def local_emulator(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Serve contacts with an email each to link and to relink, with the test's options."""
    world = World()
    for _ in range(CONTACTS):
        world.add(free=1, linked=1)
    with serve_world(world, tmp_path, *getattr(request, "param", ())) as server:
        yield server


@pytest.fixture
def command(bulklink: Command, local_emulator: Emulator) -> Command:
    contacts = local_emulator.world.contacts
    write_mapping(bulklink.folder / "link.csv", free_rows(contacts))
    linked_rows = [line for contact in contacts for line in rows(contact.linked, contact.b)]
    write_mapping(bulklink.folder / "relink.csv", linked_rows)
    return bulklink.with_env(**local_emulator.env())


def count_credits(local_emulator: Emulator) -> int:
    calls = local_emulator.state()["calls"]
    return sum(count for kind, count in calls.items() if kind != "token")


def assert_stopped(result: CommandResult, folder: Path, by: str) -> dict[str, object]:
    assert result.code == 4, result
    run = audit_run(result, folder, CONTACTS)
    assert (run.summary["state"], run.summary["stopped_by"]) == ("stopped", by)
    return dict(run.summary)


@pytest.mark.parametrize("local_emulator", [("--credits", "9")], indirect=True)
def test_a_run_without_credits_exits_with_4_and_shows_when_to_resume(
    command: Command, local_emulator: Emulator
) -> None:
    result = command("link", "link.csv", "--run-dir", "r", "--json")
    shown = assert_stopped(result, command.folder, "credits")
    assert count_credits(local_emulator) <= 9 + 10
    kept = json.loads((command.folder / "r" / "run.json").read_text("utf-8"))
    assert str(shown["resume_at"]) == kept["resume_at"] > kept["invocations"][0]["started"]
    assert "--when-credits-out wait" in result.err
    assert command("status", "r", "--json").object["resume_at"] == shown["resume_at"]
    before = count_credits(local_emulator)
    again = command("resume", "r", "--json")
    assert again.code == 4
    assert str(shown["resume_at"]) in again.err
    assert count_credits(local_emulator) <= before + 1


def test_max_credits_caps_each_command_and_no_relink_is_torn(
    command: Command, local_emulator: Emulator
) -> None:
    before, links = count_credits(local_emulator), local_emulator.links()
    result = command("relink", "relink.csv", "--run-dir", "r", "--max-credits", "17", "--json")
    shown = assert_stopped(result, command.folder, "max-credits")
    assert shown["resume_at"] is None
    assert count_credits(local_emulator) - before <= 17
    linked = [email.message for one in local_emulator.world.contacts for email in one.linked]
    assert None not in {local_emulator.links()[message] for message in linked}
    done = command("resume", "r", "--json")
    assert done.code == 0, done
    assert_crm_matches(audit_run(done, command.folder, CONTACTS), links, local_emulator.links())


def test_two_commands_share_the_24_hour_limit_and_a_third_makes_no_call(
    command: Command, local_emulator: Emulator
) -> None:
    options = ("--credits-per-day", "20", "--wait-for-org", "--json")
    with (
        ensure_terminated(command.start("link", "link.csv", "--run-dir", "a", *options)) as one,
        ensure_terminated(command.start("relink", "relink.csv", "--run-dir", "b", *options)) as two,
    ):
        codes = {wait_for_exit(one).code, wait_for_exit(two).code}
    assert codes <= {0, 4}
    assert 4 in codes
    assert 15 <= count_credits(local_emulator) <= 20
    for run in ("a", "b"):
        if command("status", run, "--json").object["state"] == "stopped":
            assert command("resume", run, "--json").code == 4
    assert count_credits(local_emulator) <= 20, "the day is asked before the CRM is"


def test_a_new_run_makes_no_call_once_the_24_hour_limit_is_spent(
    command: Command, local_emulator: Emulator
) -> None:
    options = ("--credits-per-day", "5", "--json")
    assert [command("link", "link.csv", *options).code for _ in range(3)] == [4, 4, 4]
    assert count_credits(local_emulator) == 5


@pytest.mark.parametrize(
    "local_emulator",
    [("--credits", "9", "--credit-window", "2", "--retry-after", "on")],
    indirect=True,
)
def test_a_run_that_waits_for_credits_continues(command: Command, local_emulator: Emulator) -> None:
    result = command(
        *("link", "link.csv", "--json", "--when-credits-out", "wait"),
        *("--progress", "lines"),
    )
    assert result.code == 0, result
    assert "Waiting for credits until" in result.err
    audit_run(result, command.folder, CONTACTS)


@pytest.mark.parametrize("local_emulator", [("--credits", "9")], indirect=True)
def test_ctrl_c_ends_the_wait_immediately_with_130(
    command: Command, local_emulator: Emulator
) -> None:
    start = command.start(
        *("link", "link.csv", "--run-dir", "r", "--json"),
        *("--when-credits-out", "wait", "--progress", "lines"),
    )
    with ensure_terminated(start) as process:
        assert process.stderr is not None
        while "Waiting for credits until" not in process.stderr.readline():
            assert process.poll() is None
        shown = command("status", "r", "--json").object
        assert (shown["state"], shown["resume_at"] is None) == ("running", False)
        interrupt(process)
        result = wait_for_exit(process, timeout=10)
    assert result.code == 130, result
    assert result.object["resume_at"] is None
    kept = json.loads((command.folder / "r" / "run.json").read_text("utf-8"))
    assert kept["limited"]["by"] == "credits"


def test_a_reserve_that_leaves_nothing_to_spend_is_refused(command: Command) -> None:
    result = command(
        *("link", "link.csv", "--credits-per-day", "50", "--reserve-credits", "50", "--json"),
    )
    assert result.code == 2, result
    assert result.error["code"] == "usage"


def test_a_daily_limit_that_cannot_be_counted_is_refused(command: Command) -> None:
    (command.folder / "state").write_text("a file", "utf-8")
    result = command("link", "link.csv", "--credits-per-day", "5", "--json")
    assert result.code == 2, result
    assert result.error["code"] == "config"
    assert command("link", "link.csv", "--json").code == 0, "without a limit nobody needs it"
