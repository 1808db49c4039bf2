"""`bulklink export`: the results joined to the user's own columns, after a run over a socket."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import pytest
from python_calamine import CalamineWorkbook

from tests.e2e.audit import audit_run, mode
from tests.e2e.command import Command, Row, row, rows, write_mapping
from tests.e2e.world import UNKNOWN_ID, Contact


def run_mixed_mapping(connected_command: Command, contact: Contact) -> Path:
    """Run a mapping with rows of every kind: done, duplicate, failed, rejected."""
    mapping_rows: list[Row] = [
        row(contact.free[0], contact.a, Note="=1+1"),
        row(contact.free[1], contact.a, Note="a, b"),
        row(contact.free[0], contact.a, Note="again"),
        row(contact.linked[0], contact.b, Note="on another deal"),
        row(contact.free[2], contact.a, Note="refused") | {"owner_id": "x"},
        row(contact.free[3], UNKNOWN_ID, Note="no such deal"),
    ]
    write_mapping(connected_command.folder / "m.csv", mapping_rows)
    result = connected_command(
        "link", "m.csv", "--json", "--on-invalid", "skip", "--run-dir", "run"
    )
    audit_run(result, connected_command.folder, 6)
    return connected_command.folder / "run"


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


STATES = ["done", "done", "duplicate", "failed", "rejected", "rejected"]


def test_every_row_with_what_became_of_it(connected_command: Command, contact: Contact) -> None:
    run_mixed_mapping(connected_command, contact)
    ended = connected_command("export", "run", "-o", "out.csv")
    assert ended.code == 0
    assert ended.out == ""
    assert "6 rows" in ended.err
    found = read_table(connected_command.folder / "out.csv")
    assert [one["bulklink_status"] for one in found] == STATES
    assert [one["Note"] for one in found] == [
        one["Note"] for one in read_table(connected_command.folder / "m.csv")
    ]
    assert found[2]["bulklink_duplicate_of"] == "1"
    assert found[3]["bulklink_code"] == "ALREADY_LINKED"
    assert found[3]["bulklink_current_deal_id"] == contact.a
    assert found[4]["bulklink_code"] == "bad-id"
    assert found[4]["owner_id"] == "x"
    assert found[5]["bulklink_code"] == "unknown-deal"
    assert mode(connected_command.folder / "out.csv") == 0o600


def test_all_formats_say_the_same(connected_command: Command, contact: Contact) -> None:
    run_mixed_mapping(connected_command, contact)
    for name in ("out.csv", "out.jsonl", "out.parquet", "out.xlsx"):
        ended = connected_command("export", "run", "-o", name, "--json")
        assert ended.object["rows"] == 6
        assert ended.object["counts"] == {"done": 2, "duplicate": 1, "failed": 1, "rejected": 2}
    expected = [list(one.values()) for one in read_table(connected_command.folder / "out.csv")]
    lines = (connected_command.folder / "out.jsonl").read_text("utf-8").splitlines()
    objects = [list(json.loads(line).values()) for line in lines]
    with duckdb.connect() as connection:
        parquet = connection.read_parquet(str(connected_command.folder / "out.parquet")).fetchall()
    book = CalamineWorkbook.from_path(str(connected_command.folder / "out.xlsx"))
    sheet = book.get_sheet_by_index(0).to_python()[1:]
    for found in (objects, parquet, sheet):
        assert [[_text(cell) for cell in one] for one in found] == expected


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return str(int(cell))
    return "" if cell is None else str(cell)


def test_what_failed_is_a_mapping_that_can_be_sent(
    connected_command: Command, contact: Contact
) -> None:
    run_mixed_mapping(connected_command, contact)
    connected_command("export", "run", "--status", "failed", "-o", "again.csv")
    ended = connected_command("relink", "again.csv", "--json", "--run-dir", "second")
    assert audit_run(ended, connected_command.folder, 1).counts == {"done": 1}
    assert "bulklink_status" in (connected_command.folder / "again.csv").read_text("utf-8")


def test_a_file_for_a_spreadsheet_is_a_mapping_too(
    connected_command: Command, contact: Contact
) -> None:
    run_mixed_mapping(connected_command, contact)
    connected_command("export", "run", "--spreadsheet", "-o", "sheet.csv", "--status", "done")
    text = (connected_command.folder / "sheet.csv").read_text("utf-8-sig")
    assert f'"=""{contact.id}"""' in text
    assert "'=1+1" in text
    ended = connected_command("unlink", "sheet.csv", "--json", "--run-dir", "second")
    assert audit_run(ended, connected_command.folder, 2).counts == {"done": 2}
    connected_command("export", "second", "-o", "out.csv")
    assert read_table(connected_command.folder / "out.csv")[0]["Note"] == "=1+1"


def test_a_plan_that_was_not_sent_yet_is_pending(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(connected_command.folder / "m.csv", rows(contact.free[:3], contact.a))
    connected_command("plan", "--op", "link", "m.csv", "--run-dir", "run")
    ended = connected_command("export", "run", "-o", "-", "--format", "jsonl")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["bulklink_status"] for line in lines] == ["pending"] * 3
    assert "3 rows" in ended.err


def test_a_run_that_was_refused_says_where_its_rows_are(
    connected_command: Command, contact: Contact
) -> None:
    write_mapping(
        connected_command.folder / "m.csv", [row(contact.free[0], contact.a) | {"owner_id": "x"}]
    )
    assert connected_command("link", "m.csv", "--run-dir", "run").code == 2
    ended = connected_command("export", "run", "-o", "out.csv", "--json")
    assert ended.code == 2
    assert ended.error["code"] == "run-dir"
    assert "rejects.csv" in ended.error["advice"]


@pytest.mark.parametrize(
    ("arguments", "code", "expected_text"),
    [
        (("run", "-o", "here.csv"), "usage", "--force"),
        (("run", "-o", "-"), "usage", "--json"),
        (("run", "-o", "-", "--format", "xlsx"), "usage", "standard output"),
        (("run", "-o", "out.txt"), "usage", ".parquet"),
        (("run", "-o", "none/out.csv"), "usage", "folder"),
        (("run", "-o", "run", "--format", "csv"), "usage", "folder"),
        (("run", "-o", "out.xlsx", "--spreadsheet"), "usage", "text cells"),
        (("run", "-o", "out.csv", "--status", "lost"), "usage", "pending"),
        (("run",), "usage", "--output"),
        (("nowhere", "-o", "out.csv"), "run-dir", "no such folder"),
        (("damaged", "-o", "out.csv"), "ledger", "not a ledger line"),
    ],
)
def test_what_cannot_be_written_is_refused(
    bulklink: Command, arguments: tuple[str, ...], code: str, expected_text: str
) -> None:
    folder = bulklink.folder
    header = "contact_id,owner_id,message_id,deal_id\n"
    (folder / "m.csv").write_text(header + "1,2,m,5\n", "utf-8")
    for run in ("run", "damaged"):
        bulklink("plan", "--op", "link", "m.csv", "--run-dir", run)
    (folder / "damaged" / "ledger.jsonl").write_text('{"event":\n', "utf-8")
    (folder / "here.csv").write_text("kept", "utf-8")
    ended = bulklink("export", *arguments, "--json")
    assert ended.code in (2, 3)
    assert ended.error["code"] == code
    assert expected_text in " ".join(ended.error.values())
    assert (folder / "here.csv").read_text("utf-8") == "kept"
    assert not list(folder.glob("out*"))


def test_a_file_is_replaced_where_that_is_said(
    connected_command: Command, contact: Contact
) -> None:
    run_mixed_mapping(connected_command, contact)
    (connected_command.folder / "out.csv").write_text("old", "utf-8")
    assert connected_command("export", "run", "-o", "out.csv", "--force").code == 0
    assert len(read_table(connected_command.folder / "out.csv")) == 6


def test_more_rows_than_a_sheet_has_are_refused_at_once(
    connected_command: Command, contact: Contact
) -> None:
    run = run_mixed_mapping(connected_command, contact)
    record = json.loads((run / "run.json").read_text("utf-8")) | {"rows": 1_048_576}
    (run / "run.json").write_text(json.dumps(record), "utf-8")
    ended = connected_command("export", "run", "-o", "out.xlsx", "--json")
    assert ended.code == 2
    assert "1,048,575 rows" in ended.error["message"]
    assert ".csv" in ended.error["advice"]
    assert not (connected_command.folder / "out.xlsx").exists()
    assert connected_command("export", "run", "-o", "out.xlsx", "--status", "done").code == 0
