"""The canary: the first emails are sent and read back before the rest follows."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.e2e.audit import AuditedRun, assert_crm_matches, audit_run
from tests.e2e.command import Command, free_rows, rows, write_mapping
from tests.e2e.servers import (
    ReceivedRequest,
    Reply,
    Script,
    StandIn,
    answer_links,
    error,
    item_error,
    item_success,
)
from tests.e2e.world import World

QUICK = ("--settle-after", "0", "--rate", "off", "--json", "--run-dir", "here")


def prepare_run(
    bulklink: Command, world: World, contacts: int = 12, emails_per_contact: int = 20
) -> Command:
    """Write a mapping of contacts with n emails each, on no deal, without look-ups of names."""
    world_contacts = [world.add(free=emails_per_contact) for _ in range(contacts)]
    write_mapping(bulklink.folder / "m.csv", free_rows(world_contacts))
    return bulklink.with_env(BULKLINK_NO_NAMES="1")


def ignore_links(standin: StandIn, share: int = 20) -> Script:
    """Return a script that answers links with success, and ignores the first ones of each call."""

    def ignore(position: int, message: str) -> dict[str, Any] | None:
        return item_success(message) if position < share else None

    return answer_links(standin, ignore)


def read_canary_record(run: AuditedRun) -> dict[str, Any]:
    """Return the canary in run.json."""
    return dict(json.loads((run.folder / "run.json").read_text("utf-8"))["canary"])


@pytest.mark.parametrize(
    ("contacts", "each", "tried"), [(12, 20, 20), (1, 250, 20), (41, 5, 20), (67, 3, 21)]
)
def test_a_canary_that_passes_only_costs_reads(
    bulklink: Command, standin: StandIn, world: World, contacts: int, each: int, tried: int
) -> None:
    command = prepare_run(bulklink, world, contacts, each).with_env(**standin.env())
    result = command("link", "m.csv", *QUICK)
    run = audit_run(result, bulklink.folder, contacts * each)
    assert run.counts == {"done": contacts * each}
    assert run.calls["link"] == run.calls["least"]
    assert_crm_matches(run, world.links(), standin.links())
    reads = [seen for seen in standin.requests if seen.kind in ("read", "link")]
    first = next(at for at, seen in enumerate(reads) if seen.kind == "read")
    assert sum(len(seen.messages) for seen in reads[:first]) == tried
    assert read_canary_record(run)["state"] == "passed"
    assert (
        f"the first {tried} emails were tried; {tried} of those" in read_canary_record(run)["found"]
    )
    assert "Canary passed: the first" in bulklink("status", "here").out


@pytest.mark.parametrize("op", ["relink", "unlink"])
def test_a_canary_of_one_big_contact_takes_the_fewest_calls_of_every_op(
    bulklink: Command, standin: StandIn, world: World, op: str
) -> None:
    contact = world.add(linked=230)
    write_mapping(bulklink.folder / "m.csv", rows(contact.linked, contact.b))
    result = bulklink.with_env(**standin.env())(op, "m.csv", *QUICK)
    run = audit_run(result, bulklink.folder, 230)
    assert run.counts == {"done": 230}
    assert run.calls["link"] + run.calls["unlink"] == run.calls["least"]
    assert read_canary_record(run)["state"] == "passed"
    assert_crm_matches(run, world.links(), standin.links())


@pytest.mark.parametrize(
    ("contacts", "options"), [(10, ()), (12, ("--canary", "0"))], ids=["200-emails", "canary-0"]
)
def test_without_a_canary_nothing_is_read(
    bulklink: Command, standin: StandIn, world: World, contacts: int, options: tuple[str, ...]
) -> None:
    command = prepare_run(bulklink, world, contacts).with_env(**standin.env())
    run = audit_run(command("link", "m.csv", *QUICK, *options), bulklink.folder, contacts * 20)
    assert run.calls["read"] == 0
    assert run.counts == {"done": contacts * 20}


@pytest.mark.parametrize("options", [("--yes",), ("--read-back", "never")])
def test_no_option_confirms_after_a_failed_canary(
    bulklink: Command, standin: StandIn, world: World, options: tuple[str, ...]
) -> None:
    command = prepare_run(bulklink, world, 3, 2).with_env(**standin.env())
    standin.script = ignore_links(standin, 2)
    result = command("link", "m.csv", *QUICK, "--canary", "2", *options)
    run = audit_run(result, bulklink.folder, 6)
    assert (result.code, run.summary["stopped_by"]) == (3, "canary")
    assert len(standin.requests_of("link")) == 1


def test_an_undo_links_again_what_a_canary_found_off_its_deal(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(linked=20) for _ in range(12)]
    before = world.links()
    write_mapping(
        bulklink.folder / "m.csv", [line for c in contacts for line in rows(c.linked, c.b)]
    )
    command = bulklink.with_env(**standin.env())
    standin.script = ignore_links(standin, 3)
    stopped = command("relink", "m.csv", *QUICK)
    assert stopped.object["stopped_by"] == "canary"
    assert list(standin.links().values()).count(None) == 3
    standin.script = ignore_links(standin, 0)
    undone = command("undo", "here", "--run-dir", "back", "--settle-after", "0", "--rate", "off")
    assert undone.code == 0, undone
    assert standin.links() == before


def test_a_canary_detects_a_server_that_ignores_links(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())
    standin.script = ignore_links(standin, 3)
    result = command("link", "m.csv", *QUICK)
    run = audit_run(result, bulklink.folder, 240)
    assert (result.code, run.summary["stopped_by"]) == (3, "canary")
    assert len(standin.requests_of("link")) == 1
    assert run.counts == {"done": 17, "failed": 3, "pending": 220}
    wrong = [line for line in run.results.values() if line["status"] == "failed"]
    assert {line["code"] for line in wrong} == {"not-applied"}
    assert {line["current_deal_id"] for line in wrong} == {None}
    assert_crm_matches(run, world.links(), standin.links())
    assert result.err[result.err.index("error:") :].startswith(
        "error: The canary did not pass. 3 of 20 emails that were answered with success are not on"
        " the wanted deal: row 1 is on no deal;"
    )
    resume = "Then send the rest without another canary: `bulklink resume here --accept-canary`"
    assert resume in result.err
    assert command("status", "here", "--check").code == 0
    standin.script = ignore_links(standin, 0)
    again = audit_run(
        command("resume", *QUICK[:-2], "--accept-canary", "here"), bulklink.folder, 240
    )
    assert again.counts == {"done": 237, "failed": 3}
    assert again.calls["read"] == run.calls["read"]
    assert command("retry", *QUICK[:-2], "here").code == 0
    assert set(standin.links().values()) == {one.a for one in world.contacts}


@pytest.mark.parametrize(
    ("typed", "code", "state", "counts"),
    [
        ("y\n", 1, "confirmed", {"done": 4, "failed": 2}),
        ("n\n", 3, "stopped", {"failed": 2, "pending": 4}),
        ("\n", 3, "stopped", {"failed": 2, "pending": 4}),
        ("^C\n", 130, "trying", {"failed": 2, "pending": 4}),
    ],
    ids=["yes", "no", "enter", "ctrl-c"],
)
def test_the_user_is_prompted_after_a_canary_that_did_not_pass(
    bulklink: Command,
    standin: StandIn,
    world: World,
    typed: str,
    code: int,
    state: str,
    counts: dict[str, int],
) -> None:
    command = prepare_run(bulklink, world, 3, 2).with_env(**standin.env())
    lie = ignore_links(standin, 2)

    async def lie_once(seen: ReceivedRequest) -> Reply | None:
        return await lie(seen) if seen.number == 1 else None

    standin.script = lie_once
    result = command.run_at_terminal(typed, "link", "m.csv", *QUICK, "--canary", "2", "--yes")
    run = audit_run(result, bulklink.folder, 6)
    assert (result.code, run.counts, read_canary_record(run)["state"]) == (code, counts, state)
    assert "2 of 2 emails that were answered with success are not on the wanted deal" in result.err
    assert result.err.count("Send the other 4 emails anyway? [y/N]:") == 1
    assert_crm_matches(run, world.links(), standin.links())
    if state == "trying":
        again = audit_run(command("resume", *QUICK[:-2], "here"), bulklink.folder, 6)
        assert (again.counts, read_canary_record(again)["state"]) == (
            {"done": 4, "failed": 2},
            "passed",
        )


def stop_by_canary(bulklink: Command, standin: StandIn, world: World) -> Command:
    """Send a run of 6 emails whose canary of 3 fails; the server works afterwards."""
    command = prepare_run(bulklink, world, 2, 3).with_env(**standin.env())
    standin.script = ignore_links(standin, 1)
    result = command("link", "m.csv", *QUICK, "--canary", "3", "--snapshot")
    assert audit_run(result, bulklink.folder, 6).summary["stopped_by"] == "canary"
    standin.script = ignore_links(standin, 0)
    return command


@pytest.mark.parametrize("words", [("resume",), ("retry",), ("retry", "--code", "not-applied")])
def test_a_run_stopped_by_its_canary_sends_nothing_unless_that_is_accepted(
    bulklink: Command, standin: StandIn, world: World, words: tuple[str, ...]
) -> None:
    command = stop_by_canary(bulklink, standin, world)
    calls, before = len(standin.requests), (bulklink.folder / "here/run.json").read_bytes()
    refused = command(*words, "here", "--json", "--yes")
    assert (refused.code, refused.error["code"]) == (2, "not-confirmed")
    assert "1 of 3 emails that were answered with success" in refused.error["message"]
    assert "--accept-canary" in refused.error["advice"]
    assert len(standin.requests) == calls
    assert (bulklink.folder / "here/run.json").read_bytes() == before
    accepted = command(*words, "here", *QUICK[:-2], "--accept-canary")
    counts = json.loads(accepted.out)["counts"]
    assert counts["done"] == (5 if words == ("resume",) else 6)
    record = json.loads((bulklink.folder / "here/run.json").read_text("utf-8"))
    assert record["canary"]["state"] == "confirmed"
    assert command("retry", "here", *QUICK[:-2]).code == 0


def test_accepting_a_canary_is_not_kept_if_the_call_is_refused(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = stop_by_canary(bulklink, standin, world)

    async def be_another_org(seen: ReceivedRequest) -> Reply | None:
        return (
            Reply(body={"org": [{"id": "59", "zgid": "10", "type": "Sandbox"}]})
            if seen.kind == "org"
            else None
        )

    standin.script = be_another_org
    refused = command("resume", "here", *QUICK[:-2], "--accept-canary")
    assert (refused.code, refused.error["code"]) == (2, "wrong-org")
    record = json.loads((bulklink.folder / "here/run.json").read_text("utf-8"))
    assert (record["state"], record["canary"]["state"]) == ("stopped", "stopped")


def test_a_resume_after_an_accepted_canary_that_stops_again_needs_no_option(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = stop_by_canary(bulklink, standin, world)
    stopped = command("resume", "here", *QUICK[:-2], "--accept-canary", "--max-credits", "2")
    assert (stopped.code, json.loads(stopped.out)["stopped_by"]) == (4, "max-credits")
    status = command("status", "here")
    assert "bulklink resume here\n" in status.out
    assert command("resume", "here", *QUICK[:-2]).code == 1


def test_the_suggested_commands_after_a_failed_canary_work(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = stop_by_canary(bulklink, standin, world)
    offered = [
        shlex.split(line)[1:]
        for line in command("status", "here").out.splitlines()
        if line.startswith("  bulklink ")
    ]
    assert offered == [["verify", "here"], ["undo", "here"], ["resume", "here", "--accept-canary"]]
    page = bulklink.folder / "page.html"
    assert command("report", "here", "-o", "page.html").code == 0
    for words in offered:
        assert " ".join(["bulklink", *words]) in page.read_text("utf-8")
    assert command(*offered[0]).code in (0, 1)
    assert command(*offered[2]).code == 1
    assert command(*offered[1]).code == 0
    assert standin.links() == world.links()


def test_apply_and_forget_suggest_commands_that_work_after_a_failed_canary(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = stop_by_canary(bulklink, standin, world)
    for verb in ("apply", "forget"):
        refused = command(verb, "here", "--json")
        assert refused.code == 2
        assert "`bulklink resume here --accept-canary`" in refused.error["advice"]


def test_an_undo_of_many_emails_has_its_canary(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world, 11).with_env(**standin.env())
    audit_run(command("link", "m.csv", *QUICK, "--snapshot"), bulklink.folder, 220)
    back = command("undo", "here", *QUICK[:-1], "back")
    run = audit_run(back, bulklink.folder, 220)
    assert (run.counts, read_canary_record(run)["state"]) == ({"done": 220}, "passed")
    assert run.calls["link"] + run.calls["unlink"] == run.calls["least"]
    assert standin.links() == world.links()


def test_a_stale_list_is_read_again_before_the_canary_fails(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())

    async def stale(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "read" or seen.number > 1:
            return None
        emails = [{"message_id": one.message, "linked_record": None} for one in
                  world.contacts[0].free[:10]]  # fmt: skip
        return Reply(body={"Emails": emails, "info": {"more_records": False}})

    standin.script = stale
    result = command("link", "m.csv", *QUICK[2:], "--settle-after", "0.3")
    run = audit_run(result, bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert read_canary_record(run)["state"] == "passed"


def test_unlisted_emails_do_not_fail_the_canary_but_are_reported(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())
    run = audit_run(command("link", "m.csv", *QUICK, "--read-pages", "1"), bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert "10 of those answered with success were read back" in read_canary_record(run)["found"]
    assert "10 were on no page within the limit of pages." in read_canary_record(run)["found"]


@pytest.mark.parametrize("code", ["NO_PERMISSION", "CANNOT_PROCESS", "OAUTH_SCOPE_MISMATCH"])
def test_an_unreadable_canary_continues_with_a_note(
    bulklink: Command, standin: StandIn, world: World, code: str
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        return error(403, code) if seen.kind == "read" else None

    standin.script = refuse
    run = audit_run(command("link", "m.csv", *QUICK), bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert "20 were on no page that could be read." in read_canary_record(run)["found"]


def test_a_canary_that_fails_completely_stops_before_max_failures(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "link":
            return None
        return Reply(400, {"Emails": [item_error("NOT_ALLOWED", m) for m in seen.messages]})

    standin.script = refuse
    result = command("link", "m.csv", *QUICK)
    run = audit_run(result, bulklink.folder, 240)
    assert (result.code, run.summary["stopped_by"]) == (3, "canary")
    assert run.counts == {"failed": 20, "pending": 220}
    assert (
        "None of the first 20 emails is as wanted: 20 of 20 (100.0%: 20 NOT_ALLOWED)" in result.err
    )
    assert "add it to the deal first" in result.err
    assert "canary" in bulklink("status", "here").out


def test_an_interrupted_canary_is_repeated(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())

    async def no_scope(seen: ReceivedRequest) -> Reply | None:
        return error(401, "OAUTH_SCOPE_MISMATCH") if seen.kind == "link" else None

    standin.script = no_scope
    result = command("link", "m.csv", *QUICK)
    run = audit_run(result, bulklink.folder, 240)
    assert run.summary["stopped_by"] == "fatal"
    assert read_canary_record(run)["state"] == "trying"
    standin.script = ignore_links(standin)
    again = audit_run(command("resume", *QUICK[:-2], "here"), bulklink.folder, 240)
    assert again.summary["stopped_by"] == "canary"
    assert read_canary_record(again)["state"] == "stopped"


def test_one_forbidden_contact_does_not_block_the_canary(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world).with_env(**standin.env())

    async def forbid(seen: ReceivedRequest) -> Reply | None:
        forbidden = seen.kind == "link" and seen.contact == world.contacts[0].id
        return error(403, "NO_PERMISSION") if forbidden else None

    standin.script = forbid
    run = audit_run(command("link", "m.csv", *QUICK), bulklink.folder, 240)
    assert run.counts == {"done": 220, "failed": 20}
    assert read_canary_record(run)["state"] == "passed"


def test_apply_and_a_job_file_have_a_canary(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = prepare_run(bulklink, world, 3).with_env(**standin.env())
    command("plan", "m.csv", "--op", "link", "--run-dir", "plan")
    result = command("apply", "plan", "--canary", "5", "--json")
    run = audit_run(result, bulklink.folder, 60)
    assert (run.counts, read_canary_record(run)["messages"]) == ({"done": 60}, 5)
    (bulklink.folder / "job.toml").write_text('op = "unlink"\nmapping = "m.csv"\ncanary = 7\n')
    again = audit_run(command("run", "job.toml", "--json"), bulklink.folder, 60)
    assert (again.counts, read_canary_record(again)["messages"]) == ({"done": 60}, 7)


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_resume_and_retry_have_no_canary_option(bulklink: Command, command: str) -> None:
    result = bulklink(command, "here", "--canary", "5", "--json")
    assert (result.code, result.error["code"]) == (2, "usage")
