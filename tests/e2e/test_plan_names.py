"""`plan --look-up-names`: names become part of the approved plan and its page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from tests.e2e.command import (
    Command,
    ensure_terminated,
    interrupt_and_wait,
    row,
    rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import REFRESH, SECRET, ReceivedRequest, Reply, StandIn, hold_calls
from tests.e2e.world import PAT, UNKNOWN_ID, USERS, World

QUICK = ("--rate", "off")
PLAN = ("plan", "--op", "link", "m.csv")
NAMED = (*PLAN, "--look-up-names")
LOOK_UPS = ("org", "users", "deals")


def planned(folder: Path) -> list[tuple[str, ...]]:
    """Return owner and deal names of a sealed plan, in its order."""
    path = folder / "plan.parquet"
    query = f"SELECT bulklink_owner_name, bulklink_deal_name FROM '{path}'"
    return duckdb.connect().execute(query).fetchall()


def kinds(standin: StandIn) -> list[str]:
    """Return the kinds of requests, except for tokens."""
    return [request.kind for request in standin.requests if request.kind != "token"]


def is_left_empty(run_dir: Path) -> bool:
    """Return whether a folder can be used as a run folder again."""
    return not run_dir.exists() or not any(run_dir.iterdir())


async def elsewhere(seen: ReceivedRequest) -> Reply | None:
    """Answer as another org."""
    org = {"id": "77", "company_name": "Elsewhere", "zgid": "7", "type": "Sandbox"}
    return Reply(body={"org": [org]}) if seen.kind == "org" else None


async def in_its_org(seen: ReceivedRequest) -> Reply | None:
    """Answer as documented."""
    del seen
    return None


def test_looked_up_names_are_part_of_the_plan_and_not_looked_up_again(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3, other_owner=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.emails, contact.a))
    command = bulklink.with_env(**standin.env())
    result = command(*NAMED, "--run-dir", "here", "--json", *QUICK)
    assert result.code == 0, result
    deal_name = world.deal_names()[contact.a]
    assert sorted(kinds(standin)) == sorted(LOOK_UPS)
    assert set(planned(bulklink.folder / "here")) == {(name, deal_name) for name in USERS.values()}
    shown = result.object
    assert shown["names"]["credits"] == 3
    assert shown["names"]["looked_up"] == 3
    assert shown["names"]["org"] == {"id": "58", "name": "Stand-in", "type": "Sandbox"}
    assert shown["names"]["deals"] == [{"id": contact.a, "name": deal_name, "emails": 4}]
    assert shown["names"]["owners"][0] == {"id": PAT, "name": USERS[PAT], "emails": 3}
    assert shown["calls"]["lookup_at_least"] == 2, "org and module"
    record = json.loads((bulklink.folder / "here" / "run.json").read_text("utf-8"))
    assert (record["org"]["id"], record["api_url"]) == ("58", standin.url)
    assert record["forecast"]["lookup"] == 2
    del standin.requests[:]
    applied = command("apply", "here", "--expect", shown["digest"], "--json", *QUICK)
    assert applied.code == 0, applied
    assert not standin.requests_of("users", "deals")
    assert deal_name in str(standin.requests_of("link")[0].body)
    assert command("status", "here", "--check").code == 0


def test_the_digest_equals_that_of_a_mapping_with_these_names(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2)
    names = {"owner_name": USERS[PAT], "deal_name": world.deal_names()[contact.a]}
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    write_mapping(bulklink.folder / "named.csv", rows(contact.free, contact.a, **names))
    command = bulklink.with_env(**standin.env())
    digests = {
        command(*arguments, "--json", *QUICK).object["digest"]
        for arguments in (
            NAMED,
            (*NAMED, "--run-dir", "here"),
            ("plan", "--op", "link", "named.csv"),
        )
    }
    assert len(digests) == 1
    assert command(*PLAN, "--json").object["digest"] not in digests


@pytest.mark.parametrize(
    "arguments",
    [PLAN, ("link", "m.csv", "--dry-run")],
    ids=["plan", "dry-run"],
)
def test_a_plan_opens_no_connection_unless_names_are_requested(
    bulklink: Command, standin: StandIn, world: World, arguments: Sequence[str]
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    assert command(*arguments).code == 0
    assert not standin.requests
    assert command(*arguments, "--look-up-names").code == 0
    assert sorted(kinds(standin)) == sorted(LOOK_UPS)


def test_no_connection_is_opened_without_missing_names_or_with_refused_rows(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2)
    names = {"owner_name": "Ann", "deal_name": "Boat"}
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a, **names))
    command = bulklink.with_env(**standin.env())
    result = command(*NAMED, "--json")
    assert result.code == 0
    assert (result.object["names"]["org"], result.object["names"]["credits"]) == (None, 0)
    write_mapping(
        bulklink.folder / "m.csv", [row(contact.free[0], "x"), row(contact.free[1], contact.a)]
    )
    assert command(*NAMED).code == 2
    write_mapping(bulklink.folder / "m.csv", rows(contact.free))
    assert command("plan", "--op", "unlink", "m.csv", "--look-up-names").code == 0
    assert not standin.requests


@pytest.mark.parametrize("column", ["deal_id", "owner_id"])
def test_rows_that_name_an_unknown_record_are_refused_as_by_a_run(
    bulklink: Command, standin: StandIn, world: World, column: str
) -> None:
    contact, other = world.add(free=3), world.add(free=2)
    lost = [{**row(email, other.a), column: UNKNOWN_ID} for email in other.free]
    # The second repeats the first, and is all that is left of its contact and owner.
    mapping = [*rows(contact.free, contact.a), lost[0], lost[0], {**lost[1], "deal_name": "Boat"}]
    write_mapping(bulklink.folder / "m.csv", mapping)
    command = bulklink.with_env(**standin.env())
    code = "unknown-" + column.removesuffix("_id")
    stopped = command(*NAMED, "--run-dir", "stopped", "--json", *QUICK)
    assert (stopped.code, stopped.error["code"]) == (2, "invalid-rows")
    assert code in stopped.error["message"]
    assert f"The CRM shows no {column.removesuffix('_id')} {UNKNOWN_ID}." in stopped.err
    assert not (bulklink.folder / "stopped" / "plan.parquet").exists()
    rejects = (bulklink.folder / "stopped" / "rejects.csv").read_text("utf-8")
    assert f"{column},{code},{UNKNOWN_ID}" in rejects

    skip = ("--on-invalid", "skip", "--json", *QUICK)
    sealed = command(*NAMED, "--run-dir", "here", *skip)
    refused = 1 if column == "deal_id" else 2
    assert (sealed.code, sealed.object["rejected"], sealed.object["duplicate"]) == (1, refused, 1)
    assert sealed.object["refusals"] == {code: refused}
    digest = command(*NAMED, *skip).object["digest"]
    applied = command("apply", "here", "--expect", digest, "--json", *QUICK)
    run = command("link", "m.csv", "--run-dir", "run", *skip)
    assert applied.object["counts"]["rejected"] == run.object["counts"]["rejected"] == refused
    assert applied.object["counts"]["duplicate"] == run.object["counts"]["duplicate"] == 1
    for folder in ("here", "run"):
        assert command("status", folder, "--check").code == 0, folder
        assert command("export", folder, "-o", f"{folder}.jsonl").code == 0
    exported, expected = (
        [
            {name: json.loads(line)[name] for name in (*mapping[0], "bulklink_code")}
            for line in (bulklink.folder / f"{folder}.jsonl").read_text("utf-8").splitlines()
        ]
        for folder in ("here", "run")
    )
    assert [{k: v for k, v in line.items() if k != "bulklink_code"} for line in exported] == [
        {k: v for k, v in line.items() if k != "bulklink_code"} for line in expected
    ]
    assert [line["bulklink_code"] for line in exported].count(code) == refused


def test_a_plan_with_names_is_only_sent_to_their_org(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    assert command(*NAMED, "--run-dir", "here", *QUICK).code == 0
    far = bulklink.with_env(**standin.env(BULKLINK_API_URL="https://www.zohoapis.eu"))
    result = far("apply", "here", "--json")
    assert (result.code, result.error["code"]) == (2, "wrong-org")
    standin.script = elsewhere
    result = command("apply", "here", "--json")
    assert (result.code, result.error["code"]) == (2, "wrong-org")
    assert "Stand-in (58)" in result.error["message"]
    assert "Elsewhere (77)" in result.error["message"]
    assert not standin.requests_of("link")
    assert command("status", "here", "--json").object["state"] == "planned"
    standin.script = in_its_org
    assert command("apply", "here", *QUICK).code == 0


def test_nothing_of_the_sign_in_is_stored(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    assert command(*NAMED, "--run-dir", "here", *QUICK).code == 0
    names = sorted(path.name for path in (bulklink.folder / "here").iterdir())
    assert names == [".gitignore", "ledger.jsonl", "lock", "plan.parquet", "run.json"]
    content = b"".join(path.read_bytes() for path in (bulklink.folder / "here").iterdir())
    assert not re.search("|".join((SECRET, REFRESH)).encode(), content)


@pytest.mark.parametrize("run_dir", [(), ("--run-dir", "here")], ids=["unsealed", "sealed"])
def test_a_wrong_token_makes_no_plan(
    bulklink: Command, standin: StandIn, world: World, run_dir: Sequence[str]
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        body = {"code": "INVALID_TOKEN", "details": {}, "message": "no", "status": "error"}
        return Reply(401, body) if seen.kind in ("users", "deals") else None

    standin.script = refuse
    result = bulklink.with_env(**standin.env())(*NAMED, *run_dir, "--json", *QUICK)
    assert result.code == 3, result
    assert result.error["advice"]
    assert "answers.jsonl" not in result.error["advice"], "there is no folder to inspect"
    assert is_left_empty(bulklink.folder / "here")


def test_a_closed_port_makes_no_plan(bulklink: Command, standin: StandIn, world: World) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    closed = dict.fromkeys(("BULKLINK_API_URL", "BULKLINK_ACCOUNTS_URL"), "http://127.0.0.1:9")
    command = bulklink.with_env(**standin.env(**closed))
    result = command(*NAMED, "--run-dir", "here", "--outage", "0", "--json")
    assert result.code == 3, result
    assert "nothing was changed" in result.error["advice"].lower()
    assert is_left_empty(bulklink.folder / "here")
    assert command(*PLAN).code == 0


def test_the_look_ups_stay_within_the_credits(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    result = command(*NAMED, "--run-dir", "here", "--max-credits", "2", "--json", *QUICK)
    assert result.code == 4, result
    assert len(kinds(standin)) == 2
    assert is_left_empty(bulklink.folder / "here")


def test_ctrl_c_ends_the_look_ups_and_leaves_nothing(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    standin.script = hold_calls(standin, "deals")
    command = bulklink.with_env(**standin.env())
    with ensure_terminated(command.start(*NAMED, "--run-dir", "here", *QUICK)) as process:
        standin.wait_until(lambda: standin.in_flight["deals"] == 1)
        interrupt_and_wait(process)
        standin.gate.set()
        result = wait_for_exit(process)
    assert result.code == 130, result
    assert not standin.requests_of("users")
    assert is_left_empty(bulklink.folder / "here")


def test_a_job_without_names_has_none_to_look_up(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    command = bulklink.with_env(**standin.env())
    result = command(*NAMED, "--no-names", "--json")
    assert (result.code, result.error["code"]) == (2, "usage")
    assert "--no-names" in result.error["where"]
    assert not standin.requests


def test_a_job_file_with_plan_options_can_be_sent(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1, linked=2)
    write_mapping(bulklink.folder / "m.csv", rows(contact.linked, contact.b))
    (bulklink.folder / "job.toml").write_text(
        'op = "relink"\nmapping = "m.csv"\nlook_up_names = true\ncompare_with = "f.csv"\n', "utf-8"
    )
    command = bulklink.with_env(**standin.env())
    assert command("fetch", contact.id, "-o", "f.csv", *QUICK).code == 0
    shown = command("run", "job.toml", "--dry-run", "--json").object
    assert shown["compare"]["moved"] == 2
    assert shown["names"]["deals"][0]["name"] == world.deal_names()[contact.b]
    assert command("run", "job.toml", *QUICK).code == 0
    assert {standin.deals[email.message] for email in contact.linked} == {contact.b}


@pytest.mark.parametrize("option", [("--look-up-names",), ("--compare-with", "f.csv")])
def test_plan_options_are_refused_by_commands_that_send(
    bulklink: Command, standin: StandIn, world: World, option: Sequence[str]
) -> None:
    contact = world.add(free=1)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    result = bulklink.with_env(**standin.env())("link", "m.csv", *option, "--json")
    assert (result.code, result.error["code"]) == (2, "usage")
    assert result.error["where"] == option[0]
    assert not standin.requests


def test_the_page_escapes_names_and_counts_only_hides_them(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=3, free=1)
    owner, deal = "Ow<i>ner\u202e", "De<script>al\x1b[31m"

    async def hostile(seen: ReceivedRequest) -> Reply | None:
        info = {"more_records": False}
        match seen.kind:
            case "users":
                return Reply(body={"users": [{"id": PAT, "full_name": owner}], "info": info})
            case "deals":
                deals = [{"id": contact.b, "Deal_Name": deal}]
                return Reply(body={"data": deals, "info": info})
        return None

    standin.script = hostile
    mapping = [*rows(contact.linked[:2], contact.b), *rows(contact.free, contact.b)]
    write_mapping(bulklink.folder / "m.csv", mapping)
    command = bulklink.with_env(**standin.env())
    assert command("fetch", contact.id, "-o", "f.csv", *QUICK).code == 0
    arguments = ("plan", "--op", "relink", "m.csv", "--look-up-names", "--compare-with", "f.csv")
    sealed = command(*arguments, "--run-dir", "here", *QUICK)
    assert sealed.code == 0, sealed
    assert "2  Deal A of contact 1" in sealed.out
    assert "\\x1b[31m" in sealed.out
    assert not {"\x1b", "\u202e"} & set(sealed.out)
    assert command("report", "here").code == 0
    page = (bulklink.folder / "here" / "report.html").read_text("utf-8")
    assert "Ow&lt;i&gt;ner\\u202e" in page
    assert "De&lt;script&gt;al\\x1b[31m" in page
    assert "De<script>" not in page
    assert "Deal A of contact 1" in page
    assert "Moves between deals" in page
    assert command("report", "here", "--counts-only", "-o", "counts.html").code == 0
    counts = (bulklink.folder / "counts.html").read_text("utf-8")
    for marker in ("Ow&lt;", "De&lt;", "Deal A of", contact.a, contact.b, PAT, "Stand-in"):
        assert marker not in counts, marker
    assert "Moves between deals" in counts
