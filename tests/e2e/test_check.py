"""`bulklink status --check`: checks of real runs, and their differences."""

from __future__ import annotations

import hashlib
import json

from tests.e2e.audit import audit_run
from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.world import Contact


def test_a_run_passes_its_check(connected_command: Command, contact: Contact) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:3], contact.a))
    run = audit_run(
        connected_command("link", "m.csv", "--json", "--run-dir", "run"),
        connected_command.folder,
        3,
    )
    kept = json.loads((run.folder / "run.json").read_text("utf-8"))
    ledger = (run.folder / "ledger.jsonl").read_bytes()
    assert kept["ledger_sha256"] == hashlib.sha256(ledger).hexdigest()
    assert kept["ledger_bytes"] == len(ledger)
    ended = connected_command("status", "run", "--check", "--json")
    assert ended.code == 0
    check = ended.object["check"]
    assert check["ok"] is True
    assert {check[part]["verdict"] for part in ("plan", "ledger", "accounting")} == {"ok"}
    assert check["mappings"]["m.csv"]["verdict"] == "ok"
    assert "check" not in connected_command("status", "run", "--json").object


def test_planned_and_retried_runs_pass_their_checks(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.linked[:2], contact.b))
    connected_command("plan", "--op", "link", "m.csv", "--run-dir", "run")
    assert connected_command("status", "run", "--check").code == 0
    assert connected_command("apply", "run").code == 1
    assert connected_command("status", "run", "--check").code == 0
    assert connected_command("retry", "run").code == 1
    assert connected_command("status", "run", "--check").code == 0


def test_a_difference_is_named_and_exits_with_1(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:3], contact.a))
    connected_command("link", "m.csv", "--run-dir", "runs/good")
    connected_command("link", "m.csv", "--run-dir", "runs/bad")
    ledger = connected_command.folder / "runs" / "bad" / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"attempts":1', b'"attempts":2'))
    assert connected_command("status", "runs/bad").code == 0
    ended = connected_command("status", "runs/bad", "--check")
    assert ended.code == 1
    assert "ledger" in ended.out
    assert "differs" in ended.out
    assert connected_command("status", "runs/good", "--check").code == 0
    ended = connected_command("status", "--check", "--json")
    assert ended.code == 1
    assert [run["check"]["ok"] for run in ended.object["runs"]] == [False, True]


def test_a_refused_run_has_nothing_to_check(connected_command: Command, contact: Contact) -> None:
    given = [one | {"owner_id": "x"} for one in rows(contact.free[:1], contact.a)]
    write_mapping(connected_command.folder / "m.csv", given)
    connected_command("link", "m.csv", "--run-dir", "run")
    ended = connected_command("status", "run", "--check")
    assert ended.code == 0
    assert "has no plan" in ended.out
