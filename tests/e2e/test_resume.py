"""Resuming a run after a kill, a full disk or a refusal, here or on another machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.audit import AuditedRun, assert_crm_matches, audit_run, mode
from tests.e2e.command import (
    Command,
    ensure_terminated,
    free_rows,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import (
    Emulator,
    ReceivedRequest,
    Reply,
    Script,
    StandIn,
    error,
    hold_calls,
    item_error,
    serve_stand_in,
)
from tests.e2e.terminals import run_at_terminal
from tests.e2e.world import Contact, World

HELD = 4
QUICK = ("--settle-after", "0", "--rate", "off")


@contextmanager
def run_held_in_flight(
    bulklink: Command, standin: StandIn, world: World, op: str, kind: str, contacts: int = 20
) -> Iterator[subprocess.Popen[str]]:
    """Start a run and yield it while calls of a kind are held in flight."""
    world_contacts = [world.add(free=20, linked=5) for _ in range(contacts)]
    standin.script = hold_calls(standin, kind, after=HELD)
    mapping_rows = [line for contact in world_contacts for line in rows(contact.emails, contact.b)]
    write_mapping(bulklink.folder / "m.csv", mapping_rows)
    command = bulklink.with_env(**standin.env())
    arguments = (op, "m.csv", "--run-dir", "here", "--json", "--concurrency", str(HELD))
    with ensure_terminated(command.start(*arguments, "--rate", "off")) as process:
        standin.wait_until(lambda: standin.in_flight[kind] == HELD)
        yield process
    standin.gate.set()
    standin.wait_until(lambda: not standin.in_flight.total())


@pytest.mark.parametrize(("op", "kind"), [("link", "link"), ("relink", "link")])
def test_a_resume_after_a_kill_finishes_without_sending_finished_emails(
    bulklink: Command, standin: StandIn, world: World, op: str, kind: str
) -> None:
    with run_held_in_flight(bulklink, standin, world, op, kind) as process:
        process.kill()
        process.wait(10)
    before = [json.loads(line) for line in _whole_lines(bulklink.folder / "here")]
    done = {line["message_id"] for line in before if line["event"] == "result"}
    sent = len(standin.requests)
    (bulklink.folder / "m.csv").unlink()
    result = bulklink.with_env(**standin.env())("resume", "here", "--json", *QUICK)
    run = audit_run(result, bulklink.folder, 500)
    assert run.summary["state"] == "finished"
    assert done
    again = {m for call in standin.requests[sent:] if call.kind in ("link", "unlink") for m in
             call.messages}  # fmt: skip
    assert not again & done
    assert_crm_matches(run, world.links(), standin.links())


def _whole_lines(folder: Path) -> list[bytes]:
    content = (folder / "ledger.jsonl").read_bytes()
    return [line for line in content.splitlines(True) if line.endswith(b"\n")]


def test_a_torn_last_line_is_moved_to_its_own_file(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "link", "link", contacts=10) as process:
        process.kill()
        process.wait(10)
    with (bulklink.folder / "here" / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"event":"result","ts":"20')
    result = bulklink.with_env(**standin.env())("resume", "here", "--json", *QUICK)
    audit_run(result, bulklink.folder, 250)
    torn = (bulklink.folder / "here" / "ledger.torn").read_bytes()
    # The kill may have torn a line itself, to which this line was added.
    assert torn.endswith(b'{"event":"result","ts":"20\n')


def test_a_running_run_is_locked(bulklink: Command, standin: StandIn, world: World) -> None:
    with run_held_in_flight(bulklink, standin, world, "link", "link", contacts=10):
        for command in ("resume", "retry"):
            result = bulklink.with_env(**standin.env()).run_in_subprocess(
                command, "here", "--json", timeout=20
            )
            assert result.code == 2, result
            assert result.error["code"] == "locked"


def test_a_run_between_the_halves_of_relinks_names_them_first(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "relink", "link", contacts=10) as process:
        process.kill()
        process.wait(10)
    first = bulklink("status", "here").out.splitlines()[0]
    assert first.startswith("Between the halves of a relink: row ")
    assert f"(was on deal {world.contacts[0].a})" in first or "more" in first
    assert "bulklink resume here" in first
    result = bulklink("status", "here", "--json")
    assert set(result.object) >= {"state", "counts"}
    assert "Between the halves" in result.err
    bulklink.with_env(**standin.env())("resume", "here", "--json", *QUICK)
    assert "Between" not in bulklink("status", "here").out


def _run_to_end(
    bulklink: Command, standin: StandIn, contact: Contact, *options: str, op: str = "link"
) -> AuditedRun:
    emails = contact.free if op == "link" else contact.linked
    write_mapping(bulklink.folder / "m.csv", rows(emails, contact.b))
    result = bulklink.with_env(**standin.env())(
        op, "m.csv", "--run-dir", "here", "--json", *options
    )
    return audit_run(result, bulklink.folder)


@pytest.mark.parametrize("code", [0, 1])
def test_a_finished_run_is_left_unchanged_and_exits_by_its_counts(
    bulklink: Command, standin: StandIn, world: World, code: int
) -> None:
    contact = world.add(free=3)
    standin.script = _refuse_message(contact.free[0].message if code else "", 9)
    run = _run_to_end(bulklink, standin, contact)
    kept, sent = (run.folder / "ledger.jsonl").read_bytes(), len(standin.requests)
    result = bulklink.with_env(**standin.env())("resume", "here", "--json")
    assert result.code == code == result.object["exit_code"]
    assert (run.folder / "ledger.jsonl").read_bytes() == kept
    assert len(standin.requests) == sent


def _refuse_message(message: str, times: int) -> Script:
    """Return a script that refuses one email n times."""
    times_left = [times]

    async def refuse(request: ReceivedRequest) -> Reply | None:
        if request.kind != "link" or message not in request.messages or not times_left[0]:
            return None
        times_left[0] -= 1
        return Reply(400, {"Emails": [item_error("NOT_ALLOWED", message)]})

    return refuse


def test_retry_sends_failed_emails_again_in_the_same_folder(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    bad = contact.free[1].message
    standin.script = _refuse_message(bad, 1)
    assert _run_to_end(bulklink, standin, contact).counts == {"done": 2, "failed": 1}
    sent = len(standin.requests_of("link"))
    command = bulklink.with_env(**standin.env())
    other = command("retry", "here", "--code", "INVALID_DATA", "--json")
    assert (other.code, len(standin.requests_of("link"))) == (1, sent)
    result = command("retry", "here", "--code", "NOT_ALLOWED", "--json")
    assert result.code == 0, result
    assert result.object["counts"]["done"] == 3
    assert [call.messages for call in standin.requests_of("link")[sent:]] == [[bad]]
    results = [line for line in AuditedRun(bulklink.folder / "here", {}).lines("result")
               if line["message_id"] == bad]  # fmt: skip
    assert [line["status"] for line in results] == ["failed", "done"]


@pytest.mark.parametrize(
    "options",
    [("--batch-size", "5"), ("--on-invalid", "skip"), ("--no-names",), ("--group-by", "contact"),
     ("--single-endpoint",), ("--column", "contact_id=x"), ("--only", "x")],
    ids=lambda options: options[0],
)  # fmt: skip
@pytest.mark.parametrize("command", ["resume", "retry"])
def test_options_that_would_change_the_plan_are_refused(
    bulklink: Command, command: str, options: tuple[str, ...]
) -> None:
    result = bulklink(command, "here", *options, "--json")
    assert result.code == 2
    assert result.error["code"] == "usage"
    assert options[0] in result.error["message"]


def test_a_refused_run_cannot_be_resumed(bulklink: Command, standin: StandIn, world: World) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, "abc"))
    command = bulklink.with_env(**standin.env())
    assert command("link", "m.csv", "--run-dir", "here").code == 2
    for again in ("resume", "retry"):
        result = command(again, "here", "--json")
        assert (result.code, result.error["code"]) == (2, "run-dir")
    assert not standin.requests


def test_another_org_is_refused_and_both_are_named(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "link", "link", contacts=6) as process:
        process.kill()
        process.wait(10)

    async def elsewhere(seen: ReceivedRequest) -> Reply | None:
        org = {"id": "77", "company_name": "Elsewhere", "zgid": "7", "type": "Sandbox"}
        return Reply(body={"org": [org]}) if seen.kind == "org" else None

    standin.script = elsewhere
    kept, sent = (
        bulklink("status", "here", "--json").object,
        len(standin.requests_of("link", "read")),
    )
    result = bulklink.with_env(**standin.env())("resume", "here", "--json")
    assert (result.code, result.error["code"]) == (2, "wrong-org")
    assert "Stand-in (58)" in result.error["message"]
    assert "Elsewhere (77)" in result.error["message"]
    assert len(standin.requests_of("link", "read")) == sent
    after = bulklink("status", "here", "--json").object
    assert after["counts"] == kept["counts"]
    far = bulklink.with_env(**standin.env(BULKLINK_API_URL="https://www.zohoapis.eu"))
    result = far("resume", "here", "--json")
    assert (result.code, result.error["code"]) == (2, "wrong-org")
    assert "127.0.0.1" in result.error["message"]
    assert "www.zohoapis.eu" in result.error["message"]


def test_a_copied_run_folder_can_be_resumed_elsewhere(
    bulklink: Command, standin: StandIn, world: World, tmp_path: Path
) -> None:
    with run_held_in_flight(bulklink, standin, world, "relink", "link", contacts=6) as process:
        process.kill()
        process.wait(10)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(bulklink.folder / "here", elsewhere / "copy")
    shutil.rmtree(bulklink.folder / "here")
    with serve_stand_in(world) as other:  # the same CRM on another port
        other.deals = standin.links()
        command = replace(bulklink, folder=elsewhere).with_env(**other.env())
        run = audit_run(command("resume", "copy", "--json", *QUICK), elsewhere, 150)
        assert run.summary["state"] == "finished"
        assert_crm_matches(run, world.links(), other.links())


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_stops_the_run_and_a_resume_settles_calls_in_flight(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=20) for _ in range(40)]
    given = free_rows(many)
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env())
    limited = f"ulimit -f 200; exec {sys.executable} -m bulklink link m.csv --run-dir here --json"
    process = subprocess.Popen(
        ["bash", "-c", limited],
        cwd=bulklink.folder,
        env=command.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    result = wait_for_exit(process)
    assert result.code == 3, result
    assert result.object["stopped_by"] == "ledger"
    assert "Cannot write the ledger" in result.err
    assert 0 < result.object["counts"]["pending"] < 800
    run = audit_run(command("resume", "here", "--json", *QUICK), bulklink.folder, 800)
    assert run.counts == {"done": 800}
    assert_crm_matches(run, world.links(), standin.links())


def test_without_reading_back_emails_stay_in_doubt(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3)

    async def fail(seen: ReceivedRequest) -> Reply | None:
        return error(500, "INTERNAL_ERROR") if seen.kind == "unlink" else None

    standin.script = fail
    options = ("--read-back", "never", "--no-snapshot")
    run = _run_to_end(bulklink, standin, contact, *options, op="unlink")
    assert run.summary["exit_code"] == 1
    assert run.counts == {"in_doubt": 3}
    assert {line["code"] for line in run.results.values()} == {"no-answer"}
    assert run.calls["read"] == 0
    standin.script = _refuse_message("", 0)
    again = bulklink.with_env(**standin.env())
    assert again("retry", "here", "--json", *QUICK).object["counts"]["in_doubt"] == 3
    result = again("retry", "here", "--json", "--read-back", "auto", *QUICK)
    assert result.object["counts"]["done"] == 3
    assert set(standin.links().values()) == {None}


async def refuse_links(seen: ReceivedRequest) -> Reply | None:
    """Refuse every email of a link call."""
    if seen.kind != "link":
        return None
    return Reply(400, {"Emails": [item_error("NOT_ALLOWED", name) for name in seen.messages]})


def test_emails_that_an_undo_put_back_are_named_no_more(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=2)
    before = world.links()
    standin.script = refuse_links
    _run_to_end(bulklink, standin, contact, op="relink")
    standin.script = _refuse_message("", 0)
    assert "Off its deal" in bulklink("status", "here").out
    command = bulklink.with_env(**standin.env())
    assert command("undo", "here", "--run-dir", "back", "--json", *QUICK).code == 0
    assert standin.links() == before
    assert "Off its deal" not in bulklink("status", "here").out


def test_emails_that_shards_did_not_put_back_are_named_first(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(linked=1) for _ in range(8)]
    write_mapping(
        bulklink.folder / "m.csv", [line for c in contacts for line in rows(c.linked, c.b)]
    )
    command = bulklink.with_env(**standin.env())
    assert command("plan", "--op", "relink", "m.csv", "--shards", "2", "--run-dir", "job").code == 0
    standin.script = refuse_links
    command("apply", "job", "--json", "--max-failures", "off", *QUICK)
    first, *_ = bulklink("status", "job").out.splitlines()
    assert first.startswith("Off its deal, and putting it back failed: shard-1, row ")
    assert "`bulklink retry job --code put-back-failed`" in first


def test_emails_not_put_back_are_named_first_in_red(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=2)
    standin.script = refuse_links
    run = _run_to_end(bulklink, standin, contact, op="relink")
    assert {line["code"] for line in run.results.values()} == {"put-back-failed"}
    first = run_at_terminal(bulklink, "status", "here").splitlines()[0]
    assert first.startswith("\x1b[31m\x1b[1mOff its deal, and putting it back failed: row 1")
    assert f"row 2 (was on deal {contact.a})" in first
    standin.script = _refuse_message("", 0)
    result = bulklink.with_env(**standin.env())("retry", "here", "--code", "put-back-failed")
    assert result.code == 0
    assert result.out.startswith("relink: finished")
    assert set(standin.links().values()) == {contact.b}


def test_a_refused_refresh_token_stops_a_resume(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "link", "link", contacts=6) as process:
        process.kill()
        process.wait(10)
    shutil.rmtree(bulklink.folder / "state")

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        return Reply(200, {"error": "invalid_code"}) if seen.kind == "token" else None

    standin.script = refuse
    result = bulklink.with_env(**standin.env())("resume", "here", "--json")
    assert result.code == 3, result
    assert result.object["stopped_by"] == "fatal"
    assert "invalid_code" in result.err


def test_a_token_is_stored_between_runs_readable_only_by_its_user(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    before = _tokens(emulator)
    for number in range(3):
        mapping = write_mapping(
            connected_command.folder / "m.csv", rows(contact.free[number:][:1], contact.a)
        )
        assert connected_command("link", mapping).code == 0
    assert _tokens(emulator) == before + 1
    (kept,) = (connected_command.folder / "state").rglob("tokens/*.json")
    assert (mode(kept), mode(kept.parent)) == (0o600, 0o700)


def test_two_concurrent_processes_request_one_token(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    before = _tokens(emulator)
    processes = []
    for number in range(2):
        name = f"m{number}.csv"
        write_mapping(connected_command.folder / name, rows(contact.free[number:][:1], contact.a))
        processes.append(connected_command.start("link", name, "--wait-for-org", "--json"))
    assert [wait_for_exit(process).code for process in processes] == [0, 0]
    assert _tokens(emulator) == before + 1


def _tokens(emulator: Emulator) -> int:
    """Return the number of token requests to the emulator."""
    return int(emulator.state()["calls"].get("token", 0))
