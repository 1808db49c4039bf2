"""`bulklink report`: the pages of a run, its copy, its undo and a forgotten run."""

from __future__ import annotations

import json
import shutil

from tests.e2e.audit import mode
from tests.e2e.command import Command, row, write_mapping
from tests.e2e.world import UNKNOWN_ID, Contact


def run_mixed_mapping(connected_command: Command, contact: Contact) -> None:
    """Run a mapping with rows that are done, failed and refused."""
    mapping_rows = [
        row(contact.free[0], contact.a, deal_name="Harbour deal"),
        row(contact.free[1], contact.a, deal_name="Harbour deal"),
        row(contact.linked[0], contact.b),
        row(contact.free[2], UNKNOWN_ID),
        row(contact.free[3], contact.a) | {"owner_id": "x"},
    ]
    write_mapping(connected_command.folder / "m.csv", mapping_rows)
    assert connected_command("link", "m.csv", "--on-invalid", "skip", "--run-dir", "run").code == 1


def test_a_run_its_copy_and_its_undo_have_a_page(
    connected_command: Command, contact: Contact
) -> None:
    run_mixed_mapping(connected_command, contact)
    page = connected_command.folder / "run" / "report.html"
    assert "bulklink report run" in connected_command("status", "run").out
    ended = connected_command("report", "run")
    assert (ended.code, ended.out) == (0, "run/report.html\n")
    assert "--counts-only" in ended.err
    assert mode(page) == 0o600
    text = page.read_text("utf-8")
    for expected_text in (
        "Harbour deal",
        contact.free[0].contact,
        "ALREADY_LINKED",
        "unknown-deal",
    ):
        assert expected_text in text
    assert "bulklink export run --status failed --code ALREADY_LINKED -o again.csv" in text

    again = connected_command("report", "run", "--counts-only", "--json").object
    assert again == {
        "report": "run/report.html",
        "bytes": page.stat().st_size,
        "counts_only": True,
        "exit_code": 0,
    }
    assert contact.free[0].contact not in page.read_text("utf-8")

    shutil.move(connected_command.folder / "run", connected_command.folder / "moved run")
    copied = connected_command("report", "moved run", "-o", "-")
    assert copied.out.startswith("<!doctype html>")
    assert "bulklink retry &#39;moved run&#39;" in copied.out

    connected_command("undo", "moved run", "--run-dir", "back")
    assert connected_command("report", "back", "-o", "back.html").code == 0
    text = (connected_command.folder / "back.html").read_text("utf-8")
    assert "Undo of" in text
    assert "moved run" in text

    connected_command("forget", "moved run")
    assert not (connected_command.folder / "moved run" / "report.html").exists()
    assert connected_command("report", "moved run").code == 0
    text = (connected_command.folder / "moved run" / "report.html").read_text("utf-8")
    assert "Harbour deal" not in text
    assert contact.free[0].contact in text
    assert "Columns and names were removed" in text


def test_a_planned_run_has_a_page_for_approval(bulklink: Command, contact: Contact) -> None:
    write_mapping(bulklink.folder / "m.csv", [row(contact.free[0], contact.a)])
    planned = bulklink("plan", "--op", "link", "m.csv", "--run-dir", "run", "--json").object
    assert bulklink("report", "run").code == 0
    text = (bulklink.folder / "run" / "report.html").read_text("utf-8")
    assert f"bulklink apply run --expect {planned['digest']}" in text
    assert "1 email of 1 contact" in text


def test_a_file_that_is_not_a_report_is_replaced_only_if_requested(
    bulklink: Command, contact: Contact
) -> None:
    write_mapping(bulklink.folder / "m.csv", [row(contact.free[0], contact.a)])
    bulklink("plan", "--op", "link", "m.csv", "--run-dir", "run")
    mine = bulklink.folder / "mine.html"
    mine.write_text("kept", "utf-8")
    for arguments, code in [
        (("report", "run", "-o", "mine.html"), "usage"),
        (("report", "run", "-o", "missing/page.html"), "usage"),
        (("report", "run", "-o", "-"), "usage"),
        (("report", "nowhere"), "run-dir"),
        (("report", "m.csv"), "run-dir"),
    ]:
        ended = bulklink(*arguments, "--json")
        assert ended.code == 2, arguments
        assert ended.error["code"] == code, arguments
        assert ended.error["advice"], arguments
    assert mine.read_text("utf-8") == "kept"
    assert not (bulklink.folder / "nowhere").exists()
    assert bulklink("report", "run", "-o", "mine.html", "--force").code == 0
    assert mine.read_text("utf-8").startswith("<!doctype html>")
    assert bulklink("report", "run").code == bulklink("report", "run").code == 0


def test_a_refused_run_has_a_page(bulklink: Command, contact: Contact) -> None:
    write_mapping(bulklink.folder / "m.csv", [row(contact.free[0], contact.a) | {"owner_id": "x"}])
    bulklink("plan", "--op", "link", "m.csv", "--run-dir", "run")
    state = json.loads((bulklink.folder / "run" / "run.json").read_text("utf-8"))["state"]
    assert state == "refused"
    assert bulklink("report", "run").code == 0
    assert "bad-id" in (bulklink.folder / "run" / "report.html").read_text("utf-8")
