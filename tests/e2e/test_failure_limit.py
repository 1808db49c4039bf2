"""A run with too many failures stops early and explains why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.audit import assert_crm_matches, audit_run
from tests.e2e.command import Command, free_rows, row, rows, write_mapping
from tests.e2e.servers import (
    Emulator,
    ReceivedRequest,
    Reply,
    Script,
    StandIn,
    answer_links,
    item_error,
)
from tests.e2e.world import UNKNOWN_ID, Contact, World

IN_FLIGHT = 3
ON_THE_WAY = 2 * IN_FLIGHT
"""Calls in flight when it is decided, and those in whose places they left, not yet taken in."""
QUICK = ("--canary", "0", "--rate", "off", "--no-names")


def refuse_links(standin: StandIn, share: int, every: int = 20) -> Script:
    """Return a script that refuses the first `share` of each `every` emails of a link call."""

    def refuse(position: int, message: str) -> dict[str, Any] | None:
        return item_error("NOT_ALLOWED", message) if position % every < share else None

    return answer_links(standin, refuse)


def make_rows(world: World, contacts: int) -> list[dict[str, str]]:
    """Return rows of contacts with twenty emails each, one call each."""
    world_contacts = [world.add(free=20) for _ in range(contacts)]
    return free_rows(world_contacts)


def test_a_wrong_deal_column_stops_the_run_after_its_first_calls(
    connected_command: Command, emulator: Emulator, contacts: list[Contact]
) -> None:
    one, other, third = contacts
    given = [row(email, other.a) for email in (*one.free, *third.free)]
    write_mapping(connected_command.folder / "m.csv", given)
    before = emulator.links()
    result = connected_command("link", "m.csv", "--json", "--run-dir", "here", "--concurrency", "1")
    run = audit_run(result, connected_command.folder, len(given))
    assert (result.code, run.summary["stopped_by"]) == (3, "max-failures")
    assert run.calls["link"] <= 1 + 1
    assert run.counts["failed"] >= 20
    assert run.counts["pending"] >= len(given) - 40
    first, *more = result.err[result.err.index("error:") :].splitlines()
    assert first.startswith("error: Too many emails failed or are in doubt: 20 of 20 (100.0%")
    assert more[0].strip() == (
        "20 NOT_ALLOWED: The contact is not on that deal: add it to the deal first, or"
        " give it a contact role there."
    )
    assert more[1].strip().startswith("For example row 1: contact " + one.id)
    assert "`bulklink resume here --max-failures 50%`" in more[2]
    assert emulator.links() == before
    assert connected_command("status", "here", "--json").object == run.summary


@pytest.mark.parametrize(
    ("refused", "asked", "stops", "most_failed"),
    [
        (4, (), False, 0),
        (5, (), True, 50 + 5 * ON_THE_WAY),
        (2, ("--max-failures", "9%"), True, 20 + 2 * ON_THE_WAY),
        (1, ("--max-failures", "4"), True, 5 + ON_THE_WAY),
        (5, ("--max-failures", "off"), False, 0),
    ],
)
def test_the_run_stops_beyond_max_failures(
    bulklink: Command,
    standin: StandIn,
    world: World,
    refused: int,
    asked: tuple[str, ...],
    stops: bool,
    most_failed: int,
) -> None:
    given = make_rows(world, 20)
    standin.script = refuse_links(standin, refused)
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env())
    result = command("link", "m.csv", "--json", "--concurrency", str(IN_FLIGHT), *QUICK, *asked)
    run = audit_run(result, bulklink.folder, 400)
    assert_crm_matches(run, world.links(), standin.links())
    if stops:
        assert (result.code, run.summary["stopped_by"]) == (3, "max-failures")
        assert run.counts["failed"] <= most_failed
        assert run.counts["pending"] > 0
    else:
        assert result.code == 1, result
        assert run.counts == {"done": 400 - 20 * refused, "failed": 20 * refused}


def test_a_resume_restarts_the_count_and_may_accept_more(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    given = make_rows(world, 12)
    standin.script = refuse_links(standin, 20)
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env())
    result = command("link", "m.csv", "--json", "--run-dir", "here", "--concurrency", "1", *QUICK)
    assert result.object["stopped_by"] == "max-failures"
    failed = result.object["counts"]["failed"]

    again = command(
        "resume", "here", "--json", "--max-failures", "40", "--concurrency", "1", "--rate", "off"
    )
    assert (again.code, again.object["stopped_by"]) == (3, "max-failures")
    assert again.object["counts"]["failed"] >= failed + 41
    standin.script = refuse_links(standin, 0)
    last = command("resume", "here", "--json")
    run = audit_run(last, bulklink.folder, 240)
    assert (last.code, run.summary["state"]) == (1, "finished")
    assert json.loads((run.folder / "run.json").read_text())["stopped_by"] is None


def test_rows_refused_before_sending_do_not_count_as_failures(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=5)
    unknown = [row(email, UNKNOWN_ID) for email in world.add(free=30).free]
    write_mapping(bulklink.folder / "m.csv", [*unknown, *rows(contact.free, contact.a)])
    result = bulklink.with_env(**standin.env())(
        "link", "m.csv", "--json", "--on-invalid", "skip", "--max-failures", "0"
    )
    run = audit_run(result, bulklink.folder, 35)
    assert (result.code, run.counts) == (1, {"done": 5, "rejected": 30})


def test_emails_already_as_wanted_do_not_count_as_failures(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=25)
    write_mapping(bulklink.folder / "m.csv", rows(contact.linked, contact.a))
    result = bulklink.with_env(**standin.env())("link", "m.csv", "--json", "--max-failures", "0")
    assert audit_run(result, bulklink.folder, 25).counts == {"unchanged": 25}


def test_relinks_between_their_halves_are_finished(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    many = [world.add(linked=5) for _ in range(30)]

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "link":
            return None
        there = [m for m in seen.messages if standin.deals[m] is None]
        wanted = {one["linked_record"]["id"] for one in seen.body["Emails"]}
        if there and wanted & {one.b for one in many}:
            return Reply(400, {"Emails": [item_error("NOT_ALLOWED", m) for m in there]})
        return None

    standin.script = refuse
    write_mapping(
        bulklink.folder / "m.csv", [line for one in many for line in rows(one.linked, one.b)]
    )
    result = bulklink.with_env(**standin.env())("relink", "m.csv", "--json", "--rate", "off")
    run = audit_run(result, bulklink.folder, 150)
    assert run.summary["stopped_by"] == "max-failures"
    assert run.counts["pending"] > 0
    assert standin.links() == world.links()


@pytest.mark.parametrize("value", ["-1", "half", "5 %%", "101%", "2.5", ""])
def test_an_invalid_failure_limit_is_refused(bulklink: Command, value: str) -> None:
    result = bulklink("link", "m.csv", "--json", "--max-failures", value)
    assert (result.code, result.error["code"]) == (2, "usage")
    assert "--max-failures" in result.error["where"]


def test_a_job_file_sets_the_failure_limit_and_run_json_keeps_it(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    write_mapping(bulklink.folder / "m.csv", make_rows(world, 2))
    (bulklink.folder / "job.toml").write_text(
        'op = "link"\nmapping = "m.csv"\nmax_failures = 7\n', "utf-8"
    )
    standin.script = refuse_links(standin, 10)
    result = bulklink.with_env(**standin.env())("run", "job.toml", "--json")
    run = audit_run(result, bulklink.folder, 40)
    assert run.summary["stopped_by"] == "max-failures"
    asked = json.loads((run.folder / "run.json").read_text())["asked"]
    assert asked["max_failures"] == {"count": 7, "percent": None}
