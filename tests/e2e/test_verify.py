"""`bulklink verify` compares the deals of emails with the ledger."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from bulklink.ledger.records import Result, result_line
from bulklink.models import Op, Status
from bulklink.runs.record import Invocation, RunRecord, RunState, write_record
from tests.e2e.command import (
    Command,
    CommandResult,
    ensure_terminated,
    free_rows,
    interrupt_and_wait,
    row,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import ReceivedRequest, Reply, StandIn, error
from tests.e2e.world import Contact, World

QUICK = ("--settle-after", "0", "--rate", "off")


def lines(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of verify.jsonl."""
    content = (folder / "here" / "verify.jsonl").read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def read_findings(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the findings by message."""
    return {line["message_id"]: line for line in lines(folder) if line["event"] == "finding"}


def run_mapping(bulklink: Command, standin: StandIn, op: str, contacts: list[Contact]) -> Command:
    """Run a mapping of the contacts' emails, each to deal b, and return a connected command."""
    mapping_rows = [line for contact in contacts for line in rows(contact.emails, contact.b)]
    write_mapping(bulklink.folder / "m.csv", mapping_rows)
    command = bulklink.with_env(**standin.env())
    result = command(op, "m.csv", "--run-dir", "here", "--json", *QUICK)
    assert result.code in (0, 1), result
    return command


def verify_run(command: Command, *arguments: str) -> CommandResult:
    """Verify the run, and check that ledger and run.json stay unchanged."""
    run_folder = command.folder / "here"
    before = [(run_folder / name).read_bytes() for name in ("ledger.jsonl", "run.json")]
    result = command("verify", "here", "--json", *QUICK, *arguments)
    assert [(run_folder / name).read_bytes() for name in ("ledger.jsonl", "run.json")] == before
    return result


@pytest.mark.parametrize("op", ["link", "relink", "unlink"])
def test_an_untouched_run_is_as_recorded(
    bulklink: Command, standin: StandIn, world: World, op: str
) -> None:
    contacts = [world.add(free=12), world.add(free=3)]
    command = run_mapping(bulklink, standin, op, contacts)
    result = verify_run(command)
    assert result.code == 0, result
    shown = result.object
    counted = {name: shown[name] for name in ("checked", "as_recorded", "different", "not_listed")}
    assert counted == {"checked": 15, "as_recorded": 15, "different": 0, "not_listed": 0}
    assert shown["exit_code"] == 0
    assert shown["calls"] == {"read": 3, "lookup": 1, "retried": 0}
    assert 0 < shown["latency"]["p50"] <= shown["latency"]["max"]
    assert "15 emails of 2 contacts: at least 4 credits, one a call" in result.err
    assert {one["finding"] for one in read_findings(command.folder).values()} == {"as-recorded"}


def test_each_difference_is_shown_with_both_deals_and_the_result_time(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=5)
    command = run_mapping(bulklink, standin, "link", [contact])
    moved, off = contact.free[1].message, contact.free[3].message
    standin.deals[moved], standin.deals[off] = contact.a, None
    result = verify_run(command)
    assert result.code == 1, result
    assert (result.object["different"], result.object["as_recorded"]) == (2, 3)
    found = read_findings(command.folder)
    assert found[moved]["found_deal_id"] == contact.a
    assert found[off]["found_deal_id"] is None
    assert {found[one]["recorded_deal_id"] for one in (moved, off)} == {contact.b}
    shown = next(line for line in result.err.splitlines() if moved in line)
    assert contact.a in shown
    assert contact.b in shown
    assert found[moved]["recorded_ts"] in shown


def test_an_unlisted_email_is_counted_but_not_a_difference(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    command = run_mapping(bulklink, standin, "link", [contact])
    hidden = contact.free[0].message

    async def hide(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "read":
            return None
        page = standin._page(seen).body
        page["Emails"] = [one for one in page["Emails"] if one["message_id"] != hidden]
        return Reply(body=page)

    standin.script = hide
    result = verify_run(command)
    assert result.code == 0, result
    assert (result.object["not_listed"], result.object["as_recorded"]) == (1, 2)
    assert result.object["checked"] == 3
    assert read_findings(command.folder)[hidden]["finding"] == "not-listed"


def test_emails_of_an_unreadable_contact_are_counted_separately(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=2), world.add(free=2)]
    command = run_mapping(bulklink, standin, "link", contacts)

    async def forbid(seen: ReceivedRequest) -> Reply | None:
        forbidden = seen.kind == "read" and seen.contact == contacts[0].id
        return error(403, "NO_PERMISSION") if forbidden else None

    standin.script = forbid
    result = verify_run(command)
    assert result.code == 1, result
    assert (result.object["checked"], result.object["not_read"]) == (2, 2)
    assert read_findings(command.folder)[contacts[0].free[0].message]["code"] == "NO_PERMISSION"


def test_failed_emails_are_expected_on_the_deal_that_a_read_found(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2, linked=3)
    command = run_mapping(bulklink, standin, "link", [contact])
    assert verify_run(command).object["as_recorded"] == 5
    standin.deals[contact.linked[0].message] = None
    assert verify_run(command).object["different"] == 1


def test_in_doubt_shows_the_deals_of_the_emails_in_doubt(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=4)

    async def silent(seen: ReceivedRequest) -> Reply | None:
        return Reply(200, b"") if seen.kind == "link" else None

    standin.script = silent
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    command("link", "m.csv", "--run-dir", "here", "--json", "--read-back", "never", *QUICK)
    standin.deals[contact.free[2].message] = contact.a
    result = verify_run(command, "--in-doubt")
    assert result.code == 0, result
    assert (result.object["as_wanted"], result.object["not_as_wanted"]) == (1, 3)
    verified = verify_run(command)
    assert verified.object["checked"] == 0
    assert "The ledger shows the deal of no email: there is nothing to read back." in verified.err


def test_a_sample_bounds_wrong_emails_and_counts_others_separately(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=10) for _ in range(20)]
    command = run_mapping(bulklink, standin, "link", contacts)
    result = verify_run(command, "--sample", "30", "--seed", "7")
    shown = result.object
    assert shown["checked"] == shown["as_recorded"] == 30
    assert shown["sample"]["drawn"] == 30
    assert shown["sample"]["population"] == 200
    # 17 of 200: C(183, 30) / C(200, 30) is 0.0503, and for 18 it is 0.0423
    assert shown["sample"]["wrong_at_most"] == 17
    assert sum(shown["others"].values()) == shown["calls"]["read"] * 10 - 30
    again = verify_run(command, "--sample", "30", "--seed", "7").object
    assert again | {"latency": None} == shown | {"latency": None}
    plain = command("verify", "here", "--sample", "30", "--seed", "7", *QUICK)
    assert "30 of 30 as recorded: at most 8.5 % wrong (17 of 200) at 95% confidence." in plain.out


def test_verifications_are_appended_to_a_private_file(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = run_mapping(bulklink, standin, "link", [world.add(free=2)])
    verify_run(command)
    verify_run(command)
    events = [one["event"] for one in lines(command.folder)]
    once = ["verify", "call", "call", "finding", "finding", "verified"]
    assert events == once + once
    assert stat.S_IMODE((command.folder / "here" / "verify.jsonl").stat().st_mode) == 0o600


def test_a_copied_folder_can_be_verified(bulklink: Command, standin: StandIn, world: World) -> None:
    command = run_mapping(bulklink, standin, "link", [world.add(free=2)])
    shutil.move(command.folder / "here", command.folder / "copy")
    assert command("verify", "copy", *QUICK).code == 0


def test_another_org_is_refused(bulklink: Command, standin: StandIn, world: World) -> None:
    command = run_mapping(bulklink, standin, "link", [world.add(free=2)])

    async def other(seen: ReceivedRequest) -> Reply | None:
        org = {"id": "77", "company_name": "Another", "type": "Sandbox"}
        return Reply(body={"org": [org]}) if seen.kind == "org" else None

    standin.script = other
    result = verify_run(command)
    assert result.code == 2, result
    assert result.error["code"] == "wrong-org"
    assert not [one for one in standin.requests_of("read") if one.number > 0]


def test_an_unsent_run_cannot_be_verified(bulklink: Command, standin: StandIn) -> None:
    contact = World().add(free=1)
    write_mapping(bulklink.folder / "m.csv", [row(contact.free[0], contact.a)])
    bulklink("plan", "--op", "link", "m.csv", "--run-dir", "here")
    for run in ("here", "nowhere"):
        result = bulklink.with_env(**standin.env())("verify", run, "--json")
        assert (result.code, result.error["code"]) == (2, "run-dir")


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_without_an_email_in_doubt_the_command_says_so_and_reads_nothing(
    bulklink: Command, standin: StandIn, world: World, words: tuple[str, ...]
) -> None:
    command = run_mapping(bulklink, standin, "link", [world.add(free=3)])
    calls = len(standin.requests)
    shown = command("verify", "here", "--in-doubt", *QUICK, *words)
    assert (shown.code, len(standin.requests)) == (0, calls)
    sentence = "No email of this run is in doubt: there is nothing to read back."
    assert sentence in shown.output
    assert "0 emails" not in shown.output
    assert sentence in verify_run(command, "--in-doubt", *words).err


def test_sample_and_in_doubt_cannot_be_combined(bulklink: Command) -> None:
    connected = bulklink.with_env(BULKLINK_DC="eu", BULKLINK_ACCESS_TOKEN="x")
    write_mapping(bulklink.folder / "m.csv", free_rows([World().add(free=1)]))
    assert connected("plan", "m.csv", "--op", "link", "--run-dir", "here").code == 0
    result = connected("verify", "here", "--sample", "3", "--in-doubt", "--json")
    assert (result.code, result.error["code"]) == (2, "usage")


def test_ctrl_c_keeps_the_findings_so_far(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=2) for _ in range(6)]
    command = run_mapping(bulklink, standin, "link", contacts)

    async def hold(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "read" and seen.contact != contacts[0].id:
            await standin.wait_for_gate()
        return None

    standin.script = hold
    arguments = ("verify", "here", "--json", "--concurrency", "2", *QUICK)
    with ensure_terminated(command.start(*arguments)) as process:
        standin.wait_until(lambda: standin.in_flight["read"] == 2)
        interrupt_and_wait(process)
        standin.gate.set()
        result = wait_for_exit(process)
    assert result.code == 130, result
    assert result.object["stopped_by"] == "interrupted"
    assert 2 <= result.object["checked"] < 12
    assert lines(command.folder)[-1]["event"] == "verified"


def test_ctrl_c_ends_a_large_verification_too(bulklink: Command, standin: StandIn) -> None:
    here = bulklink.folder / "here"
    here.mkdir()
    (here / "ledger.jsonl").write_bytes(
        b"".join(
            result_line("2026-11-22T10:00:00.000Z", _done(row, contact))
            for contact in range(20)
            for row in range(contact * 2100 + 1, (contact + 1) * 2100 + 1)
        )
    )
    record = RunRecord(
        version="", op="link", asked={}, inputs=(), created="2026-11-22T10:00:00.000Z",
        state=RunState.FINISHED, rows=42_000,
        api_url=standin.url, invocations=(Invocation("2026-11-22T10:00:00.000Z"),),
    )  # fmt: skip
    write_record(here / "run.json", record)

    async def hold(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "read":
            await standin.wait_for_gate()
        return None

    standin.script = hold
    arguments = ("verify", "here", "--json", "--concurrency", "2", *QUICK)
    with ensure_terminated(bulklink.with_env(**standin.env()).start(*arguments)) as process:
        standin.wait_until(lambda: standin.in_flight["read"] == 2)
        interrupt_and_wait(process)
        standin.gate.set()
        result = wait_for_exit(process)
    assert result.code == 130, result
    assert 0 < result.object["not_listed"] < 42_000


def _done(row: int, contact: int) -> Result:
    return Result(row, Op.LINK, str(100 + contact), "7", f"m{row}", "9", Status.DONE)


def test_an_active_run_is_verified_up_to_its_current_state(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=2) for _ in range(12)]

    async def hold(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "link" and seen.number > 4:
            await standin.wait_for_gate()
        return None

    standin.script = hold
    write_mapping(bulklink.folder / "m.csv", free_rows(contacts))
    command = bulklink.with_env(**standin.env())
    with ensure_terminated(
        command.start("link", "m.csv", "--run-dir", "here", "--concurrency", "2", *QUICK)
    ) as process:
        standin.wait_until(lambda: standin.in_flight["link"] == 2)
        result = command("verify", "here", "--json", *QUICK)
        standin.gate.set()
        assert wait_for_exit(process).code == 0
    assert result.code == 0, result
    assert 0 < result.object["as_recorded"] == result.object["checked"] <= 8
    assert "not finished (its state is running)" in result.err


def test_a_verification_stays_within_its_credits(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = run_mapping(bulklink, standin, "link", [world.add(free=1) for _ in range(6)])
    before = len(standin.requests_of("read", "org"))
    result = verify_run(command, "--max-credits", "4")
    assert result.code == 4, result
    assert result.object["stopped_by"] == "max-credits"
    assert result.object["checked"] == 3
    assert len(standin.requests_of("read", "org")) == before + 4
