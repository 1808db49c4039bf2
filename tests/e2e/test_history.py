"""`bulklink history`: what happened to one email, over several runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping

import pytest

from tests.e2e.command import Command, row, rows, write_mapping
from tests.e2e.world import Contact


def event_kinds(history: Mapping[str, object]) -> list[str]:
    events = history["events"]
    assert isinstance(events, list)
    return [
        f"{event['event']} {event.get('status') or event.get('sent') or ''}".strip()
        for event in events
    ]


def test_history_has_all_events_of_an_email_in_chronological_order(
    connected_command: Command, contact: Contact
) -> None:
    first, other = contact.free[:2]
    write_mapping(connected_command.folder / "a.csv", rows([first, other], contact.a))
    write_mapping(connected_command.folder / "b.csv", rows([other, first, first], contact.b))
    connected_command("link", "a.csv", "--run-dir", "runs/2-first")
    connected_command("link", "b.csv", "--run-dir", "runs/3-second")
    connected_command("relink", "b.csv", "--run-dir", "runs/1-third")
    ended = connected_command("history", first.message, "--json")
    assert ended.code == 0
    history = ended.object
    assert history["exit_code"] == 0
    assert history["message_id"] == first.message
    events = history["events"]
    runs = [one["run_dir"] for one in events]
    assert list(dict.fromkeys(runs)) == ["runs/2-first", "runs/3-second", "runs/1-third"]
    assert [one["ts"] for one in events] == sorted(one["ts"] for one in events)
    by_run = {run: {"events": [e for e in events if e["run_dir"] == run]} for run in runs}
    assert event_kinds(by_run["runs/2-first"]) == ["planned", "call link", "result done"]
    second = event_kinds(by_run["runs/3-second"])
    assert second[:2] == ["planned", "planned"]
    assert "result duplicate" in second
    assert second[-1] == "result failed"
    assert second.index("call link") + 1 == second.index("answer link")
    third = event_kinds(by_run["runs/1-third"])
    for kind in ("call read", "snapshot", "call unlink", "step", "call link"):
        assert kind in third
    assert third[-1] == "result done"
    last = events[-1]
    assert last["row"] == 2
    assert last["deal_id"] == contact.b
    assert last["previous_deal_id"] == contact.a


def test_history_is_shown_run_by_run(connected_command: Command, contact: Contact) -> None:
    email = contact.linked[0]
    write_mapping(connected_command.folder / "m.csv", [row(email, contact.b)])
    connected_command("link", "m.csv", "--run-dir", "runs/one")
    ended = connected_command("history", email.message)
    lines = ended.out.splitlines()
    assert lines[0] == "runs/one"
    assert f"planned: link to deal {contact.b}" in lines[1]
    assert any("answer to call" in line and "ALREADY_LINKED" in line for line in lines)
    assert "failed ALREADY_LINKED" in lines[-1]
    assert f"(now: deal {contact.a})" in lines[-1]


def test_history_includes_refused_rows_and_selects_contacts(
    connected_command: Command, contacts: list[Contact]
) -> None:
    one, two = contacts[:2]
    email = one.free[0]
    given = [row(email, one.a), row(email, two.a) | {"contact_id": two.id}]
    write_mapping(connected_command.folder / "m.csv", [*given, row(email, "x")])
    connected_command(
        "plan", "--op", "link", "m.csv", "--on-invalid", "skip", "--run-dir", "runs/one"
    )
    history = connected_command("history", email.message, "--json").object
    assert sorted(event_kinds(history)) == ["planned", "planned", "result rejected"]
    history = connected_command("history", email.message, "--contact", two.id, "--json").object
    assert [event["contact_id"] for event in history["events"]] == [two.id]


def test_an_email_in_no_run_is_not_an_error(bulklink: Command) -> None:
    (bulklink.folder / "runs").mkdir()
    ended = bulklink("history", "8937fb4a")
    assert (ended.code, ended.out) == (0, "")
    assert "No run below runs" in ended.err


def test_an_unreadable_run_is_named_and_skipped(
    connected_command: Command, contact: Contact
) -> None:
    email = contact.free[0]
    write_mapping(connected_command.folder / "m.csv", [row(email, contact.a)])
    for name in ("good", "bad", "worse"):
        connected_command("plan", "--op", "link", "m.csv", "--run-dir", f"runs/{name}")
    (connected_command.folder / "runs" / "bad" / "plan.parquet").write_text("x", "utf-8")
    (connected_command.folder / "runs" / "worse" / "run.json").write_text("x", "utf-8")
    ended = connected_command("history", email.message, "--json")
    assert event_kinds(ended.object) == ["planned"]
    assert "bad" in ended.err
    assert "worse" in ended.err
    assert len(ended.object["warnings"]) == 2
    assert all("left out" in warning for warning in ended.object["warnings"])
    shutil.rmtree(connected_command.folder / "runs")


@pytest.mark.parametrize("damage", ["shorter", "changed", "missing"])
def test_a_run_whose_ledger_was_damaged_is_named_and_skipped(
    connected_command: Command, contact: Contact, damage: str
) -> None:
    email = contact.free[0]
    write_mapping(connected_command.folder / "m.csv", [row(email, contact.a)])
    for name in ("good", "bad"):
        connected_command("link", "m.csv", "--run-dir", f"runs/{name}")
    ledger = connected_command.folder / "runs" / "bad" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    match damage:
        case "shorter":
            ledger.write_bytes(b"".join(lines[:-1]))
        case "changed":
            ledger.write_bytes(b"".join(lines).replace(b'"result"', b'"reside"'))
        case _:
            ledger.unlink()
    ended = connected_command("history", email.message, "--json")
    assert {event["run_dir"] for event in ended.object["events"]} == {"runs/good"}
    (warning,) = ended.object["warnings"]
    assert warning.startswith("runs/bad/ledger.jsonl: ")
    assert warning in ended.err.replace("\n", " ")


def test_a_run_that_stopped_because_of_its_ledger_is_named_and_skipped(
    connected_command: Command, contact: Contact
) -> None:
    email = contact.free[0]
    write_mapping(connected_command.folder / "m.csv", [row(email, contact.a)])
    connected_command("link", "m.csv", "--run-dir", "runs/bad")
    folder = connected_command.folder / "runs" / "bad"
    record = json.loads((folder / "run.json").read_text("utf-8"))
    checkpoint = {"ledger_bytes": 0, "ledger_sha256": hashlib.sha256().hexdigest()}
    stopped = {"state": "stopped", "stopped_by": "ledger"}
    (folder / "run.json").write_text(json.dumps(record | checkpoint | stopped), "utf-8")
    with (folder / "ledger.jsonl").open("ab") as ledger:
        ledger.write(b'{"method":"GET"}\n')
    ended = connected_command("history", email.message, "--json")
    assert ended.object["events"] == []
    assert "not a ledger line" in ended.object["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "code"), [(("a-b",), "usage"), (("ab", "--runs-dir", "none"), "run-dir")]
)
def test_an_invalid_query_is_refused(
    bulklink: Command, arguments: tuple[str, ...], code: str
) -> None:
    ended = bulklink("history", *arguments, "--json")
    assert ended.code == 2
    assert ended.error["code"] == code
