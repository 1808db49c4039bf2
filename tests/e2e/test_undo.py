"""`bulklink undo` restores every email that a run changed, and no other."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash
from tests.e2e.audit import AuditedRun, assert_crm_matches, audit_run
from tests.e2e.command import Command, CommandResult, ensure_terminated, row, rows, write_mapping
from tests.e2e.servers import ReceivedRequest, Reply, StandIn, item_error
from tests.e2e.world import UNKNOWN_ID, Contact, Email, World

QUICK = ("--settle-after", "0", "--rate", "off", "--json")


@pytest.fixture
def scripted_command(bulklink: Command, standin: StandIn) -> Command:
    """Return the command, connected to the stand-in."""
    return bulklink.with_env(**standin.env())


def run_mapping(
    scripted_command: Command, op: str, mapping_rows: list[Any], *options: str, name: str = "here"
) -> AuditedRun:
    """Run a mapping and return the run."""
    mapping = write_mapping(scripted_command.folder / "m.csv", mapping_rows)
    return audit_run(
        scripted_command(op, mapping, "--run-dir", name, *options, *QUICK), scripted_command.folder
    )


def undo_run(
    scripted_command: Command, name: str = "here", *options: str, undo_folder: str = "back"
) -> AuditedRun:
    """Undo a run and return the undo."""
    return audit_run(
        scripted_command("undo", name, "--run-dir", undo_folder, *options, *QUICK),
        scripted_command.folder,
    )


def mixed_rows(contact: Contact) -> list[Any]:
    """Return rows of every op about a contact's emails."""
    return [
        *rows(contact.free[:3], contact.b, op="link"),
        *rows(contact.linked[:3], op="unlink"),
        *rows(contact.linked[3:6], contact.b, op="relink"),
        *rows(contact.free[3:5], contact.b, op="relink"),
    ]


def test_every_op_is_undone_and_the_undo_can_be_undone(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=6, linked=8)
    before = world.links()
    run_mapping(scripted_command, "run", mixed_rows(contact), "--snapshot")
    after = standin.links()
    back = undo_run(scripted_command)
    assert back.counts == {"done": 11}
    assert standin.links() == before
    assert back.calls["link"] + back.calls["unlink"] == back.calls["least"]
    assert sorted(line["op"] for line in back.results.values()) == sorted(
        ["unlink"] * 5 + ["link"] * 3 + ["relink"] * 3
    )
    again = undo_run(scripted_command, "back", undo_folder="again")
    assert again.counts == {"done": 11}
    assert standin.links() == after


def test_the_undo_names_its_run_and_its_rows(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3)
    run = run_mapping(scripted_command, "unlink", rows(contact.linked))
    back = undo_run(scripted_command)
    kept = json.loads((back.folder / "run.json").read_text())
    undone = json.loads((run.folder / "run.json").read_text())
    assert kept["undo_of"] == {
        "run_dir": str(run.folder),
        "org": "58",
        "digest": undone["digest"],
        "created": undone["created"],
        "invocations": 1,
    }
    assert [undo["run_dir"] for undo in undone["undone_by"]] == [str(back.folder)]
    assert sorted(back.plan("source_row")) == [("1",), ("2",), ("3",)]
    assert scripted_command("status", "back", "--check").code == 0
    # The deal names come from the snapshot: only the owner had to be looked up.
    assert [seen.kind for seen in standin.requests_of("deals", "users")] == ["users"]


def test_without_a_run_dir_the_folder_name_contains_undo(
    scripted_command: Command, world: World
) -> None:
    run_mapping(scripted_command, "unlink", rows(world.add(linked=1).linked))
    result = scripted_command("undo", "here", *QUICK)
    assert result.object["run_dir"].startswith("runs/")
    assert "-undo-" in result.object["run_dir"]


def test_emails_changed_since_are_left_alone_with_both_deals_named(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2, linked=6)
    c = world.add().a  # a third deal
    given = [
        *rows(contact.linked[:2], op="unlink"),
        *rows(contact.linked[2:6], contact.b, op="relink"),
        *rows(contact.free, contact.a, op="link"),
    ]
    run_mapping(scripted_command, "run", given, "--snapshot")
    unlinked, relinked, gone, linked = (
        contact.linked[0], contact.linked[2], contact.linked[3], contact.free[0],
    )  # fmt: skip
    standin.deals[unlinked.message] = contact.b
    standin.deals[relinked.message] = c
    standin.deals[gone.message] = None
    standin.deals[linked.message] = c
    since = standin.links()
    back = undo_run(scripted_command)
    assert back.counts == {"done": 4, "failed": 4}
    for email, deals in {
        unlinked: (contact.b, "no deal"),
        relinked: (contact.b, c),
        gone: (contact.b, "no deal"),
        linked: (contact.a, c),
    }.items():
        result = back.result(email.message)
        assert (result["status"], result["code"]) == ("failed", "changed-since")
        assert all(deal in result["message"] for deal in deals)
        assert standin.links()[email.message] == since[email.message]


def test_emails_already_restored_are_unchanged(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3)
    run_mapping(scripted_command, "unlink", rows(contact.linked))
    standin.deals[contact.linked[0].message] = contact.a
    back = undo_run(scripted_command)
    assert back.counts == {"done": 2, "unchanged": 1}
    assert standin.links() == world.links()


def test_emails_that_the_run_did_not_change_are_not_in_the_undo(
    scripted_command: Command, world: World
) -> None:
    contact = world.add(free=3, linked=3)
    given = [*rows(contact.emails), *rows(contact.linked[:1])]
    run_mapping(scripted_command, "unlink", given)
    assert undo_run(scripted_command).counts == {"done": 3}


def test_runs_over_the_same_emails_are_undone_last_first(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=4)
    run_mapping(scripted_command, "link", rows(contact.free, contact.a), name="a")
    run_mapping(scripted_command, "relink", rows(contact.free, contact.b), name="b")
    early = undo_run(scripted_command, "a", undo_folder="early")
    assert early.counts == {"failed": 4}
    assert {line["code"] for line in early.results.values()} == {"changed-since"}
    assert undo_run(scripted_command, "b", undo_folder="undo-b").counts == {"done": 4}
    assert undo_run(scripted_command, "a", undo_folder="undo-a").counts == {"done": 4}
    assert standin.links() == world.links()


@pytest.mark.parametrize("op", ["link", "unlink", "relink"])
def test_the_undo_of_a_killed_run_includes_calls_in_flight(
    bulklink: Command, standin: StandIn, world: World, op: str
) -> None:
    contacts = [world.add(free=5, linked=5) for _ in range(8)]
    kind = "unlink" if op == "unlink" else "link"

    async def hold(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == kind and seen.number > 3:
            for message in seen.messages:  # applied, but never answered
                standin.deals[message] = None if op == "unlink" else world.contacts[0].b
            await standin.wait_for_gate()
        return None

    standin.script = hold
    given = [
        line
        for one in contacts
        for line in rows(one.free if op == "link" else one.linked, world.contacts[0].b)
    ]
    write_mapping(bulklink.folder / "m.csv", given)
    scripted_command = bulklink.with_env(**standin.env())
    started = scripted_command.start(
        op, "m.csv", "--run-dir", "here", "--snapshot", "--concurrency", "2", "--json"
    )
    with ensure_terminated(started) as process:
        standin.wait_until(lambda: standin.in_flight[kind] == 2)
        locked = scripted_command("undo", "here", *QUICK)
        assert (locked.code, locked.error["code"]) == (2, "locked")
        process.kill()
        process.wait(10)
    assert "Between the halves" not in scripted_command("status", "here").output or op == "relink"
    standin.script = StandIn(world).script
    standin.gate.set()
    standin.wait_until(lambda: not standin.in_flight.total())
    for message, deal in standin.links().items():
        standin.deals[message] = deal
    undo_run(scripted_command)
    assert standin.links() == world.links()


def test_an_undo_restores_a_relink_that_could_not_be_put_back(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=2)

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "link":
            return None
        return Reply(400, {"Emails": [item_error("NOT_ALLOWED", m) for m in seen.messages]})

    standin.script = refuse
    run = run_mapping(scripted_command, "relink", rows(contact.linked, contact.b))
    assert {line["code"] for line in run.results.values()} == {"put-back-failed"}
    standin.script = StandIn(world).script
    assert undo_run(scripted_command).counts == {"done": 2}
    assert standin.links() == world.links()


def link_with_lost_answer(
    scripted_command: Command, standin: StandIn, contact: Contact
) -> AuditedRun:
    """Link without a snapshot; the answer to the first call is lost, its email already linked."""

    async def lose(request: ReceivedRequest) -> Reply | None:
        if request.kind == "link" and request.number == 1:
            for message in request.messages:
                standin.deals[message] = contact.a
            return Reply(502, b"<html>bad gateway</html>")
        return None

    standin.script = lose
    run = run_mapping(scripted_command, "link", rows(contact.free, contact.a))
    assert {line["code"] for line in run.results.values()} == {"settled-by-read"}
    return run


def test_uncertain_links_are_listed_and_not_undone(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    link_with_lost_answer(scripted_command, standin, contact)
    linked = standin.links()
    result = scripted_command("undo", "here", "--run-dir", "back", *QUICK)
    back = audit_run(result, scripted_command.folder, 3)
    assert back.counts == {"rejected": 3}
    assert {line["code"] for line in back.results.values()} == {"settled-by-read"}
    assert "3 rows are not undone (settled-by-read): row 1, 2, 3" in result.err
    assert "--include-settled" in result.err
    assert standin.links() == linked
    assert undo_run(scripted_command, "here", "--include-settled", undo_folder="all").counts == {
        "done": 3
    }
    assert standin.links() == world.links()


def test_links_without_a_snapshot_cause_a_warning(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    run_mapping(scripted_command, "link", rows(contact.free, contact.a))
    result = scripted_command("undo", "here", *QUICK)
    assert "3 links were made without a snapshot" in result.err
    assert result.object["counts"]["done"] == 3
    assert standin.links() == world.links()


def test_rows_that_cannot_be_undone_are_rejected_and_shown_first(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2, linked=3)
    given = [*rows(contact.linked, op="unlink"), *rows(contact.free, contact.a, op="link")]
    run_mapping(scripted_command, "run", given, "--no-snapshot")
    seen = len(standin.requests)
    planned = scripted_command("undo", "here", "--dry-run", "--json")
    assert planned.code == 1
    assert (planned.object["rows"], planned.object["rejected"]) == (5, 3)
    assert planned.object["calls"]["unlink"] == 1
    assert len(standin.requests) == seen
    result = scripted_command("undo", "here", "--run-dir", "back", *QUICK)
    assert "3 rows are not undone (no-snapshot): row 1, 2, 3" in result.err
    back = audit_run(result, scripted_command.folder, 5)
    assert back.counts == {"done": 2, "rejected": 3}
    assert {line["code"] for line in back.lines("result") if line["status"] == "rejected"} == {
        "no-snapshot"
    }
    with (back.folder / "rejects.csv").open(newline="") as file:
        left = list(csv.DictReader(file))
    assert [one["message_id"] for one in left] == [one.message for one in contact.linked]
    assert {one["from_deal_id"] for one in left} == {"none"}
    assert scripted_command("status", "back", "--check").code == 0
    scripted_command("export", "back", "-o", "again.csv", "--status", "rejected")
    with (scripted_command.folder / "again.csv").open(newline="") as file:
        assert [one["message_id"] for one in csv.DictReader(file)] == [
            one.message for one in contact.linked
        ]
    for one in left:
        one["deal_id"] = contact.a
    mended = write_mapping(scripted_command.folder / "mended.csv", left)
    assert audit_run(scripted_command("run", mended, *QUICK), scripted_command.folder).counts == {
        "done": 3
    }
    assert standin.links() == world.links()


def test_an_undo_of_nothing_undoable_is_a_finished_run(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    run_mapping(scripted_command, "unlink", rows(world.add(linked=2).linked), "--no-snapshot")
    seen = len(standin.requests)
    result = scripted_command("undo", "here", "--run-dir", "back", *QUICK)
    assert result.code == 1
    assert audit_run(result, scripted_command.folder, 2).counts == {"rejected": 2}
    assert len(standin.requests) == seen
    assert scripted_command("status", "back", "--json").object["exit_code"] == 1
    assert scripted_command("status", "back", "--check").code == 0
    assert scripted_command("resume", "back", "--json").error["code"] == "run-dir"


@pytest.mark.parametrize("given", ["unchanged", "planned"])
def test_an_empty_undo_exits_with_0(scripted_command: Command, world: World, given: str) -> None:
    contact = world.add(free=2)
    if given == "unchanged":
        run_mapping(scripted_command, "unlink", rows(contact.free))
    else:
        mapping = write_mapping(scripted_command.folder / "m.csv", rows(contact.free))
        scripted_command("plan", mapping, "--op", "unlink", "--run-dir", "here")
    result = scripted_command("undo", "here", *QUICK)
    assert (result.code, result.object["rows"], result.object["run_dir"]) == (0, 0, None)
    assert "nothing to undo" in result.err
    assert not (scripted_command.folder / "runs").exists()
    assert scripted_command("undo", "here", "--dry-run").code == 0


def test_a_deleted_deal_is_refused_and_the_rest_is_restored(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3)
    run_mapping(scripted_command, "unlink", rows(contact.linked))
    ledger = scripted_command.folder / "here" / "ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    for line in lines:
        if line["event"] == "snapshot":
            line["previous_deal_name"] = None
            line["previous_deal_id"] = UNKNOWN_ID if line["row"] == 1 else contact.a
    ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = RunFolder(ledger.parent)
    folder.write(folder.read().replace(**ledger_hash(ledger)))
    back = undo_run(scripted_command)
    assert back.counts == {"done": 2, "rejected": 1}
    assert back.results[1]["code"] == "unknown-deal"


def test_an_undo_can_be_sealed_inspected_and_applied(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3)
    run_mapping(scripted_command, "unlink", rows(contact.linked))
    planned = scripted_command("undo", "here", "--dry-run", "--run-dir", "back", "--json").object
    assert planned["run_dir"] == "back"
    assert set(standin.links().values()) == {None}
    applied = scripted_command("apply", "back", "--expect", planned["digest"], *QUICK)
    assert audit_run(applied, scripted_command.folder, 3).counts == {"done": 3}
    assert standin.links() == world.links()


def test_a_stopped_undo_can_be_resumed_elsewhere(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(linked=4) for _ in range(6)]
    run_mapping(
        scripted_command, "unlink", rows([email for one in contacts for email in one.linked])
    )

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "link" and seen.number > 2:
            return Reply(401, {"code": "OAUTH_SCOPE_MISMATCH", "status": "error", "message": "?"})
        return None

    standin.script = refuse
    stopped = scripted_command("undo", "here", "--run-dir", "back", "--concurrency", "1", *QUICK)
    assert stopped.code == 3
    standin.script = StandIn(world).script
    shutil.rmtree(scripted_command.folder / "here")
    shutil.move(scripted_command.folder / "back", scripted_command.folder / "moved")
    ended = scripted_command("resume", "moved", *QUICK)
    assert audit_run(ended, scripted_command.folder, 24).counts == {"done": 24}
    assert standin.links() == world.links()


def test_another_org_is_refused(scripted_command: Command, standin: StandIn, world: World) -> None:
    run_mapping(scripted_command, "unlink", rows(world.add(linked=2).linked))

    async def other(seen: ReceivedRequest) -> Reply | None:
        org = {"id": "59", "company_name": "Another", "zgid": "9", "type": "Sandbox"}
        return Reply(body={"org": [org]}) if seen.kind == "org" else None

    standin.script = other
    result = scripted_command("undo", "here", *QUICK)
    assert (result.code, result.error["code"]) == (2, "wrong-org")
    assert not standin.requests_of("link")


def test_a_folder_that_is_not_a_run_is_refused(scripted_command: Command) -> None:
    for options in ((), ("--dry-run",)):
        result = scripted_command("undo", "nothing-here", *options, "--json")
        assert (result.code, result.error["code"]) == (2, "run-dir")


def test_the_summary_shows_the_undo(scripted_command: Command, world: World) -> None:
    run_mapping(scripted_command, "unlink", rows(world.add(linked=2).linked))
    result: CommandResult = scripted_command("undo", "here", "--dry-run")
    assert "undo: 2 emails in 1 group" in result.out
    assert "done  2" in scripted_command("undo", "here").out


def test_a_guard_keeps_emails_moved_since_the_review(
    scripted_command: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1, linked=3)
    moved: Email = contact.linked[0]
    given = [row(one, contact.b, from_deal_id=contact.a) for one in contact.linked]
    given.append(row(contact.free[0], contact.b, from_deal_id="none"))
    standin.deals = world.links() | {moved.message: world.add().a}
    run = run_mapping(scripted_command, "relink", given)
    assert run.counts == {"done": 3, "failed": 1}
    assert run.result(moved.message)["code"] == "changed-since"
    assert contact.a in run.result(moved.message)["message"]
    assert_crm_matches(
        run, world.links() | {moved.message: standin.deals[moved.message]}, standin.links()
    )


def test_plan_shows_the_cost_of_the_snapshot(bulklink: Command, tmp_path: Path) -> None:
    contact = World().add(linked=25)
    mapping = write_mapping(tmp_path / "m.csv", rows(contact.linked, contact.b))
    for op, option, reads in (
        ("unlink", "--snapshot", 3),
        ("relink", "--snapshot", 3),
        ("link", "--no-snapshot", 0),
        ("link", "--snapshot", 3),
        ("unlink", "--no-snapshot", 0),
    ):
        plain = bulklink("plan", mapping, "--op", op, option, "--json").object
        assert plain["calls"]["read_at_least"] == reads
        spelt = option if (op == "link") != (option == "--no-snapshot") else None
        if spelt is None and op != "link":  # without either option the run chooses for links
            bare = bulklink("plan", mapping, "--op", op, "--json").object
            assert bare["digest"] == plain["digest"]
    printed = bulklink("plan", mapping, "--op", "unlink").out
    assert "at least 3 of these credits" in printed
    assert "--no-snapshot" in printed
