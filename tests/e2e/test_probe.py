"""`bulklink probe` and `bulklink emulator --like`, as a user runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from bulklink.emulator.like import PROBED_SETTINGS
from bulklink.emulator.settings import Settings
from tests.e2e.command import Command, ensure_terminated, interrupt_and_wait, wait_for_exit
from tests.e2e.servers import Emulator, serve_world_file
from tests.probed_world import ANA, MAX, PRIVATE, ROLE, TOM, world_file

RECORDS = ("--other-contact", TOM, "--role-deal", ROLE, "--private-email", PRIVATE)
PRIVATE_MAILBOXES = ("--private-mailboxes", MAX)
MIXED_ANSWERS = (
    "status=400,applied=no,shape=nested,named=json-path,good=empty,order=sent",
    "status=207,applied=yes,shape=flat,named=message-id,good=success,order=reversed",
    "status=200,applied=yes,shape=nested,named=both,good=omitted,order=shuffled",
    "status=207,applied=no,shape=call,named=none,good=omitted,order=sent",
)
"""Together they have every value of every part."""
_NOT_HERE = frozenset(
    {"link_touches", "link_credits", "read_credits", "too_many_body", "retry_after"}
)
"""Settings that take seconds or many credits to show; tests/simulation has them."""


def nth_options(number: int) -> dict[str, str]:
    """Return options with the n-th value of each setting; four times, that is every value."""
    hints = get_type_hints(Settings)
    options = {"mixed-answer": MIXED_ANSWERS[number]}
    for name in sorted(PROBED_SETTINGS - _NOT_HERE):
        values = get_args(hints[name]) if get_origin(hints[name]) is Literal else ("crm_ui",)
        assert len(values) <= len(MIXED_ANSWERS), name
        options[name.replace("_", "-")] = values[number % len(values)]
    return options


@pytest.fixture
def world(tmp_path: Path) -> Path:
    file = tmp_path / "world.json"
    file.write_text(json.dumps(world_file()), "utf-8")
    return file


@pytest.fixture
def org(world: Path) -> Iterator[Emulator]:
    """Serve the world with a latency that leaves time to interrupt a probe."""
    with serve_world_file(world, "--latency", "0.03") as emulator:
        yield emulator


def probe(bulklink: Command, emulator: Emulator, file: str) -> dict[str, Any]:
    """Probe an emulator; check that its links are as before, and return the answers."""
    before = emulator.state()["digest"]
    command = bulklink.with_env(**emulator.env())
    result = command("probe", ANA, *RECORDS, "-o", file, "--settle-after", "0", "--json")
    assert (result.code, emulator.state()["digest"]) == (0, before), result
    assert result.object["file"] == file
    return {row["key"]: row["answer"] for row in result.object["answers"]}


@pytest.mark.parametrize("number", range(len(MIXED_ANSWERS)))
def test_an_emulator_behaves_like_the_org_that_was_probed(
    number: int, bulklink: Command, world: Path
) -> None:
    wanted = nth_options(number)
    arguments = [word for name, value in wanted.items() for word in (f"--{name}", value)]
    with serve_world_file(world, *PRIVATE_MAILBOXES, *arguments) as emulator:
        answers = probe(bulklink, emulator, "probe.json")
    for part in wanted.pop("mixed-answer").split(","):
        name, _, value = part.partition("=")
        wanted[f"mixed-{name}"] = value
    different = {key: answers[key] for key, value in wanted.items() if answers[key] != value}
    assert all(answer is None for answer in different.values()), different
    assert different.keys() <= {"link-source", "long-names", "mixed-order"}
    like = ("--like", str(bulklink.folder / "probe.json"))
    with serve_world_file(world, *PRIVATE_MAILBOXES, *like) as emulator:
        assert probe(bulklink, emulator, "again.json") == answers


def test_an_option_takes_precedence_over_the_probed_org(bulklink: Command, world: Path) -> None:
    file = bulklink.folder / "probe.json"
    answers = {"same-deal": {"answer": "success"}, "unlinked": {"answer": "invalid-data"}}
    file.write_text(json.dumps({"version": 1, "answers": answers}))
    with serve_world_file(world, "--like", str(file), "--same-deal", "already-linked") as emulator:
        found = probe(bulklink, emulator, "again.json")
    assert (found["same-deal"], found["unlinked"]) == ("already-linked", "invalid-data")


def test_the_answers_are_a_table_and_what_is_unknown_has_a_reason(
    bulklink: Command, org: Emulator
) -> None:
    result = bulklink.with_env(**org.env())("probe", ANA, "--settle-after", "0")
    assert result.code == 0, result
    lines = [line.split("  ") for line in result.out.splitlines()]
    row = next(line for line in lines if "on no deal?" in line[1])
    assert [cell.strip() for cell in row if cell] == [
        "What is the answer to unlinking an email on no deal?",
        "success",
        "--unlinked",
    ]
    assert "A probe takes at most " in result.err
    assert "Unknown: foreign-deals. It needs a deal of another contact" in result.err
    assert "To rehearse: `bulklink emulator --like probe.json`" in result.err
    again = bulklink.with_env(**org.env())("probe", ANA)
    assert (again.code, "already exists" in again.err) == (2, True)


def test_a_killed_probe_is_put_back_by_the_next_command(bulklink: Command, org: Emulator) -> None:
    before, command = org.state()["digest"], bulklink.with_env(**org.env())
    with ensure_terminated(command.start("probe", ANA, "--progress", "none")) as process:
        _wait_for_changes(org, process)
        process.kill()
        process.wait()
    assert (bulklink.folder / "probe.json.probing").exists()
    result = command("probe", "--put-back", "--settle-after", "0.1")
    assert (result.code, org.state()["digest"]) == (0, before), result
    assert "as before the probe." in result.err
    assert not list(bulklink.folder.glob("probe*"))


def test_ctrl_c_puts_the_emails_back(bulklink: Command, org: Emulator) -> None:
    before, command = org.state()["digest"], bulklink.with_env(**org.env())
    with ensure_terminated(command.start("probe", ANA, "--progress", "none")) as process:
        _wait_for_changes(org, process)
        interrupt_and_wait(process)
        result = wait_for_exit(process)
    assert (result.code, org.state()["digest"]) == (130, before), result
    assert "as before the probe." in result.err
    assert not list(bulklink.folder.glob("probe*"))


def _wait_for_changes(org: Emulator, process: subprocess.Popen[str]) -> None:
    """Wait until an odd number of changes was made, so that an email is not as it was."""
    while process.poll() is None:
        changes = org.state()["changes"]
        if changes > 2 and changes % 2:
            return
    raise AssertionError("the probe ended before it was interrupted")


@pytest.mark.parametrize(
    ("arguments", "env", "code", "problem"),
    [
        (("probe",), {}, 2, "No contact is named."),
        (("probe", "Ana"), {}, 2, "is not an id"),
        (("probe", ANA, "-o", "none/probe.json"), {}, 2, "none"),
        (("probe", ANA), {"BULKLINK_REFRESH_TOKEN": "wrong"}, 3, "refresh token"),
        (("probe", ANA), {"BULKLINK_API_URL": "", "BULKLINK_DC": "eu"}, 2, "in production"),
        (("probe", "--put-back"), {}, 0, "nothing to put back"),
    ],
    ids=["no contact", "no id", "no folder", "token", "production", "no probe"],
)
def test_what_cannot_be_probed_is_said_and_leaves_nothing(
    arguments: tuple[str, ...],
    env: dict[str, str],
    code: int,
    problem: str,
    connected_command: Command,
) -> None:
    result = connected_command.with_env(**env)(*arguments)
    assert (result.code, problem in result.err) == (code, True), result
    assert not list(connected_command.folder.glob("probe*"))
