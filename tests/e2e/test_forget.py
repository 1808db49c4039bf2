"""`bulklink forget`: runs without the user's columns and names."""

from __future__ import annotations

import csv
import json

import pytest

from tests.e2e.audit import audit_run
from tests.e2e.command import Command, row, rows, write_mapping
from tests.e2e.world import Contact

SECRET = "Schmidt"


def write_named_mapping(connected_command: Command, contact: Contact) -> None:
    """Write a mapping with names and a column of the user's own."""
    mapping_rows = [
        row(email, contact.a, deal_name=SECRET, owner_name=SECRET, Note=SECRET)
        for email in contact.free[:3]
    ]
    write_mapping(
        connected_command.folder / "m.csv", [*mapping_rows, {**mapping_rows[0], "owner_id": SECRET}]
    )


def read_run_text(connected_command: Command) -> str:
    files = [
        path for path in (connected_command.folder / "run").iterdir() if path.suffix != ".parquet"
    ]
    return "".join(path.read_text("utf-8") for path in files)


def test_ids_and_results_of_a_forgotten_run_are_kept(
    connected_command: Command, contact: Contact
) -> None:
    write_named_mapping(connected_command, contact)
    connected_command("link", "m.csv", "--on-invalid", "skip", "--run-dir", "run")
    assert SECRET in read_run_text(connected_command)
    ended = connected_command("forget", "run", "--json")
    assert ended.code == 0
    assert ended.object["forgotten"]["complete"] is True
    assert SECRET not in read_run_text(connected_command)
    check = connected_command("status", "run", "--check", "--json")
    assert check.code == 0
    assert check.object["check"]["forgotten"][0]["plan_before"]
    assert "were removed at" in connected_command("status", "run", "--check").out
    exported = connected_command("export", "run", "-o", "out.csv")
    assert "only ids and results" in exported.err
    with (connected_command.folder / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [one["bulklink_status"] for one in found] == ["done", "done", "done", "rejected"]
    assert found[0]["message_id"] == contact.free[0].message
    assert found[0]["op"] == "link"
    assert found[3]["message_id"] == contact.free[0].message
    history = connected_command(
        "history", contact.free[0].message, "--runs-dir", ".", "--json"
    ).object
    assert [one.get("status") for one in history["events"]][-1] == "done"
    assert connected_command("verify", "run", "--settle-after", "0").code == 0


def test_a_forgotten_plan_can_still_be_sent_with_names_looked_up(
    connected_command: Command, contact: Contact
) -> None:
    write_named_mapping(connected_command, contact)
    connected_command("plan", "--op", "link", "m.csv", "--on-invalid", "skip", "--run-dir", "run")
    ended = connected_command("forget", "run", "--json")
    assert ended.code == 2
    assert ended.error["code"] == "run-dir"
    assert "--force" in ended.error["advice"]
    assert connected_command("forget", "run", "--force").code == 0
    run = audit_run(connected_command("apply", "run", "--json"), connected_command.folder, 4)
    assert run.counts == {"done": 3, "rejected": 1}
    assert connected_command("resume", "run").code == 1
    assert connected_command("status", "run", "--check").code == 0


def test_files_that_are_not_of_the_run_are_left_and_named(
    connected_command: Command, contact: Contact
) -> None:
    write_named_mapping(connected_command, contact)
    connected_command("link", "m.csv", "--on-invalid", "skip", "--run-dir", "run")
    assert connected_command("report", "run").code == 0
    for name in ("other.html", "more.html"):
        assert connected_command("report", "run", "-o", f"run/{name}").code == 0
    ended = connected_command("forget", "run")
    assert ended.code == 0
    assert "run/more.html, run/other.html" in " ".join(ended.err.split())
    (connected_command.folder / "run" / "more.html").unlink()
    assert connected_command("forget", "run", "--json").object["left"] == ["run/other.html"]
    (connected_command.folder / "run" / "other.html").unlink()
    ended = connected_command("forget", "run")
    assert (ended.code, ended.err) == (0, "")


def test_a_digest_that_changes_is_shown(connected_command: Command, contact: Contact) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:3], contact.a))
    plan = ("plan", "--op", "link", "m.csv", "--json", "--run-dir")
    before = connected_command(*plan, "named", "--look-up-names").object["digest"]
    ended = connected_command("forget", "named", "--force")
    record = json.loads((connected_command.folder / "named" / "run.json").read_text("utf-8"))
    after = record["digest"]
    assert before != after
    assert f"digest  {before} is now {after}" in ended.out
    assert connected_command("apply", "named", "--expect", after, "--yes").code == 0
    connected_command(*plan, "plain")
    ended = connected_command("forget", "plain", "--force", "--json")
    forgotten = ended.object["forgotten"]
    assert forgotten["digest_before"] == forgotten["digest_after"]
    assert "digest" not in connected_command("forget", "plain", "--force").out
    assert "digest" not in connected_command("forget", "named").out


def test_interrupted_forgetting_is_completed_before_the_run_continues(
    connected_command: Command, contact: Contact
) -> None:
    write_named_mapping(connected_command, contact)
    connected_command("plan", "--op", "link", "m.csv", "--on-invalid", "skip", "--run-dir", "run")
    record = connected_command.folder / "run" / "run.json"
    begun = {"at": "2026-11-22T10:15:00.000Z", "plan_before": None, "ledger_before": None}
    record.write_text(json.dumps(json.loads(record.read_text()) | {"forgotten": [begun]}), "utf-8")
    ended = connected_command("apply", "run", "--json")
    assert ended.code == 2
    assert "bulklink forget" in ended.error["advice"]
    assert connected_command("status", "run", "--check").code == 1
    assert connected_command("forget", "run").code == 0
    assert connected_command("apply", "run").code == 1
    assert connected_command("status", "run", "--check").code == 0


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_a_run_is_refused(bulklink: Command, name: str) -> None:
    ended = bulklink("forget", name, "--json")
    assert ended.code == 2
    assert ended.error["code"] == "run-dir"


@pytest.mark.parametrize("way", ["option", "variable", "job"])
def test_columns_that_are_not_kept_never_enter_the_run_folder(
    connected_command: Command, contact: Contact, way: str
) -> None:
    write_named_mapping(connected_command, contact)
    command, arguments = connected_command, ["m.csv"]
    if way == "option":
        arguments = ["m.csv", "--keep", ""]
    elif way == "variable":
        command = connected_command.with_env(BULKLINK_KEEP="deal_name\n,")
    else:
        text = 'op = "link"\nmapping = "m.csv"\nkeep = ["deal_name"]\n'
        (connected_command.folder / "job.toml").write_text(text, "utf-8")
        arguments = ["job.toml"]
    verb = "run" if way == "job" else "link"
    ended = command(verb, *arguments, "--on-invalid", "skip", "--run-dir", "run")
    assert ended.code == 1
    connected_command("export", "run", "-o", "out.csv")
    header = (connected_command.folder / "out.csv").read_text("utf-8").splitlines()[0]
    assert "Note" not in header
    assert "deal_name" in header
    assert "Note" not in (connected_command.folder / "run" / "rejects.csv").read_text("utf-8")


def test_kept_columns_do_not_affect_the_digest(
    connected_command: Command, contact: Contact
) -> None:
    write_named_mapping(connected_command, contact)
    plan = ("plan", "--op", "link", "m.csv", "--on-invalid", "skip", "--json")
    digests = {
        connected_command(*plan, *keep).object["digest"] for keep in ((), ("--keep", "Note"))
    }
    assert len(digests) == 1
