"""`bulklink fetch`: the emails of contacts with the deal of each, as a mapping to fill in."""

from __future__ import annotations

import csv
import gzip
import io
import json
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from python_calamine import CalamineWorkbook

from tests.e2e.command import (
    Command,
    CommandResult,
    ensure_terminated,
    interrupt_and_wait,
    row,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import ReceivedRequest, Reply, StandIn, error
from tests.e2e.world import PAT, USERS, Contact, World

QUICK = ("--rate", "off")
COLUMNS = [
    *("contact_id", "owner_id", "owner_name", "message_id", "deal_id", "from_deal_id"),
    *("from_deal_name", "subject", "time", "direction", "deal_name", "from_address", "from_name"),
    *("to_addresses", "cc_addresses", "source", "summary", "has_attachment", "intent"),
]


def read(path: Path) -> list[dict[str, Any]]:
    """Read a fetched CSV file back."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_fetch(bulklink: Command, standin: StandIn, *arguments: str) -> CommandResult:
    return bulklink.with_env(**standin.env())("fetch", *arguments, "--json", *QUICK)


def messages(*contacts: Contact) -> list[str]:
    return [email.message for contact in contacts for email in contact.emails]


def test_every_email_is_there_in_the_requested_order(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    one, two, none = world.add(free=23, linked=2, other_owner=1), world.add(linked=3), world.add()
    result = run_fetch(bulklink, standin, two.id, none.id, one.id, two.id, "-o", "f.csv")
    assert result.code == 0, result
    shown = result.object
    assert shown["file"] == "f.csv"
    counted = {name: shown[name] for name in ("contacts", "read", "unread", "emails", "on_no_deal")}
    assert counted == {"contacts": 3, "read": 3, "unread": 0, "emails": 29, "on_no_deal": 24}
    assert shown["calls"] == {"read": 5, "lookup": 1, "retried": 0}
    assert 0 < shown["latency"]["p50"] <= shown["latency"]["max"]
    assert "3 contacts: at least 4 credits, one a call." in result.err
    rows = read(bulklink.folder / "f.csv")
    assert [line["message_id"] for line in rows] == messages(two, one)
    assert list(rows[0]) == COLUMNS
    assert rows[0] == {
        "contact_id": two.id,
        "owner_id": PAT,
        "owner_name": USERS[PAT],
        "message_id": two.linked[0].message,
        "deal_id": "",
        "from_deal_id": two.a,
        "from_deal_name": world.deal_names()[two.a],
        "subject": "Question",
        "time": "",
        "direction": "",
        "deal_name": "",
        **dict.fromkeys(COLUMNS[11:], ""),
    }
    assert {line["from_deal_id"] for line in rows if line["message_id"] in messages(one)} == {
        "none",
        one.a,
    }
    assert stat.S_IMODE((bulklink.folder / "f.csv").stat().st_mode) == 0o600
    assert not (bulklink.folder / "f.csv.fetching").exists()


def test_all_formats_of_a_fetch_have_the_same_content(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=2, linked=1)
    for name in ("f.csv", "f.jsonl", "f.csv.gz", "f.parquet", "f.xlsx"):
        assert run_fetch(bulklink, standin, contact.id, "-o", name).code == 0
    folder = bulklink.folder
    expected = [tuple(value or None for value in line.values()) for line in read(folder / "f.csv")]
    packed = gzip.decompress((folder / "f.csv.gz").read_bytes())
    assert packed == (folder / "f.csv").read_bytes()
    lines = (folder / "f.jsonl").read_text("utf-8").splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == expected
    parquet = duckdb.connect().execute(f"FROM '{folder / 'f.parquet'}'").fetchall()
    assert parquet == expected
    sheet = CalamineWorkbook.from_path(folder / "f.xlsx").get_sheet_by_index(0).to_python()
    assert [tuple(cell or None for cell in line) for line in sheet[1:]] == expected
    plain = bulklink.with_env(**standin.env())("fetch", contact.id, "-o", "-", *QUICK)
    assert plain.out.encode() == (folder / "f.csv").read_bytes().replace(b"\r\n", b"\n") or (
        plain.out.encode() == (folder / "f.csv").read_bytes()
    )


def test_contacts_come_from_lists_and_mappings(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1) for _ in range(4)]
    ids = [one.id for one in contacts]
    folder = bulklink.folder
    (folder / "ids.txt").write_text(f"Contact ID\n{ids[2]}\n\n", "utf-8")
    (folder / "table.csv").write_text(f'Contact ID;Name\n="{ids[1]}";Ann\nzcrm_{ids[0]};Bo\n')
    result = run_fetch(
        bulklink, standin, ids[3], "@ids.txt", "--from-mapping", "table.csv", "-o", "f.csv"
    )
    assert result.code == 0, result
    got = [line["contact_id"] for line in read(folder / "f.csv")]
    assert got == [ids[3], ids[2], ids[1], ids[0]]
    (folder / "plain.jsonl").write_text(f'{{"Contact Id": "{ids[0]}"}}\n')
    result = run_fetch(bulklink, standin, "--from-mapping", "plain.jsonl", "-o", "g.csv")
    assert [line["contact_id"] for line in read(folder / "g.csv")] == [ids[0]]
    alone = bulklink.with_env(**standin.env()).run_in_subprocess(
        "fetch", "-", "-o", "-", *QUICK, stdin=f"{ids[1]}\n"
    )
    assert alone.code == 0, alone
    assert [line["contact_id"] for line in csv.DictReader(io.StringIO(alone.out))] == [ids[1]]


def test_contacts_of_conflicting_rows_are_fetched_too(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    rows = [row(contact.free[0], deal, op="link") for deal in (contact.a, contact.b)]
    write_mapping(bulklink.folder / "m.csv", rows)
    result = run_fetch(bulklink, standin, "--from-mapping", "m.csv", "-o", "f.csv")
    assert result.object["emails"] == 1


def test_a_contact_that_cannot_be_read_is_reported_and_the_rest_is_read(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1) for _ in range(5)]

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        if seen.kind == "read" and seen.contact == contacts[1].id:
            return error(403, "NO_PERMISSION")
        if seen.kind == "read" and seen.contact == contacts[3].id:
            return Reply(418, body="teapot")
        if seen.kind == "read" and seen.contact == contacts[4].id:
            return error(400, "INVALID_DATA", "the id given seems to be invalid")
        return None

    standin.script = refuse
    result = run_fetch(bulklink, standin, *[one.id for one in contacts], "-o", "f.csv")
    assert result.code == 1, result
    assert (result.object["read"], result.object["unread"], result.object["emails"]) == (2, 3, 2)
    assert [(one["contact_id"], one["code"]) for one in result.object["unread_contacts"]] == [
        (contacts[1].id, "NO_PERMISSION"),
        (contacts[3].id, "HTTP 418"),
        (contacts[4].id, "INVALID_DATA"),
    ]
    assert f"contact {contacts[3].id}: HTTP 418\n" in result.err
    assert contacts[4].id in result.err


@pytest.mark.parametrize("command", ["fetch", "audit"])
def test_times_between_which_there_is_no_email_are_refused_before_a_call(
    command: str, bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1).id
    span = ("--since", "2026-02-01", "--until", "2026-01-31")
    connected = bulklink.with_env(**standin.env())
    refused = connected(command, contact, "-o", "f.csv", *span)
    assert refused.code == 2, refused
    assert "--since, --until: No email is from 2026-02-01" in refused.err
    assert not standin.requests_of("lookup")
    if command == "fetch":
        always = ("--since", "0001-01-01", "--until", "9999-12-31")
        assert run_fetch(bulklink, standin, contact, "-o", "f.csv", *always).object["read"] == 1


def test_half_an_emoji_in_a_subject_does_not_hide_the_emails_of_its_contact(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    page = b'{"Emails": [{"message_id": "a1", "linked_record": null, "subject": "Hi \\ud83d"}]}'

    async def cut(seen: ReceivedRequest) -> Reply | None:
        return Reply(body=page) if seen.kind == "read" else None

    standin.script = cut
    result = run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    assert result.code == 0, result
    assert [row["subject"] for row in read(bulklink.folder / "f.csv")] == ["Hi \ufffd"]


def test_a_fetch_stops_if_no_contact_may_be_read(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1) for _ in range(20)]

    async def refuse(seen: ReceivedRequest) -> Reply | None:
        return error(403, "NO_PERMISSION") if seen.kind == "read" else None

    standin.script = refuse
    arguments = [*(one.id for one in contacts), "-o", "f.csv", "--concurrency", "1"]
    result = run_fetch(bulklink, standin, *arguments)
    assert result.code == 3, result
    assert len(standin.requests_of("read")) < 20
    assert not (bulklink.folder / "f.csv").exists()


def test_a_fetch_that_stops_says_to_run_it_again_and_where_the_answer_is(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1).id for _ in range(5)]
    stopped = run_fetch(bulklink, standin, *contacts, "-o", "f.csv", "--max-credits", "2")
    assert stopped.code == 4, stopped
    assert "Run the same command again with another --max-credits." in stopped.err

    async def redirect(seen: ReceivedRequest) -> Reply | None:
        return Reply(302) if seen.kind == "read" else None

    standin.script = redirect
    stopped = run_fetch(bulklink, standin, *contacts, "-o", "f.csv")
    assert stopped.code == 3, stopped
    answers = Path("f.csv.fetching", "answers.jsonl")
    assert (bulklink.folder / answers).read_text("utf-8")
    assert f"{answers}. Fix the cause, then run the same command again." in " ".join(
        stopped.err.split()
    )
    assert "resume" not in stopped.err.lower()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_named_and_only_calls_that_left_are_counted(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    (bulklink.folder / "c.txt").write_text(
        "\n".join(world.add(free=9).id for _ in range(300)), "utf-8"
    )
    fetch = f"{sys.executable} -m bulklink fetch @c.txt -o f.csv --yes --rate off --json"
    full = subprocess.run(
        ["bash", "-c", f"ulimit -f 100; exec {fetch}"],
        cwd=bulklink.folder,
        env=bulklink.with_env(**standin.env()).environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 3, full
    shown = json.loads(full.stdout)
    assert shown["stopped_by"] == "ledger"
    assert shown["calls"]["read"] == len(standin.requests_of("read")) > 0
    error = " ".join(full.stderr.split())
    assert "fetched.jsonl: Cannot write what was read:" in error
    assert "then run the same command again" in error
    assert "resume" not in error


def test_a_truncated_list_is_not_treated_as_complete(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=15)

    async def cut(seen: ReceivedRequest) -> Reply | None:
        if seen.kind != "read":
            return None
        page = standin._page(seen).body
        page["info"]["next_index"] = None
        return Reply(body=page)

    standin.script = cut
    result = run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    assert result.code == 1, result
    assert result.object["unread_contacts"][0]["code"] == "list-cut"


def test_an_email_is_fetched_whatever_fields_are_missing(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    entries: list[Any] = [
        {"message_id": "a1"},
        {"message_id": "a2", "linked_record": {"id": 77, "module": {"api_name": "Leads"}}},
        {"message_id": "a3", "linked_record": None, "sent": True, "owner": None, "subject": None},
        {"message_id": "a3", "linked_record": None, "sent": True, "owner": None},
        {"message_id": "a4", "linked_record": {"id": "78"}, "sent": False, "subject": 'a,"b"\n=c'},
        {"subject": "no id"},
        "no email",
    ]

    async def odd(seen: ReceivedRequest) -> Reply | None:
        return Reply(body={"Emails": entries}) if seen.kind == "read" else None

    standin.script = odd
    result = run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    assert result.code == 0, result
    assert (result.object["emails"], result.object["nameless"], result.object["not_told"]) == (
        4,
        2,
        2,
    )
    rows = {line["message_id"]: line for line in read(bulklink.folder / "f.csv")}
    assert [rows[f"a{n}"]["from_deal_id"] for n in (1, 2, 3, 4)] == ["", "", "none", "78"]
    assert [rows[f"a{n}"]["direction"] for n in (1, 3, 4)] == ["", "sent", "received"]
    assert rows["a4"]["subject"] == 'a,"b"\n=c'


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_the_same_command_continues_a_stopped_fetch(
    bulklink: Command, standin: StandIn, world: World, how: str
) -> None:
    contacts = [world.add(free=12) for _ in range(8)]

    async def hold(seen: ReceivedRequest) -> Reply | None:
        second = seen.contact in {one.id for one in contacts[4:]} and "index" in seen.query
        if seen.kind == "read" and second:
            await standin.wait_for_gate()
        return None

    standin.script = hold
    command = bulklink.with_env(**standin.env())
    arguments = ["fetch", *(one.id for one in contacts), "-o", "f.csv", "--json", *QUICK]
    with ensure_terminated(command.start(*arguments)) as process:
        standin.wait_until(lambda: standin.in_flight["read"] == 4)
        _wait_for_lines(bulklink.folder / "f.csv.fetching" / "fetched.jsonl", 4)
        _stop(process, how, standin)
    standin.wait_until(lambda: not standin.in_flight.total())
    assert not (bulklink.folder / "f.csv").exists()
    before = len(standin.requests_of("read"))
    other = command("fetch", contacts[0].id, "-o", "f.csv", "--json", *QUICK)
    assert (other.code, other.error["code"]) == (2, "usage")
    result = command(*arguments)
    assert result.code == 0, result
    again = {seen.contact for seen in standin.requests_of("read")[before:]}
    assert again <= {one.id for one in contacts[4:]}
    rows = read(bulklink.folder / "f.csv")
    assert [line["message_id"] for line in rows] == messages(*contacts)


def _wait_for_lines(path: Path, finished: int) -> None:
    """Wait until n contacts are recorded on disk as finished."""
    patience = time.monotonic() + 20
    while path.read_bytes().count(b'"event":"contact"') < finished:
        assert time.monotonic() < patience
        time.sleep(0.01)


def _stop(process: Any, how: str, standin: StandIn) -> None:
    if how == "kill":
        process.kill()
        process.wait(10)
        standin.gate.set()
        return
    interrupt_and_wait(process)
    standin.gate.set()
    result = wait_for_exit(process)
    assert result.code == 130, result
    assert result.object["stopped_by"] == "interrupted"


def test_a_fetch_stays_within_its_credits_and_can_be_continued(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1) for _ in range(5)]
    arguments = [*(one.id for one in contacts), "-o", "f.csv"]
    result = run_fetch(bulklink, standin, *arguments, "--max-credits", "4")
    assert result.code == 4, result
    assert (result.object["stopped_by"], result.object["read"]) == ("max-credits", 3)
    assert not (bulklink.folder / "f.csv").exists()
    result = run_fetch(bulklink, standin, *arguments, "--max-credits", "4")
    assert result.code == 0, result
    assert "3 of 5 contacts were read by an earlier command" in result.err
    assert len(read(bulklink.folder / "f.csv")) == 5


def test_an_unfinished_fetch_of_an_earlier_version_is_continued(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1) for _ in range(5)]
    arguments = [*(one.id for one in contacts), "-o", "f.csv"]
    assert run_fetch(bulklink, standin, *arguments, "--max-credits", "4").code == 4
    folder = bulklink.folder / "f.csv.fetching"
    record = json.loads((folder / "fetch.json").read_bytes())
    new = ("selected_sha256", "needs_crm", "conditions", "email_filter", "sampled", "confirmed")
    earlier = {name: value for name, value in record.items() if name not in new}
    (folder / "fetch.json").write_text(json.dumps(earlier))
    for name in ("requests.parquet", "unresolved.jsonl"):
        (folder / name).unlink()
    result = run_fetch(bulklink, standin, *arguments)
    assert result.code == 0, result
    assert "3 of 5 contacts were read by an earlier command" in result.err
    assert [row["message_id"] for row in read(bulklink.folder / "f.csv")] == messages(*contacts)


def test_a_fetch_that_read_nothing_leaves_no_folder(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contacts = [world.add(free=1), world.add(free=1)]
    nowhere = bulklink.with_env(**standin.env(BULKLINK_ACCOUNTS_URL="http://127.0.0.1:9"))
    result = nowhere("fetch", contacts[0].id, "-o", "f.csv", *QUICK)
    assert result.code == 3, result
    assert "nothing was written" in result.err
    result = run_fetch(bulklink, standin, contacts[1].id, "-o", "f.csv")
    assert result.code == 0, result
    assert [line["contact_id"] for line in read(bulklink.folder / "f.csv")] == [contacts[1].id]


def test_an_existing_file_is_kept_unless_forced(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    (bulklink.folder / "f.csv").write_text("mine\n", "utf-8")
    result = run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    assert (result.code, result.error["code"]) == (2, "usage")
    assert (bulklink.folder / "f.csv").read_text("utf-8") == "mine\n"
    assert not standin.requests
    assert run_fetch(bulklink, standin, contact.id, "-o", "f.csv", "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "expected_text"),
    [
        (["abc", "-o", "f.csv"], "usage", "abc"),
        (["5.84E+18", "-o", "f.csv"], "usage", "5.84E+18"),
        (["-o", "f.csv"], "usage", "No contact"),
        (["7", "-o", "f.txt"], "usage", "f.txt"),
        (["7", "-o", "no/f.csv"], "usage", "no such folder"),
        (["7"], "usage", "output"),
        (["@nope.txt", "-o", "f.csv"], "bad-file", "nope.txt"),
        (["@bad.txt", "-o", "f.csv"], "bad-file", "bad.txt, line 2"),
        (["--from-mapping", "nope.csv", "-o", "f.csv"], "bad-file", "nope.csv"),
        (["7", "-o", "-"], "usage", "standard output"),
    ],
)
def test_invalid_contacts_are_refused_before_any_call(
    bulklink: Command, standin: StandIn, arguments: list[str], code: str, expected_text: str
) -> None:
    (bulklink.folder / "bad.txt").write_text("7\nAnn,Bo\n", "utf-8")
    result = run_fetch(bulklink, standin, *arguments)
    assert result.code == 2, result
    assert result.error["code"] == code
    assert expected_text in result.out
    assert not standin.requests
    assert not list(bulklink.folder.glob("f.*"))


def test_the_file_is_a_mapping_once_the_deals_are_filled_in(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=3)
    run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    rows = [{**line, "deal_id": contact.b} for line in read(bulklink.folder / "f.csv")]
    write_mapping(bulklink.folder / "m.csv", rows)
    result = bulklink.with_env(**standin.env())("link", "m.csv", "--json", *QUICK)
    assert result.code == 0, result
    assert result.object["counts"]["done"] == 3
    assert not standin.requests_of("users"), "the owners' names are in the file"


@pytest.mark.parametrize("op", ["relink", "unlink"])
def test_the_file_guards_emails_that_are_moved_meanwhile(
    bulklink: Command, standin: StandIn, world: World, op: str
) -> None:
    contact, other = world.add(free=2, linked=2), world.add()
    run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    rows = [{**line, "deal_id": contact.b} for line in read(bulklink.folder / "f.csv")]
    write_mapping(bulklink.folder / "m.csv", rows)
    free, linked = contact.free[0].message, contact.linked[0].message
    moved = {free: contact.a, linked: other.a}
    standin.deals.update(moved)
    command = bulklink.with_env(**standin.env())
    result = command(op, "m.csv", "--run-dir", "here", "--json", *QUICK)
    assert result.code == 1, result
    assert result.object["counts"]["failed"] == 2
    assert {message: standin.deals[message] for message in moved} == moved
    ledger = (bulklink.folder / "here" / "ledger.jsonl").read_text("utf-8")
    assert ledger.count('"changed-since"') == 2


@pytest.mark.parametrize("form", ["f.csv", "f.jsonl", "f.xlsx"])
def test_a_filled_in_deal_name_is_sent_without_a_look_up(
    bulklink: Command, standin: StandIn, world: World, form: str
) -> None:
    contact = world.add(free=2)
    run_fetch(bulklink, standin, contact.id, "-o", form)
    assert bulklink("plan", "--op", "unlink", form).code == 0, "empty columns do no harm"
    run_fetch(bulklink, standin, contact.id, "-o", "filled.csv")
    named = {"deal_id": contact.b, "deal_name": "As I call it"}
    rows = [{**line, **named} for line in read(bulklink.folder / "filled.csv")]
    write_mapping(bulklink.folder / "m.csv", rows)
    del standin.requests[:]
    result = bulklink.with_env(**standin.env())("link", "m.csv", "--json", *QUICK)
    assert result.code == 0, result
    assert not [request for request in standin.requests if request.kind == "deals"]
    (link,) = standin.requests_of("link")
    assert "As I call it" in str(link.body)


def test_a_file_of_an_earlier_version_can_be_compared(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1, linked=1)
    run_fetch(bulklink, standin, contact.id, "-o", "f.csv")
    rows = read(bulklink.folder / "f.csv")
    write_mapping(bulklink.folder / "m.csv", [{**line, "deal_id": contact.b} for line in rows])
    earlier = [{name: line[name] for name in COLUMNS if name != "deal_name"} for line in rows]
    write_mapping(bulklink.folder / "earlier.csv", earlier)
    for name in ("f.csv", "earlier.csv"):
        arguments = ("plan", "--op", "relink", "m.csv", "--compare-with", name, "--json")
        shown = bulklink(*arguments).object["compare"]
        assert (shown["moved"], shown["linked"]) == (1, 1)


def test_a_plan_shows_its_changes_to_fetched_emails(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact, other = world.add(free=3, linked=4), world.add(free=1)
    run_fetch(bulklink, standin, contact.id, other.id, "-o", "f.csv")
    rows = [row(email, contact.b) for email in (*contact.free[:2], *contact.linked)]
    rows.append({**row(other.free[0], contact.b), "contact_id": contact.id})
    rows[2]["deal_id"] = contact.a
    write_mapping(bulklink.folder / "m.csv", rows)
    calls = len(standin.requests)
    arguments = ("plan", "--op", "relink", "m.csv", "--compare-with", "f.csv")
    result = bulklink(*arguments)
    assert result.code == 0, result
    assert (
        "Compared with 8 emails of f.csv: 3 emails move from 1 deal to 1; 2 move from no deal to a"
        " deal; 1 already right; 1 belongs to another contact."
    ) in result.out
    lines = [line.strip() for line in result.out.splitlines()]
    name = world.deal_names()[contact.a]
    assert f"3  {name} ({contact.a}) → deal {contact.b}" in lines
    assert f"2  no deal → deal {contact.b}" in lines
    deal_a = next(line for line in lines if line.startswith(contact.a))
    assert deal_a.split() == [contact.a, "3", "0", *name.split()]
    shown = bulklink(*arguments, "--json").object["compare"]
    assert (shown["moved"], shown["linked"], shown["right"]) == (3, 2, 1)
    assert shown["deals"][0] == {
        "deal_id": contact.b, "deal_name": None, "leave": 0, "come": 5
    }  # fmt: skip
    assert shown["contacts"] == [{"contact_id": contact.id, "change": 5, "right": 1, "other": 1}]
    assert "compare" not in bulklink("plan", "--op", "relink", "m.csv", "--json").object
    assert len(standin.requests) == calls, "no connection is opened"
    sealed = bulklink(*arguments, "--run-dir", "here", "--json").object
    assert sealed["compare"] == shown


@pytest.mark.parametrize("name", ["nope.csv", "m.txt", "other.csv"])
def test_a_file_that_was_not_fetched_is_refused(bulklink: Command, name: str) -> None:
    contact = World().add(free=1)
    for file in ("m.csv", "other.csv"):
        write_mapping(bulklink.folder / file, [row(contact.free[0], contact.a)])
    (bulklink.folder / "m.txt").write_text("x", "utf-8")
    result = bulklink("plan", "--op", "link", "m.csv", "--compare-with", name, "--json")
    assert result.code == 2, result
    assert result.error["code"] in ("bad-file", "usage")
    assert name in result.error["where"]
    assert result.error["advice"]
