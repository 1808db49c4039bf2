"""Going on with a run: after a kill, a full disk or a refusal, here or on another machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from .audit import Run, agrees, audited, mode
from .command import Command, ended, put_down, rows, write_mapping
from .servers import Emulator, Reply, Script, Seen, StandIn, error, item_error, standing_in
from .world import Contact, World

HELD = 4
QUICK = ("--settle-after", "0", "--rate", "off")


@contextmanager
def held(
    bulklink: Command, standin: StandIn, world: World, op: str, kind: str, contacts: int = 20
) -> Iterator[subprocess.Popen[str]]:
    """Start a run and lend it when calls of a kind are held in flight; afterwards none is."""

    async def hold(seen: Seen) -> Reply | None:
        if seen.kind == kind and seen.number > HELD:
            await standin.opened()
        return None

    many = [world.add(free=20, linked=5) for _ in range(contacts)]
    standin.script = hold
    given = [line for one in many for line in rows(one.emails, one.b)]
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.given(**standin.env())
    arguments = (op, "m.csv", "--run-dir", "here", "--json", "--concurrency", str(HELD))
    with put_down(command.start(*arguments, "--rate", "off")) as process:
        standin.wait(lambda: standin.in_flight[kind] == HELD)
        yield process
    standin.gate.set()
    standin.wait(lambda: not standin.in_flight.total())


@pytest.mark.parametrize(("op", "kind"), [("link", "link"), ("relink", "link")])
def test_after_a_kill_a_resume_ends_the_run_and_sends_nothing_that_was_done(
    bulklink: Command, standin: StandIn, world: World, op: str, kind: str
) -> None:
    with held(bulklink, standin, world, op, kind) as process:
        process.kill()
        process.wait(10)
    before = [json.loads(line) for line in _whole_lines(bulklink.folder / "here")]
    done = {line["message_id"] for line in before if line["event"] == "result"}
    sent = len(standin.seen)
    (bulklink.folder / "m.csv").unlink()
    told = bulklink.given(**standin.env())("resume", "here", "--json", *QUICK)
    run = audited(told, bulklink.folder, 500)
    assert run.shown["state"] == "finished"
    assert done
    again = {m for call in standin.seen[sent:] if call.kind in ("link", "unlink") for m in
             call.messages}  # fmt: skip
    assert not again & done
    agrees(run, world.links(), standin.links())


def _whole_lines(folder: Path) -> list[bytes]:
    content = (folder / "ledger.jsonl").read_bytes()
    return [line for line in content.splitlines(True) if line.endswith(b"\n")]


def test_a_torn_last_line_is_cut_off_and_kept(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with held(bulklink, standin, world, "link", "link", contacts=10) as process:
        process.kill()
        process.wait(10)
    with (bulklink.folder / "here" / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"event":"result","ts":"20')
    told = bulklink.given(**standin.env())("resume", "here", "--json", *QUICK)
    audited(told, bulklink.folder, 250)
    torn = (bulklink.folder / "here" / "ledger.torn").read_bytes()
    # The kill can have torn a line of its own, to which this one was added.
    assert torn.endswith(b'{"event":"result","ts":"20\n')


def test_a_run_that_is_driven_is_locked(bulklink: Command, standin: StandIn, world: World) -> None:
    with held(bulklink, standin, world, "link", "link", contacts=10):
        for command in ("resume", "retry"):
            told = bulklink.given(**standin.env()).alone(command, "here", "--json", within=20)
            assert told.code == 2, told
            assert told.error["code"] == "locked"


def test_a_run_between_the_halves_of_relinks_names_them_first(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with held(bulklink, standin, world, "relink", "link", contacts=10) as process:
        process.kill()
        process.wait(10)
    first = bulklink("status", "here").out.splitlines()[0]
    assert first.startswith("Between the halves of a relink: row ")
    assert f"(was on deal {world.contacts[0].a})" in first or "more" in first
    assert "bulklink resume here" in first
    told = bulklink("status", "here", "--json")
    assert set(told.object) >= {"state", "counts"}
    assert "Between the halves" in told.err
    bulklink.given(**standin.env())("resume", "here", "--json", *QUICK)
    assert "Between" not in bulklink("status", "here").out


def _finished(
    bulklink: Command, standin: StandIn, contact: Contact, *options: str, op: str = "link"
) -> Run:
    emails = contact.free if op == "link" else contact.linked
    write_mapping(bulklink.folder / "m.csv", rows(emails, contact.b))
    told = bulklink.given(**standin.env())(op, "m.csv", "--run-dir", "here", "--json", *options)
    return audited(told, bulklink.folder)


@pytest.mark.parametrize("code", [0, 1])
def test_a_finished_run_is_left_as_it_is_and_ends_by_its_counts(
    bulklink: Command, standin: StandIn, world: World, code: int
) -> None:
    contact = world.add(free=3)
    standin.script = _refusing(contact.free[0].message if code else "", 9)
    run = _finished(bulklink, standin, contact)
    kept, sent = (run.folder / "ledger.jsonl").read_bytes(), len(standin.seen)
    told = bulklink.given(**standin.env())("resume", "here", "--json")
    assert told.code == code == told.object["exit_code"]
    assert (run.folder / "ledger.jsonl").read_bytes() == kept
    assert len(standin.seen) == sent


def _refusing(message: str, times: int) -> Script:
    """Return a script that refuses one email by name so many times."""
    left = [times]

    async def refuse(seen: Seen) -> Reply | None:
        if seen.kind != "link" or message not in seen.messages or not left[0]:
            return None
        left[0] -= 1
        return Reply(400, {"Emails": [item_error("NOT_ALLOWED", message)]})

    return refuse


def test_retry_sends_what_failed_again_in_the_same_folder(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    bad = contact.free[1].message
    standin.script = _refusing(bad, 1)
    assert _finished(bulklink, standin, contact).counts == {"done": 2, "failed": 1}
    sent = len(standin.of("link"))
    command = bulklink.given(**standin.env())
    other = command("retry", "here", "--code", "INVALID_DATA", "--json")
    assert (other.code, len(standin.of("link"))) == (1, sent)
    told = command("retry", "here", "--code", "NOT_ALLOWED", "--json")
    assert told.code == 0, told
    assert told.object["counts"]["done"] == 3
    assert [call.messages for call in standin.of("link")[sent:]] == [[bad]]
    results = [line for line in Run(bulklink.folder / "here", {}).lines("result")
               if line["message_id"] == bad]  # fmt: skip
    assert [line["status"] for line in results] == ["failed", "done"]


@pytest.mark.parametrize(
    "options",
    [("--batch-size", "5"), ("--on-invalid", "skip"), ("--no-names",), ("--group-by", "contact"),
     ("--single-endpoint",), ("--column", "contact_id=x"), ("--only", "x")],
    ids=lambda options: options[0],
)  # fmt: skip
@pytest.mark.parametrize("command", ["resume", "retry"])
def test_what_would_change_the_plan_is_refused(
    bulklink: Command, command: str, options: tuple[str, ...]
) -> None:
    told = bulklink(command, "here", *options, "--json")
    assert told.code == 2
    assert told.error["code"] == "usage"
    assert options[0] in told.error["message"]


def test_a_refused_run_cannot_go_on(bulklink: Command, standin: StandIn, world: World) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, "abc"))
    command = bulklink.given(**standin.env())
    assert command("link", "m.csv", "--run-dir", "here").code == 2
    for again in ("resume", "retry"):
        told = command(again, "here", "--json")
        assert (told.code, told.error["code"]) == (2, "run-dir")
    assert not standin.seen


def test_another_org_is_refused_and_both_are_named(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with held(bulklink, standin, world, "link", "link", contacts=6) as process:
        process.kill()
        process.wait(10)

    async def elsewhere(seen: Seen) -> Reply | None:
        org = {"id": "77", "company_name": "Elsewhere", "zgid": "7", "type": "Sandbox"}
        return Reply(body={"org": [org]}) if seen.kind == "org" else None

    standin.script = elsewhere
    kept, sent = bulklink("status", "here", "--json").object, len(standin.of("link", "read"))
    told = bulklink.given(**standin.env())("resume", "here", "--json")
    assert (told.code, told.error["code"]) == (2, "wrong-org")
    assert "Stand-in (58)" in told.error["message"]
    assert "Elsewhere (77)" in told.error["message"]
    assert len(standin.of("link", "read")) == sent
    after = bulklink("status", "here", "--json").object
    assert after["counts"] == kept["counts"]
    far = bulklink.given(**standin.env(BULKLINK_API_URL="https://www.zohoapis.eu"))
    told = far("resume", "here", "--json")
    assert (told.code, told.error["code"]) == (2, "wrong-org")
    assert "127.0.0.1" in told.error["message"]
    assert "www.zohoapis.eu" in told.error["message"]


def test_a_copied_run_folder_goes_on_elsewhere(
    bulklink: Command, standin: StandIn, world: World, tmp_path: Path
) -> None:
    with held(bulklink, standin, world, "relink", "link", contacts=6) as process:
        process.kill()
        process.wait(10)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(bulklink.folder / "here", elsewhere / "copy")
    shutil.rmtree(bulklink.folder / "here")
    with standing_in(world) as other:  # the same CRM on another port
        other.deals = standin.links()
        command = replace(bulklink, folder=elsewhere).given(**other.env())
        run = audited(command("resume", "copy", "--json", *QUICK), elsewhere, 150)
        assert run.shown["state"] == "finished"
        agrees(run, world.links(), other.links())


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_stops_the_run_and_a_resume_settles_what_was_in_flight(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(free=20) for _ in range(40)]
    given = [line for one in many for line in rows(one.free, one.a)]
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.given(**standin.env())
    limited = f"ulimit -f 200; exec {sys.executable} -m bulklink link m.csv --run-dir here --json"
    process = subprocess.Popen(
        ["bash", "-c", limited],
        cwd=bulklink.folder,
        env=command.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = ended(process)
    assert told.code == 3, told
    assert told.object["stopped_by"] == "ledger"
    assert "cannot be written" in told.err
    assert 0 < told.object["counts"]["pending"] < 800
    run = audited(command("resume", "here", "--json", *QUICK), bulklink.folder, 800)
    assert run.counts == {"done": 800}
    agrees(run, world.links(), standin.links())


def test_without_reading_back_what_is_in_doubt_stays_so(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3)

    async def fail(seen: Seen) -> Reply | None:
        return error(500, "INTERNAL_ERROR") if seen.kind == "unlink" else None

    standin.script = fail
    options = ("--read-back", "never", "--no-snapshot")
    run = _finished(bulklink, standin, contact, *options, op="unlink")
    assert run.shown["exit_code"] == 1
    assert run.counts == {"in_doubt": 3}
    assert {line["code"] for line in run.results.values()} == {"no-answer"}
    assert run.calls["read"] == 0
    standin.script = _refusing("", 0)
    told = bulklink.given(**standin.env())("retry", "here", "--json", *QUICK)
    assert told.object["counts"]["done"] == 3
    assert set(standin.links().values()) == {None}


def test_what_could_not_be_put_back_is_named_first_and_in_red(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=2)

    async def refuse(seen: Seen) -> Reply | None:
        if seen.kind != "link":
            return None
        refused = [item_error("NOT_ALLOWED", message) for message in seen.messages]
        return Reply(400, {"Emails": refused})

    standin.script = refuse
    run = _finished(bulklink, standin, contact, op="relink")
    assert {line["code"] for line in run.results.values()} == {"put-back-failed"}
    first = _at_a_terminal(bulklink, "status", "here").splitlines()[0]
    assert first.startswith("\x1b[31m\x1b[1mOff its deal, and putting it back failed: row 1")
    assert f"row 2 (was on deal {contact.a})" in first
    standin.script = _refusing("", 0)
    told = bulklink.given(**standin.env())("retry", "here", "--code", "put-back-failed")
    assert told.code == 0
    assert told.out.startswith("relink: finished")
    assert set(standin.links().values()) == {contact.b}


def _at_a_terminal(bulklink: Command, *arguments: str) -> str:
    """Return what a command shows at a terminal."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bulklink", *arguments],
        cwd=bulklink.folder,
        env=bulklink.environment(),
        stdout=theirs,
        stdin=subprocess.DEVNULL,
    )
    process.wait(20)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


def test_a_refused_refresh_token_stops_a_resume(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with held(bulklink, standin, world, "link", "link", contacts=6) as process:
        process.kill()
        process.wait(10)
    shutil.rmtree(bulklink.folder / "state")

    async def refuse(seen: Seen) -> Reply | None:
        return Reply(200, {"error": "invalid_code"}) if seen.kind == "token" else None

    standin.script = refuse
    told = bulklink.given(**standin.env())("resume", "here", "--json")
    assert told.code == 3, told
    assert told.object["stopped_by"] == "fatal"
    assert "invalid_code" in told.err


def test_a_token_is_kept_between_runs_for_its_user_alone(
    linker: Command, emulator: Emulator, contact: Contact
) -> None:
    before = _tokens(emulator)
    for number in range(3):
        mapping = write_mapping(linker.folder / "m.csv", rows(contact.free[number:][:1], contact.a))
        assert linker("link", mapping).code == 0
    assert _tokens(emulator) == before + 1
    (kept,) = (linker.folder / "state").rglob("*.json")
    assert (mode(kept), mode(kept.parent)) == (0o600, 0o700)


def test_two_processes_started_together_ask_for_one_token(
    linker: Command, emulator: Emulator, contact: Contact
) -> None:
    before = _tokens(emulator)
    processes = []
    for number in range(2):
        name = f"m{number}.csv"
        write_mapping(linker.folder / name, rows(contact.free[number:][:1], contact.a))
        processes.append(linker.start("link", name, "--json"))
    assert [ended(process).code for process in processes] == [0, 0]
    assert _tokens(emulator) == before + 1


def _tokens(emulator: Emulator) -> int:
    """Return how often the emulator was asked for a token."""
    return int(emulator.state()["calls"].get("token", 0))
