"""The canary: the first emails are sent and read back before the rest follows."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .audit import Run, agrees, audited
from .command import Command, rows, write_mapping
from .servers import Reply, Seen, StandIn, error, item_error
from .world import World

QUICK = ("--settle-after", "0", "--rate", "off", "--json", "--run-dir", "here")


def given(bulklink: Command, world: World, contacts: int = 12, each: int = 20) -> Command:
    """Write a mapping of contacts with so many emails each, on no deal; names are not looked up."""
    many = [world.add(free=each) for _ in range(contacts)]
    write_mapping(bulklink.folder / "m.csv", [r for one in many for r in rows(one.free, one.a)])
    return bulklink.given(BULKLINK_NO_NAMES="1")


def lying(standin: StandIn, share: int = 20) -> Callable[[Seen], Awaitable[Reply | None]]:
    """Return a script that answers links with success, and carries out all but so many of them."""

    async def lie(seen: Seen) -> Reply | None:
        if seen.kind != "link":
            return None
        told = []
        for at, one in enumerate(seen.body["Emails"]):
            if at >= share:
                standin.deals[one["message_id"]] = one["linked_record"]["id"]
            told.append({"code": "SUCCESS", "details": {"message_id": one["message_id"]},
                         "message": "linked", "status": "success"})  # fmt: skip
        return Reply(body={"Emails": told})

    return lie


def kept(run: Run) -> dict[str, Any]:
    """Return what run.json keeps of the canary."""
    return dict(json.loads((run.folder / "run.json").read_text("utf-8"))["canary"])


@pytest.mark.parametrize(
    ("contacts", "each", "tried"), [(12, 20, 20), (1, 250, 20), (41, 5, 20), (67, 3, 21)]
)
def test_a_canary_that_passes_costs_reads_and_no_other_call(
    bulklink: Command, standin: StandIn, world: World, contacts: int, each: int, tried: int
) -> None:
    command = given(bulklink, world, contacts, each).given(**standin.env())
    told = command("link", "m.csv", *QUICK)
    run = audited(told, bulklink.folder, contacts * each)
    assert run.counts == {"done": contacts * each}
    assert run.calls["link"] == run.calls["least"]
    agrees(run, world.links(), standin.links())
    reads = [seen for seen in standin.seen if seen.kind in ("read", "link")]
    first = next(at for at, seen in enumerate(reads) if seen.kind == "read")
    assert sum(len(seen.messages) for seen in reads[:first]) == tried
    assert kept(run)["state"] == "passed"
    assert f"the first {tried} emails were tried; {tried} of those" in kept(run)["found"]
    assert "Canary: passed: the first" in bulklink("status", "here").out


@pytest.mark.parametrize("op", ["relink", "unlink"])
def test_a_canary_of_one_big_contact_takes_the_fewest_calls_of_every_op(
    bulklink: Command, standin: StandIn, world: World, op: str
) -> None:
    contact = world.add(linked=230)
    write_mapping(bulklink.folder / "m.csv", rows(contact.linked, contact.b))
    told = bulklink.given(**standin.env())(op, "m.csv", *QUICK)
    run = audited(told, bulklink.folder, 230)
    assert run.counts == {"done": 230}
    assert run.calls["link"] + run.calls["unlink"] == run.calls["least"]
    assert kept(run)["state"] == "passed"
    agrees(run, world.links(), standin.links())


@pytest.mark.parametrize(
    ("contacts", "options"), [(10, ()), (12, ("--canary", "0"))], ids=["200-emails", "canary-0"]
)
def test_without_a_canary_nothing_is_read(
    bulklink: Command, standin: StandIn, world: World, contacts: int, options: tuple[str, ...]
) -> None:
    command = given(bulklink, world, contacts).given(**standin.env())
    run = audited(command("link", "m.csv", *QUICK, *options), bulklink.folder, contacts * 20)
    assert run.calls["read"] == 0
    assert run.counts == {"done": contacts * 20}


@pytest.mark.parametrize("options", [("--yes",), ("--read-back", "never")])
def test_no_option_answers_for_a_person(
    bulklink: Command, standin: StandIn, world: World, options: tuple[str, ...]
) -> None:
    command = given(bulklink, world, 3, 2).given(**standin.env())
    standin.script = lying(standin, 2)
    told = command("link", "m.csv", *QUICK, "--canary", "2", *options)
    run = audited(told, bulklink.folder, 6)
    assert (told.code, run.shown["stopped_by"]) == (3, "canary")
    assert len(standin.of("link")) == 1


def test_a_server_that_does_not_do_what_it_says_is_caught_before_the_rest(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world).given(**standin.env())
    standin.script = lying(standin, 3)
    told = command("link", "m.csv", *QUICK)
    run = audited(told, bulklink.folder, 240)
    assert (told.code, run.shown["stopped_by"]) == (3, "canary")
    assert len(standin.of("link")) == 1
    assert run.counts == {"done": 17, "failed": 3, "pending": 220}
    wrong = [line for line in run.results.values() if line["status"] == "failed"]
    assert {line["code"] for line in wrong} == {"not-applied"}
    assert {line["current_deal_id"] for line in wrong} == {None}
    agrees(run, world.links(), standin.links())
    assert told.err[told.err.index("error:") :].startswith(
        "error: The canary did not pass. 3 of 20 emails that were answered with success are not on"
        " the wanted deal: row 1 is on no deal;"
    )
    assert "`bulklink resume here` sends the other 220" in told.err
    assert command("status", "here", "--check").code == 0
    standin.script = lying(standin, 0)
    again = audited(command("resume", *QUICK[:-2], "here"), bulklink.folder, 240)
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
def test_a_person_is_asked_after_a_canary_that_did_not_pass(
    bulklink: Command,
    standin: StandIn,
    world: World,
    typed: str,
    code: int,
    state: str,
    counts: dict[str, int],
) -> None:
    command = given(bulklink, world, 3, 2).given(**standin.env())
    lie = lying(standin, 2)

    async def lie_once(seen: Seen) -> Reply | None:
        return await lie(seen) if seen.number == 1 else None

    standin.script = lie_once
    told = command.asked(typed, "link", "m.csv", *QUICK, "--canary", "2", "--yes")
    run = audited(told, bulklink.folder, 6)
    assert (told.code, run.counts, kept(run)["state"]) == (code, counts, state)
    assert "2 of 2 emails that were answered with success are not on the wanted deal" in told.err
    assert told.err.count("Send the other 4 emails all the same? [y/N]:") == 1
    agrees(run, world.links(), standin.links())
    if state == "trying":
        again = audited(command("resume", *QUICK[:-2], "here"), bulklink.folder, 6)
        assert (again.counts, kept(again)["state"]) == ({"done": 4, "failed": 2}, "passed")


def test_an_undo_of_many_emails_has_its_canary(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world, 11).given(**standin.env())
    audited(command("link", "m.csv", *QUICK, "--snapshot"), bulklink.folder, 220)
    back = command("undo", "here", *QUICK[:-1], "back")
    run = audited(back, bulklink.folder, 220)
    assert (run.counts, kept(run)["state"]) == ({"done": 220}, "passed")
    assert run.calls["link"] + run.calls["unlink"] == run.calls["least"]
    assert standin.links() == world.links()


def test_a_list_that_lags_behind_is_read_again_before_it_is_believed(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world).given(**standin.env())

    async def stale(seen: Seen) -> Reply | None:
        if seen.kind != "read" or seen.number > 1:
            return None
        emails = [{"message_id": one.message, "linked_record": None} for one in
                  world.contacts[0].free[:10]]  # fmt: skip
        return Reply(body={"Emails": emails, "info": {"more_records": False}})

    standin.script = stale
    told = command("link", "m.csv", *QUICK[2:], "--settle-after", "0.3")
    run = audited(told, bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert kept(run)["state"] == "passed"


def test_what_no_page_lists_is_not_counted_against_it_and_is_said(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world).given(**standin.env())
    run = audited(command("link", "m.csv", *QUICK, "--read-pages", "1"), bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert "10 of those answered with success were read back" in kept(run)["found"]
    assert "10 were on no page within --read-pages." in kept(run)["found"]


@pytest.mark.parametrize("code", ["NO_PERMISSION", "CANNOT_PROCESS", "OAUTH_SCOPE_MISMATCH"])
def test_a_canary_that_cannot_be_read_goes_on_and_says_so(
    bulklink: Command, standin: StandIn, world: World, code: str
) -> None:
    command = given(bulklink, world).given(**standin.env())

    async def refuse(seen: Seen) -> Reply | None:
        return error(403, code) if seen.kind == "read" else None

    standin.script = refuse
    run = audited(command("link", "m.csv", *QUICK), bulklink.folder, 240)
    assert run.counts == {"done": 240}
    assert "20 were on no page that could be read." in kept(run)["found"]


def test_a_canary_that_fails_altogether_stops_before_max_failures_and_says_why(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world).given(**standin.env())

    async def refuse(seen: Seen) -> Reply | None:
        if seen.kind != "link":
            return None
        return Reply(400, {"Emails": [item_error("NOT_ALLOWED", m) for m in seen.messages]})

    standin.script = refuse
    told = command("link", "m.csv", *QUICK)
    run = audited(told, bulklink.folder, 240)
    assert (told.code, run.shown["stopped_by"]) == (3, "canary")
    assert run.counts == {"failed": 20, "pending": 220}
    assert "None of the first 20 emails is as wanted: 20 of 20 (100.0%: 20 NOT_ALLOWED)" in told.err
    assert "add it to the deal first" in told.err
    assert "canary" in bulklink("status", "here").out


def test_a_canary_that_was_cut_short_is_done_again(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world).given(**standin.env())

    async def no_scope(seen: Seen) -> Reply | None:
        return error(401, "OAUTH_SCOPE_MISMATCH") if seen.kind == "link" else None

    standin.script = no_scope
    told = command("link", "m.csv", *QUICK)
    run = audited(told, bulklink.folder, 240)
    assert run.shown["stopped_by"] == "fatal"
    assert kept(run)["state"] == "trying"
    standin.script = lying(standin)
    again = audited(command("resume", *QUICK[:-2], "here"), bulklink.folder, 240)
    assert again.shown["stopped_by"] == "canary"
    assert kept(again)["state"] == "stopped"


def test_one_forbidden_contact_does_not_hold_the_canary_up(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world).given(**standin.env())

    async def forbid(seen: Seen) -> Reply | None:
        forbidden = seen.kind == "link" and seen.contact == world.contacts[0].id
        return error(403, "NO_PERMISSION") if forbidden else None

    standin.script = forbid
    run = audited(command("link", "m.csv", *QUICK), bulklink.folder, 240)
    assert run.counts == {"done": 220, "failed": 20}
    assert kept(run)["state"] == "passed"


def test_apply_and_a_job_file_have_a_canary(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = given(bulklink, world, 3).given(**standin.env())
    command("plan", "m.csv", "--op", "link", "--run-dir", "plan")
    told = command("apply", "plan", "--canary", "5", "--json")
    run = audited(told, bulklink.folder, 60)
    assert (run.counts, kept(run)["messages"]) == ({"done": 60}, 5)
    (bulklink.folder / "job.toml").write_text('op = "unlink"\nmapping = "m.csv"\ncanary = 7\n')
    again = audited(command("run", "job.toml", "--json"), bulklink.folder, 60)
    assert (again.counts, kept(again)["messages"]) == ({"done": 60}, 7)


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_going_on_has_no_canary_to_ask_for(bulklink: Command, command: str) -> None:
    told = bulklink(command, "here", "--canary", "5", "--json")
    assert (told.code, told.error["code"]) == (2, "usage")
