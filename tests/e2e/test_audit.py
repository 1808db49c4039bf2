"""`bulklink audit`: from wrong links to a mapping that corrects them."""

from __future__ import annotations

import contextlib
import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.command import (
    Command,
    CommandResult,
    ensure_terminated,
    interrupt_and_wait,
    wait_for_exit,
)
from tests.e2e.mixed_up import (
    PAT,
    all_contacts,
    contact_id,
    count_emails,
    deal_id,
    message_id,
    mixed_up_world,
)
from tests.e2e.servers import Emulator, connection, serve_world_file

CONTACTS = 4
QUICK = ("--rate", "off")
EVERYBODY = all_contacts(CONTACTS)
COLUMNS = [
    *("contact_id", "owner_id", "owner_name", "message_id", "deal_id", "deal_name"),
    *("from_deal_id", "op", "kind", "tier", "confidence", "rule", "reasons"),
    *("runner_up_deal_id", "runner_up_deal_name", "subject", "time", "accept"),
]
KEYS = [
    *("contacts", "emails", "unread", "proposed", "by_hand", "uncertain", "reading", "calls"),
    *("credits", "files", "stopped_by", "resume_at", "exit_code"),
]
NO_CALLS = {"read": 0, "lookup": 0, "retried": 0}
NOTHING = {"attach": 0, "move": 0, "detach": 0}


@contextlib.contextmanager
def serving(folder: Path, world: dict[str, Any], *options: str) -> Iterator[Emulator]:
    folder.mkdir(exist_ok=True)
    file = folder / "world.json"
    file.write_text(json.dumps(world), "utf-8")
    with serve_world_file(file, "--tokens-per-window", "0", *options) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An org whose wrong links no test corrects."""
    with serving(tmp_path_factory.mktemp("crm"), mixed_up_world(CONTACTS)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def audited(crm: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all contacts were audited once, into m.csv."""
    folder = tmp_path_factory.mktemp("audited")
    command = Command(folder).with_env(**crm.env())
    result = command("audit", *EVERYBODY, "-o", "m.csv", *QUICK)
    assert result.code == 1, result
    return folder


@pytest.fixture
def connected(bulklink: Command, crm: Emulator) -> Command:
    return bulklink.with_env(**crm.env())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def proposed(result: CommandResult) -> dict[str, Any]:
    return dict(result.object["proposed"])


def copy_emails(audited: Path, folder: Path) -> None:
    """Copy what an audit read: emails and deals."""
    for name in ("m.emails.parquet", "m.emails.deals.jsonl"):
        (folder / name).write_bytes((audited / name).read_bytes())


def test_an_audit_proposes_to_move_and_attach_what_belongs_to_another_deal(
    connected: Command,
) -> None:
    result = connected("audit", *EVERYBODY, "-o", "m.csv", "--json", *QUICK)
    assert result.code == 1, result
    counts = result.object
    assert list(counts)[: len(KEYS)] == KEYS
    assert counts["proposed"] == {
        "sure": {"attach": CONTACTS, "move": CONTACTS, "detach": 0},
        "likely": NOTHING,
        "look": NOTHING,
    }
    assert (counts["contacts"], counts["emails"], counts["unread"]) == (
        len(EVERYBODY),
        count_emails(CONTACTS),
        0,
    )
    assert counts["by_hand"] == CONTACTS
    assert counts["credits"] == counts["calls"]["read"] + counts["calls"]["lookup"]
    assert counts["files"] == {
        "mapping": "m.csv",
        "review": "m.review.html",
        "audit": "m.audit.parquet",
        "emails": "m.emails.parquet",
        "deals": "m.emails.deals.jsonl",
    }
    assert {path.name for path in connected.folder.iterdir()} == {
        *counts["files"].values(),
        "state",
    }
    rows = rows_of(connected.folder / "m.csv")
    assert [(row["message_id"], row["op"], row["from_deal_id"]) for row in rows] == [
        row
        for number in range(CONTACTS)
        for row in (
            (message_id(number, 0), "relink", deal_id(number, 1)),
            (message_id(number, 2), "link", ""),
        )
    ]
    first = rows[0]
    assert list(first) == COLUMNS
    assert float(first.pop("confidence")) > 0.99
    assert "sent from it" in first.pop("reasons")
    assert first == {
        "contact_id": contact_id(0),
        "owner_id": PAT,
        "owner_name": "Patricia Boyle",
        "message_id": message_id(0, 0),
        "deal_id": deal_id(0, 0),
        "deal_name": "Harbour Cranes",
        "from_deal_id": deal_id(0, 1),
        "op": "relink",
        "kind": "move",
        "tier": "sure",
        "rule": deal_id(0, 1),
        "runner_up_deal_id": first["runner_up_deal_id"],
        "runner_up_deal_name": first["runner_up_deal_name"],
        "subject": "Harbour Cranes: first offer",
        "time": "2026-02-01T09:00:00+00:00",
        "accept": "",
    }


def test_what_was_read_is_audited_again_without_a_call_or_a_connection(
    bulklink: Command, audited: Path
) -> None:
    copy_emails(audited, bulklink.folder)
    result = bulklink("audit", "--fetched", "m.emails.parquet", "-o", "n.csv", "--json")
    assert result.code == 1, result
    assert (result.object["calls"], result.object["credits"]) == (NO_CALLS, 0)
    assert (bulklink.folder / "n.csv").read_bytes() == (audited / "m.csv").read_bytes()
    verdicts = (bulklink.folder / "n.audit.parquet").read_bytes()
    assert verdicts == (audited / "m.audit.parquet").read_bytes()


@pytest.mark.parametrize(
    ("roles", "known", "shown"),
    [
        ("yes", True, "Contact roles: the rule considers"),
        ("no", False, "Contact roles: the rule ignores"),
        ("named", None, ""),
    ],
)
def test_the_summary_says_whether_the_rule_considers_contact_roles_if_that_is_known(
    bulklink: Command, audited: Path, roles: str, known: bool | None, shown: str
) -> None:
    copy_emails(audited, bulklink.folder)
    audit = ("audit", "--fetched", "m.emails.parquet", "-o", "n.csv", "--force", "--roles", roles)
    assert bulklink(*audit, "--json").object["roles"] is known
    output = bulklink(*audit).out
    assert shown in output
    assert ("Contact roles:" in output) is bool(shown)


@pytest.mark.parametrize("suffix", ["csv", "xlsx", "parquet", "jsonl.gz"])
def test_a_fetched_file_of_any_format_gives_the_same_mapping(
    connected: Command, audited: Path, suffix: str
) -> None:
    fetched = connected("fetch", *EVERYBODY, "-o", f"f.{suffix}", *QUICK)
    assert fetched.code == 0, fetched
    result = connected("audit", "--fetched", f"f.{suffix}", "-o", "m.csv", "--json", *QUICK)
    assert result.code == 1, result
    assert result.object["calls"]["read"] == 0
    assert (connected.folder / "f.deals.jsonl").exists()
    assert rows_of(connected.folder / "m.csv") == rows_of(audited / "m.csv")


def test_the_order_of_the_rows_of_a_fetched_file_changes_nothing(
    connected: Command, audited: Path
) -> None:
    connected("fetch", *EVERYBODY, "-o", "f.csv", *QUICK)
    header, *lines = (connected.folder / "f.csv").read_text("utf-8").splitlines(keepends=True)
    for seed in range(3):
        Random(seed).shuffle(lines)
        (connected.folder / "f.csv").write_text(header + "".join(lines), "utf-8")
        result = connected("audit", "--fetched", "f.csv", "-o", "m.csv", "--force", *QUICK)
        assert result.code == 1, result
        assert (connected.folder / "m.csv").read_bytes() == (audited / "m.csv").read_bytes()


def test_an_audit_that_ran_out_of_credits_continues(connected: Command, audited: Path) -> None:
    command = ("audit", *EVERYBODY, "-o", "m.csv", "--max-credits", "3", "--json", *QUICK)
    stops = []
    while (result := connected(*command)).code == 4:
        stops.append(result.object["stopped_by"])
        assert result.object["proposed"] == dict.fromkeys(("sure", "likely", "look"), NOTHING)
        assert result.object["credits"] <= 3
        assert not (connected.folder / "m.csv").exists()
        assert len(stops) < 20
    assert result.code == 1, result
    assert len(stops) >= 3
    assert set(stops) == {"max-credits"}
    assert rows_of(connected.folder / "m.csv") == rows_of(audited / "m.csv")
    assert not any(connected.folder.glob("*.selection"))
    assert not any(connected.folder.glob("*ing"))


def test_an_audit_that_was_interrupted_while_it_read_deals_continues(
    bulklink: Command, audited: Path, tmp_path: Path
) -> None:
    world = mixed_up_world(CONTACTS)
    with serving(tmp_path / "slow", world, "--latency", "0.5") as emulator:
        command = bulklink.with_env(**emulator.env())
        process = command.start("audit", *EVERYBODY, "-o", "m.csv", "--concurrency", "1")
        with ensure_terminated(process):
            _wait_for(bulklink.folder / "m.emails.parquet.auditing" / "audit.json", process)
            interrupt_and_wait(process)
            result = wait_for_exit(process)
        assert result.code == 130, result
        assert "Run the same command again to continue." in result.out
        assert not (bulklink.folder / "m.csv").exists()
    with serving(tmp_path / "quick", world) as emulator:
        command = bulklink.with_env(**emulator.env())
        continued = command("audit", *EVERYBODY, "-o", "m.csv", *QUICK, "--json")
    assert continued.code == 1, continued
    assert continued.object["calls"]["read"] == 0, "no email is read twice"
    assert rows_of(bulklink.folder / "m.csv") == rows_of(audited / "m.csv")


def _wait_for(path: Path, process: Any) -> None:
    patience = time.monotonic() + 40
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_an_unfinished_audit_of_other_contacts_is_not_continued(connected: Command) -> None:
    stopped = connected("audit", *EVERYBODY, "-o", "m.csv", "--max-credits", "8", *QUICK)
    while not (connected.folder / "m.emails.parquet.selection").exists():
        assert stopped.code == 4, stopped
        stopped = connected("audit", *EVERYBODY, "-o", "m.csv", "--max-credits", "3", *QUICK)
    other = connected("audit", contact_id(0), "-o", "m.csv", "--json", *QUICK)
    assert (other.code, other.error["code"]) == (2, "usage")
    assert "other contacts" in other.error["message"]
    unnamed = connected("audit", "-o", "m.csv", "--json", *QUICK)
    assert (unnamed.code, unnamed.object["contacts"]) == (1, len(EVERYBODY))
    replaced = connected("audit", contact_id(0), "-o", "m.csv", "--force", "--json", *QUICK)
    assert (replaced.code, replaced.object["contacts"]) == (1, 1)


def test_deals_of_another_org_are_refused(bulklink: Command, audited: Path) -> None:
    copy_emails(audited, bulklink.folder)
    other = connection("https://www.zohoapis.eu", BULKLINK_ACCOUNTS_URL="https://accounts.zoho.eu")
    result = bulklink.with_env(**other)(
        "audit", "--fetched", "m.emails.parquet", "-o", "n.csv", "--json"
    )
    assert (result.code, result.error["code"]) == (2, "wrong-org")
    assert result.error["where"] == "m.emails.deals.jsonl"
    assert "zohoapis.eu" in result.error["message"]
    assert "--read-again" in result.error["advice"]


def test_an_audit_that_left_rows_out_does_not_pass_for_a_clean_one(
    connected: Command,
) -> None:
    fetched = connected("fetch", contact_id(CONTACTS), "-o", "f.csv", *QUICK)
    assert fetched.code == 0, fetched
    with (connected.folder / "f.csv").open("a", encoding="utf-8") as file:
        file.write("5.8431E+18" + "," * 18 + "\n")
    result = connected("audit", "--fetched", "f.csv", "-o", "m.csv", "--json", *QUICK)
    assert result.object["left_out"] == 1, result
    assert not any(sum(kinds.values()) for kinds in proposed(result).values())
    assert result.code == 1


def test_a_field_that_cannot_exist_is_refused_before_a_call(connected: Command) -> None:
    arguments = ("audit", *EVERYBODY, "-o", "m.csv", "--json", *QUICK)
    result = connected(*arguments, "--number-field", "Deal No")
    assert (result.code, result.error["code"]) == (2, "usage")
    assert result.error["where"] == "--number-field"
    assert not list(connected.folder.glob("m.*"))


def test_deals_that_are_too_old_are_refused_until_they_are_read_again(
    connected: Command, audited: Path
) -> None:
    copy_emails(audited, connected.folder)
    arguments = ("audit", "--fetched", "m.emails.parquet", "-o", "n.csv", "--json", *QUICK)
    refused = connected(*arguments, "--max-age", "0s")
    assert (refused.code, refused.error["code"]) == (2, "bad-file")
    assert "--read-again" in refused.error["advice"]
    assert "--max-age" in refused.error["advice"]
    read_again = connected(*arguments, "--max-age", "0s", "--read-again")
    assert read_again.code == 1, read_again
    assert read_again.object["calls"]["lookup"] > 0


def test_a_file_without_deals_needs_a_connection(bulklink: Command, audited: Path) -> None:
    emails = (audited / "m.emails.parquet").read_bytes()
    (bulklink.folder / "m.emails.parquet").write_bytes(emails)
    result = bulklink("audit", "--fetched", "m.emails.parquet", "-o", "n.csv", "--json")
    assert (result.code, result.error["code"]) == (2, "config")


def test_an_org_in_which_everything_is_right_gets_no_proposal(
    bulklink: Command, tmp_path: Path
) -> None:
    with serving(tmp_path / "tidy", mixed_up_world(CONTACTS, tidy=True)) as emulator:
        command = bulklink.with_env(**emulator.env())
        result = command("audit", *EVERYBODY, "-o", "m.csv", *QUICK)
    assert result.code == 0, result
    assert "Nothing to propose." in result.out
    assert "bulklink run" not in result.out
    assert rows_of(bulklink.folder / "m.csv") == []


def test_what_a_run_corrected_is_not_proposed_again(bulklink: Command, tmp_path: Path) -> None:
    with serving(tmp_path / "org", mixed_up_world(CONTACTS)) as emulator:
        command = bulklink.with_env(**emulator.env())
        assert command("audit", *EVERYBODY, "-o", "m.csv", *QUICK).code == 1
        planned = command("plan", "m.csv", "--only", "tier=sure", "--json")
        assert (planned.code, planned.object["messages"]) == (0, 2 * CONTACTS)
        sent = command("run", "m.csv", "--only", "tier=sure", "--yes", "--json", *QUICK)
        assert sent.code == 0, sent
        assert sent.object["counts"]["done"] == 2 * CONTACTS
        links = emulator.links()
        assert {links[message_id(number, 0)] for number in range(CONTACTS)} == {
            deal_id(number, 0) for number in range(CONTACTS)
        }
        again = command("audit", *EVERYBODY, "-o", "n.csv", "--json", *QUICK)
    assert again.code == 0, again
    assert again.object["by_hand"] > CONTACTS


@pytest.mark.parametrize("suffix", ["jsonl", "xlsx", "parquet", "csv.gz"])
def test_a_mapping_of_any_format_gives_the_same_plan(
    bulklink: Command, audited: Path, suffix: str
) -> None:
    copy_emails(audited, bulklink.folder)
    name = f"n.{suffix}"
    audit = bulklink("audit", "--fetched", "m.emails.parquet", "-o", name)
    assert audit.code == 1, audit
    digests = [
        bulklink("plan", mapping, "--only", "tier=sure", "--json").object["digest"]
        for mapping in (name, audited / "m.csv")
    ]
    assert digests[0] == digests[1]


def test_cells_that_a_spreadsheet_would_run_are_harmless(bulklink: Command, audited: Path) -> None:
    copy_emails(audited, bulklink.folder)
    arguments = ("--fetched", "m.emails.parquet", "-o", "n.csv", "--spreadsheet")
    assert bulklink("audit", *arguments).code == 1
    assert f'"=""{contact_id(0)}"""' in (bulklink.folder / "n.csv").read_text("utf-8")
    planned = bulklink("plan", "n.csv", "--only", "tier=sure", "--json")
    assert planned.object["messages"] == 2 * CONTACTS


def test_existing_files_are_replaced_only_with_force(bulklink: Command, audited: Path) -> None:
    copy_emails(audited, bulklink.folder)
    arguments = ("audit", "--fetched", "m.emails.parquet", "-o", "n.csv", "--json")
    for name in ("n.csv", "n.audit.parquet"):
        (bulklink.folder / name).write_text("mine", "utf-8")
        refused = bulklink(*arguments)
        assert (refused.code, refused.error["where"]) == (2, name)
        assert (bulklink.folder / name).read_text("utf-8") == "mine"
        (bulklink.folder / name).unlink()
    (bulklink.folder / "n.csv").write_text("mine", "utf-8")
    assert bulklink(*arguments, "--force").code == 1


def test_the_file_that_is_read_is_never_replaced(bulklink: Command, audited: Path) -> None:
    copy_emails(audited, bulklink.folder)
    result = bulklink(
        "audit", "--fetched", "m.emails.parquet", "-o", "m.emails.parquet", "--force", "--json"
    )
    assert (result.code, result.error["code"]) == (2, "usage")


def test_a_mapping_cannot_have_the_name_of_a_file_of_verdicts(
    bulklink: Command, audited: Path
) -> None:
    copy_emails(audited, bulklink.folder)
    arguments = ("-o", "n.audit.parquet", "--json")
    result = bulklink("audit", "--fetched", "m.emails.parquet", *arguments)
    assert (result.code, result.error["where"]) == (2, "n.audit.parquet")
    assert not (bulklink.folder / "n.audit.parquet").exists()
    (bulklink.folder / "n.audit.parquet").write_bytes((audited / "m.audit.parquet").read_bytes())
    result = bulklink("audit", "--check", "5", *arguments)
    assert (result.code, result.error["where"]) == (2, "n.audit.parquet")
    assert not list(bulklink.folder.glob("n.audit.check*"))


def test_a_fetched_file_takes_no_contacts(bulklink: Command) -> None:
    arguments = (contact_id(0), "--fetched", "f.csv", "--contacts-where", "Email is null")
    result = bulklink("audit", *arguments, "-o", "n.csv", "--json")
    assert (result.code, result.error["code"]) == (2, "usage")
    assert result.error["advice"] == "Omit CONTACTS, --contacts-where, or the file."


def test_an_audit_of_nobody_is_refused(connected: Command) -> None:
    result = connected("audit", "-o", "m.csv", "--json")
    assert (result.code, result.error["where"]) == (2, "CONTACTS")
    assert "--fetched" in result.error["advice"]


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (("--on-no-deal",), "attach"),
        (("--emails-on", deal_id(0, 1)), "move"),
        (("--emails-on", deal_id(0, 1), "--on-no-deal"), "attach move"),
        (("--since", "2026-02-02T00:00Z"), "attach"),
        (("--until", "2026-02-02T00:00Z"), "move"),
        (("--since", "2026-02-04T00:00Z"), ""),
    ],
    ids=str,
)
def test_filters_choose_proposals_and_leave_the_evidence(
    bulklink: Command, audited: Path, options: tuple[str, ...], kinds: str
) -> None:
    copy_emails(audited, bulklink.folder)
    arguments = ("--fetched", "m.emails.parquet", "-o", "n.csv", "--json")
    result = bulklink("audit", *arguments, *options)
    assert result.code == (1 if kinds else 0), result
    rows = rows_of(bulklink.folder / "n.csv")
    assert {row["kind"] for row in rows} == set(kinds.split())
    assert all(row in rows_of(audited / "m.csv") for row in rows)
    assert result.object["emails"] == count_emails(CONTACTS)
    assert result.object["filtered_out"] > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[weights]\nsent 4\n", "line 2"),
        ("[weights]\nsent = 'much'\n", "sent"),
    ],
)
def test_weights_that_are_none_are_refused(
    bulklink: Command, audited: Path, text: str, reason: str
) -> None:
    copy_emails(audited, bulklink.folder)
    (bulklink.folder / "w.toml").write_text(text, "utf-8")
    arguments = ("--fetched", "m.emails.parquet", "-o", "n.csv", "--weights", "w.toml", "--json")
    result = bulklink("audit", *arguments)
    assert (result.code, result.error["code"], result.error["where"]) == (2, "config", "w.toml")
    assert reason in result.error["message"]
    assert not (bulklink.folder / "n.csv").exists()


def test_the_weights_that_are_shown_can_be_given(bulklink: Command, audited: Path) -> None:
    copy_emails(audited, bulklink.folder)
    shown = bulklink("audit", "--show-weights")
    assert shown.code == 0, shown
    (bulklink.folder / "w.toml").write_text(shown.out, "utf-8")
    arguments = ("--fetched", "m.emails.parquet", "-o", "n.csv", "--weights", "w.toml")
    assert bulklink("audit", *arguments).code == 1
    assert (bulklink.folder / "n.csv").read_bytes() == (audited / "m.csv").read_bytes()
    named = bulklink("audit", "--show-weights", "--json").object["weights"]
    assert all(set(weight) == {"log_odds", "sentence"} for weight in named.values())


def test_the_sum_behind_a_verdict_is_shown_without_a_connection(audited: Path) -> None:
    result = Command(audited)("audit", "--explain", message_id(0, 2), "-o", "m.csv")
    assert result.code == 0, result
    for text in (
        f"Email {message_id(0, 2)} of contact {contact_id(0)}",
        "Re: Harbour Cranes: first offer",
        f"attach to Harbour Cranes ({deal_id(0, 0)})",
        f"Orchard Pumps ({deal_id(0, 1)})",
        "No deal of the contact",
        "in total",
        "(runner-up)",
    ):
        assert text in result.out
    content = Command(audited)("audit", "--explain", message_id(0, 2), "-o", "m.csv", "--json")
    (explanation,) = content.object["explanations"]
    probabilities = [one["probability"] for one in explanation["candidates"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)


def test_the_evidence_is_found_by_the_name_of_its_own_file(audited: Path) -> None:
    command = Command(audited)
    by_name = command("audit", "--explain", message_id(0, 0), "-o", "m.audit.parquet")
    assert by_name.out == command("audit", "--explain", message_id(0, 0), "-o", "m.csv").out


@pytest.mark.parametrize(("message", "output"), [("0000", "m.csv"), (message_id(0, 0), "x.csv")])
def test_an_email_or_an_audit_that_is_unknown_is_an_error(
    audited: Path, message: str, output: str
) -> None:
    result = Command(audited)("audit", "--explain", message, "-o", output, "--json")
    assert (result.code, result.error["code"]) == (2, "usage")


def test_an_email_of_several_contacts_is_explained_for_each(
    connected: Command, audited: Path
) -> None:
    rows = rows_of_fetch(connected)
    shared = [row | {"message_id": "abc"} for row in rows if row["subject"].endswith(": delivery")]
    write_rows(connected.folder / "f.csv", shared)
    audit = connected("audit", "--fetched", "f.csv", "-o", "m.csv", *QUICK)
    assert audit.code in (0, 1), audit
    result = connected("audit", "--explain", "abc", "-o", "m.csv")
    assert result.code == 0, result
    assert result.out.count("Email abc of contact") == CONTACTS


def rows_of_fetch(command: Command) -> list[dict[str, str]]:
    assert command("fetch", *EVERYBODY, "-o", "f.csv", *QUICK).code == 0
    return rows_of(command.folder / "f.csv")


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_rows_without_an_op_are_refused_with_their_place(bulklink: Command, audited: Path) -> None:
    rows = rows_of(audited / "m.csv")
    rows[0] |= {"op": "", "tier": "look"}
    write_rows(bulklink.folder / "m.csv", rows)
    refused = bulklink("plan", "m.csv")
    assert refused.code == 2, refused
    assert "m.csv:2" in refused.output
    assert "op is empty" in refused.output
    accepted = bulklink("plan", "m.csv", "--only", "tier=sure", "--json")
    assert (accepted.code, accepted.object["messages"]) == (0, len(rows) - 1)
