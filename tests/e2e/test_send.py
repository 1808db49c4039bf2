"""Sending a mapping puts its emails on their deals and records this in the ledger."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.audit import PLAN_CALLS, PLAN_KEYS, RUN_KEYS, assert_crm_matches, audit_run
from tests.e2e.command import PROGRAM, Command, as_csv, as_jsonl, row, rows, write_mapping
from tests.e2e.servers import Emulator
from tests.e2e.world import Contact


@pytest.mark.parametrize("source", ["csv", "jsonl", "stdin"])
def test_link_puts_every_email_on_its_deal(
    connected_command: Command, emulator: Emulator, contact: Contact, source: str
) -> None:
    given = [*rows(contact.free[:25], contact.a), *rows(contact.other_owner, contact.b)]
    before = emulator.links()
    if source == "stdin":
        ended = connected_command.run_in_subprocess(
            "link", "-", "--format", "jsonl", "--json", stdin=as_jsonl(given)
        )
    else:
        mapping = write_mapping(connected_command.folder / f"mapping.{source}", given)
        ended = connected_command("link", mapping.name, "--json")
    assert ended.code == 0, ended
    run = audit_run(ended, connected_command.folder, rows=30)
    assert run.counts == {"done": 30}
    assert (run.summary["op"], run.summary["state"], run.summary["resume_at"]) == (
        "link", "finished", None,
    )  # fmt: skip
    assert (run.calls["link"], run.calls["unlink"], run.calls["least"]) == (3, 0, 3)
    assert_crm_matches(run, before, emulator.links())


def test_link_shows_a_summary(connected_command: Command, contact: Contact) -> None:
    mapping = write_mapping(
        connected_command.folder / "mapping.csv", rows(contact.free[:7], contact.a)
    )
    ended = connected_command("link", mapping)
    assert ended.code == 0, ended
    assert "7" in ended.out
    assert "done" in ended.out
    assert "ledger.jsonl" in ended.output


def test_unlink_takes_every_email_off_its_deal(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    given = rows(contact.linked[:21], contact.b)
    before = emulator.links()
    ended = connected_command(
        "unlink", write_mapping(connected_command.folder / "mapping.csv", given), "--json"
    )
    assert ended.code == 0, ended
    run = audit_run(ended, connected_command.folder, rows=21)
    assert run.counts == {"done": 21}
    assert (run.calls["link"], run.calls["unlink"], run.calls["least"]) == (0, 2, 2)
    assert all(line["deal_id"] is None for line in run.results.values())
    assert_crm_matches(run, before, emulator.links())


def test_relink_moves_only_emails_on_another_deal(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    moved, right, fresh = contact.linked[:21], contact.linked[21:23], contact.free[:3]
    given = [*rows(moved, contact.b), *rows(right, contact.a), *rows(fresh, contact.b)]
    before = emulator.links()
    ended = connected_command(
        "relink", write_mapping(connected_command.folder / "mapping.csv", given), "--json"
    )
    assert ended.code == 0, ended
    run = audit_run(ended, connected_command.folder, rows=26)
    assert run.counts == {"done": 24, "unchanged": 2}
    assert (run.calls["link"], run.calls["unlink"]) == (2, 2)
    assert run.calls["least"] == 4
    assert_crm_matches(run, before, emulator.links())


def test_relink_writes_snapshot_unlink_step_and_link_in_this_order(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    email = contact.linked[0]
    mapping = write_mapping(connected_command.folder / "mapping.csv", [row(email, contact.b)])
    run = audit_run(
        connected_command("relink", mapping, "--json"), connected_command.folder, rows=1
    )
    events = [
        (line["event"], line.get("op"))
        for line in run.ledger
        if line.get("row") == 1 or line.get("rows") == [1]
    ]
    assert [one for one in events if one != ("call", "read")] == [
        ("snapshot", None),
        ("call", "unlink"),
        ("step", None),
        ("call", "link"),
        ("result", "relink"),
    ]
    (snapshot,) = run.lines("snapshot")
    name = emulator.world.deal_names()[contact.a]
    assert snapshot["previous_deal_id"] == contact.a
    assert snapshot["previous_deal_name"] == name
    result = run.result(email.message)
    assert (result["status"], result["deal_id"]) == ("done", contact.b)
    assert (result["previous_deal_id"], result["previous_deal_name"]) == (contact.a, name)


def test_a_snapshot_of_an_email_on_no_deal_is_null(
    connected_command: Command, contact: Contact
) -> None:
    mapping = write_mapping(
        connected_command.folder / "mapping.csv", [row(contact.free[0], contact.b)]
    )
    run = audit_run(
        connected_command("relink", mapping, "--json"), connected_command.folder, rows=1
    )
    (snapshot,) = run.lines("snapshot")
    assert snapshot["previous_deal_id"] is None
    assert not run.lines("step")
    assert run.calls["unlink"] == 0
    assert run.counts == {"done": 1}


def test_a_mixed_mapping_applies_the_op_of_each_row_in_shared_calls(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    given = [
        *rows(contact.free[:10], contact.a, op="link"),
        *rows(contact.linked[:10], contact.b, op="ReLink"),
        *rows(contact.linked[10:20], op="UNLINK"),
    ]
    before = emulator.links()
    ended = connected_command(
        "run", write_mapping(connected_command.folder / "mapping.csv", given), "--json"
    )
    assert ended.code == 0, ended
    run = audit_run(ended, connected_command.folder, rows=30)
    assert run.summary["op"] == "mixed"
    assert run.counts == {"done": 30}
    assert (run.calls["link"], run.calls["unlink"], run.calls["least"]) == (1, 1, 2)
    assert {line["op"] for line in run.results.values()} == {"link", "unlink", "relink"}
    assert_crm_matches(run, before, emulator.links())


def test_the_mapping_of_a_job_file_is_relative_to_it(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    folder = connected_command.folder / "jobs"
    folder.mkdir()
    write_mapping(folder / "one.csv", rows(contact.free[:3], contact.a))
    write_mapping(folder / "two.jsonl", rows(contact.free[3:6], contact.b))
    (folder / "job.toml").write_text(
        'op = "link"\nmapping = ["one.csv", "two.jsonl"]\nbatch_size = 2\n', "utf-8"
    )
    before = emulator.links()
    ended = connected_command("run", "jobs/job.toml", "--json")
    assert ended.code == 0, ended
    run = audit_run(ended, connected_command.folder, rows=6)
    assert (run.summary["op"], run.calls["link"], run.calls["least"]) == ("link", 3, 1)
    assert_crm_matches(run, before, emulator.links())


def test_plan_forecasts_without_a_connection_or_a_file(bulklink: Command, contact: Contact) -> None:
    given = [*rows(contact.free[:25], contact.a), *rows(contact.other_owner, contact.b)]
    mapping = write_mapping(bulklink.folder / "mapping.csv", [*given, given[0]])
    ended = bulklink("plan", mapping, "--op", "link", "--json")
    assert ended.code == 0, ended
    plan = ended.object
    assert set(plan) == PLAN_KEYS
    assert set(plan["calls"]) == PLAN_CALLS
    assert (plan["op"], plan["run_dir"]) == ("link", None)
    assert (plan["rows"], plan["messages"], plan["duplicate"]) == (31, 30, 1)
    assert (plan["rejected"], plan["groups"]) == (0, 2)
    assert (plan["calls"]["link"], plan["calls"]["unlink"], plan["calls"]["least"]) == (3, 0, 3)
    for amounts in (plan["credits"], plan["seconds"]):
        assert amounts.keys() == {"least", "likely", "most"}
        assert 0 <= amounts["least"] <= amounts["likely"] <= amounts["most"]
    assert plan["credits"]["least"] >= 3
    assert {file.name for file in bulklink.folder.iterdir()} <= {"mapping.csv", "state"}


def test_the_digest_depends_on_content_and_options_alone(
    bulklink: Command, contact: Contact
) -> None:
    given = rows(contact.free[:3], contact.a)
    write_mapping(bulklink.folder / "one.csv", given)
    write_mapping(bulklink.folder / "two.csv", given)
    write_mapping(bulklink.folder / "other.csv", given[:2])

    def digest(*arguments: str) -> str:
        return str(bulklink("plan", "--json", "--op", *arguments).object["digest"])

    first = digest("link", "one.csv")
    assert digest("link", "two.csv", "--run-dir", "sealed") == first
    assert digest("link", "other.csv") != first
    assert digest("relink", "one.csv") != first


def test_plan_seals_into_a_run_folder(bulklink: Command, contact: Contact) -> None:
    write_mapping(bulklink.folder / "mapping.csv", rows(contact.free[:3], contact.a))
    ended = bulklink("plan", "mapping.csv", "--op", "link", "--run-dir", "sealed", "--json")
    assert ended.code == 0, ended
    assert Path(ended.object["run_dir"]).name == "sealed"
    folder = bulklink.folder / "sealed"
    assert json.loads((folder / "run.json").read_text("utf-8"))["state"] == "planned"
    assert (folder / "plan.parquet").is_file()
    shown = bulklink("status", "sealed", "--json")
    assert shown.code == 0, shown
    assert set(shown.object) == RUN_KEYS
    assert (shown.object["state"], shown.object["counts"]["pending"]) == ("planned", 3)


def test_a_plan_with_refused_rows_is_not_sealed_under_stop(
    bulklink: Command, contact: Contact
) -> None:
    write_mapping(
        bulklink.folder / "mapping.csv",
        [*rows(contact.free[:2], contact.a), row(contact.free[2], "x")],
    )
    ended = bulklink("plan", "mapping.csv", "--op", "link", "--run-dir", "sealed", "--json")
    assert ended.code == 2, ended
    assert ended.error["code"] == "invalid-rows"
    assert not (bulklink.folder / "sealed" / "plan.parquet").exists()


def test_a_plan_with_refused_rows_ends_with_1_under_skip(
    bulklink: Command, contact: Contact
) -> None:
    write_mapping(
        bulklink.folder / "mapping.csv",
        [*rows(contact.free[:2], contact.a), row(contact.free[2], "x")],
    )
    ended = bulklink("plan", "mapping.csv", "--op", "link", "--on-invalid", "skip", "--json")
    assert ended.code == 1, ended
    assert (ended.object["rows"], ended.object["messages"], ended.object["rejected"]) == (3, 2, 1)


def test_status_repeats_the_summaries_of_the_runs(
    connected_command: Command, contact: Contact
) -> None:
    one = write_mapping(connected_command.folder / "one.csv", rows(contact.free[:2], contact.a))
    two = write_mapping(connected_command.folder / "two.csv", rows(contact.linked[:2]))
    first = connected_command("link", one, "--json").object
    second = connected_command("unlink", two, "--json").object
    shown = connected_command("status", first["run_dir"], "--json")
    assert shown.code == 0
    assert shown.object == first
    everything = connected_command("status", "--json")
    assert everything.code == 0
    assert set(everything.object) == {"runs"}
    assert sorted(everything.object["runs"], key=str) == sorted([first, second], key=str)
    status = connected_command("status")
    assert status.code == 0
    assert Path(first["run_dir"]).name in status.out
    assert Path(second["run_dir"]).name in status.out


def test_an_already_linked_email_is_unchanged_or_failed_on_another_deal(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    there, elsewhere = contact.linked[:3], contact.linked[3:6]
    given = [*rows(there, contact.a), *rows(elsewhere, contact.b), row(contact.free[0], contact.b)]
    before = emulator.links()
    ended = connected_command(
        "link", write_mapping(connected_command.folder / "mapping.csv", given), "--json"
    )
    assert ended.code == 1, ended
    run = audit_run(ended, connected_command.folder, rows=7)
    assert run.counts == {"done": 1, "unchanged": 3, "failed": 3}
    for email in elsewhere:
        result = run.result(email.message)
        assert (result["status"], result["code"]) == ("failed", "ALREADY_LINKED")
        assert result["current_deal_id"] == contact.a
    assert_crm_matches(run, before, emulator.links())


def test_the_same_mapping_again_changes_nothing(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    mapping = write_mapping(
        connected_command.folder / "mapping.csv", rows(contact.free[:22], contact.a)
    )
    assert connected_command("link", mapping, "--json").code == 0
    before = emulator.links()
    ended = connected_command("link", mapping, "--json")
    assert ended.code == 0, ended
    run = audit_run(ended, connected_command.folder, rows=22)
    assert run.counts == {"unchanged": 22}
    assert emulator.links() == before


def test_a_deal_of_another_contact_fails_only_its_email(
    connected_command: Command, emulator: Emulator, contacts: list[Contact]
) -> None:
    mine, other, _ = contacts
    given = [*rows(mine.free[:9], mine.a), row(mine.free[9], other.a)]
    before = emulator.links()
    ended = connected_command(
        "link", write_mapping(connected_command.folder / "mapping.csv", given), "--json"
    )
    assert ended.code == 1, ended
    run = audit_run(ended, connected_command.folder, rows=10)
    assert run.counts == {"done": 9, "failed": 1}
    failed = run.result(mine.free[9].message)
    assert (failed["code"], failed["status"]) == ("NOT_ALLOWED", "failed")
    assert failed["message"]
    assert_crm_matches(run, before, emulator.links())


def test_a_relink_whose_link_half_is_refused_is_put_back(
    connected_command: Command, emulator: Emulator, contacts: list[Contact]
) -> None:
    mine, other, _ = contacts
    given = [*rows(mine.linked[:3], mine.b), *rows(mine.linked[3:5], other.a)]
    before = emulator.links()
    ended = connected_command(
        "relink", write_mapping(connected_command.folder / "mapping.csv", given), "--json"
    )
    assert ended.code == 1, ended
    run = audit_run(ended, connected_command.folder, rows=5)
    assert run.counts == {"done": 3, "failed": 2}
    for email in mine.linked[3:5]:
        result = run.result(email.message)
        assert (result["status"], result["current_deal_id"]) == ("failed", mine.a)
        assert result["previous_deal_id"] == mine.a
    assert_crm_matches(run, before, emulator.links())


def test_demo_links_a_sample_and_names_the_ledger(bulklink: Command) -> None:
    ended = bulklink("demo")
    assert ended.code == 0, ended
    (ledger,) = bulklink.folder.glob("runs/*/ledger.jsonl")
    assert str(ledger.relative_to(bulklink.folder)) in ended.output
    statuses = {
        json.loads(line).get("status")
        for line in ledger.read_text("utf-8").splitlines()
        if '"result"' in line
    }
    assert statuses == {"done"}


def test_the_emulator_serves_tokens_and_its_state_in_the_promised_form(
    emulator: Emulator,
) -> None:
    asked = {
        "grant_type": "refresh_token", "refresh_token": "demo",
        "client_id": "demo", "client_secret": "demo",
    }  # fmt: skip
    form = urllib.parse.urlencode(asked).encode()
    with urllib.request.urlopen(emulator.url + "/oauth/v2/token", form, timeout=10) as answer:
        token = json.load(answer)
    assert {"access_token", "api_domain", "token_type", "expires_in"} <= set(token)
    request = urllib.request.Request(
        emulator.url + "/crm/v8/org",
        headers={"Authorization": f"Zoho-oauthtoken {token['access_token']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["org"][0]["type"] == "Sandbox"
    assert {"world", "calls", "most_in_flight", "answered_429"} <= set(emulator.state())


def test_csv_may_have_a_bom_crlf_spaced_headers_and_own_columns(
    connected_command: Command, emulator: Emulator, contact: Contact
) -> None:
    given = rows(contact.free[:4], contact.a, Note="früh, „heute“")
    text = as_csv(given).replace("contact_id", "Contact ID").replace("message_id", "MESSAGE_ID")
    path = connected_command.folder / "mapping.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    before = emulator.links()
    run = audit_run(connected_command("link", path, "--json"), connected_command.folder, rows=4)
    assert run.counts == {"done": 4}
    assert {note for (note,) in run.plan("Note")} == {"früh, „heute“"}
    assert_crm_matches(run, before, emulator.links())


def test_a_run_finishes_after_its_output_was_closed(
    connected_command: Command, contact: Contact
) -> None:
    mapping = write_mapping(
        connected_command.folder / "mapping.csv", rows(contact.free[:7], contact.a)
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [PROGRAM, "link", mapping.name, "--run-dir", "here", "--progress", "lines", "-v"],
        env=connected_command.environment(),
        cwd=connected_command.folder,
        stdout=writing,
        stderr=writing,
        timeout=50,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 141
    shown = connected_command("status", "here", "--json").object
    assert (shown["state"], shown["counts"]["done"]) == ("finished", 7)
