"""An export has every row of the mapping once and unchanged, and is itself a mapping."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import RunDirError
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.replay import replay
from bulklink.models import Op, Status
from bulklink.operations.export import ExportResult, export
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.plan import plan
from bulklink.operations.result_rows import RESULT_COLUMNS
from bulklink.runs.folder import RunFolder

TS = "2026-11-22T10:15:00.000Z"
ROUGH = settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["=1+1", "'=1", "-5 %", "@home", '="12"', "'", "\t", "00123", "1" * 19, "a;b\tc|d", "a,b\n"]
)
IDS = ["contact_id", "owner_id", "message_id", "deal_id"]
#: Good ones, some that are cleaned, and some that are refused.
ID = st.sampled_from(["1", "22", " 3", "'4", '="5"', "zcrm_6", "x", "", "=cmd()"])
ROWS = st.lists(st.tuples(ID, st.just("9"), ID, ID, TEXT, TEXT), min_size=5, max_size=60)
OURS = [column.header for column in RESULT_COLUMNS]


def write(path: Path, header: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Path:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerows([header, *rows])
    path.write_bytes(out.getvalue().encode())
    return path


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file, strict=True)
    return header, rows


def plan_run(mapping: Path, folder: Path) -> RunFolder:
    job = Job(mappings=(str(mapping),), op=Op.LINK, run_dir=folder, on_invalid=OnInvalid.SKIP)
    plan(job)
    return RunFolder(folder)


def export_run(
    run: RunFolder,
    path: Path,
    *,
    statuses: tuple[str, ...] = (),
    codes: tuple[str, ...] = (),
    spreadsheet: bool = False,
) -> ExportResult:
    return export(run, path, status=statuses, code=codes, spreadsheet=spreadsheet, force=True)


@ROUGH
@given(
    headers=st.tuples(TEXT, TEXT).map(lambda pair: [f"x{name}" for name in pair]),
    rows=ROWS,
    results=st.lists(
        st.tuples(st.integers(0, 59), st.sampled_from(["done", "failed", "in_doubt"]))
    ),
)
def test_every_row_is_exported_once_unchanged_with_its_last_result(
    headers: list[str], rows: list[tuple[str, ...]], results: list[tuple[int, str]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = plan_run(write(folder / "m.csv", [*IDS, *headers], rows), folder / "run")
        sent = [row for row in range(1, len(rows) + 1) if replay(run.ledger).status(row) is None]
        with run.ledger.open("ab") as ledger:
            for place, status in results if sent else []:
                row = sent[place % len(sent)]
                ledger.write(
                    result_line(TS, Result(row, Op.LINK, "1", "2", "m", "5", Status(status)))
                )
        result = export_run(run, folder / "out.csv")
        header, back = read(folder / "out.csv")
        assert header == [*IDS, *headers, *OURS]
        assert [tuple(row[:6]) for row in back] == rows
        assert [row[OURS.index("bulklink_row") + 6] for row in back] == [
            str(n) for n in range(1, len(rows) + 1)
        ]
        replayed = replay(run.ledger)
        states = [replayed.status(n) or "pending" for n in range(1, len(rows) + 1)]
        assert [row[6] for row in back] == states
        assert result.rows == len(rows)
        assert result.counts == {state: states.count(state) for state in states}


@ROUGH
@given(headers=st.tuples(TEXT, TEXT).map(lambda pair: [f"{pair[0]}x", f"{pair[1]}x"]), rows=ROWS)
def test_a_spreadsheet_file_is_read_back_as_the_original_mapping(
    headers: list[str], rows: list[tuple[str, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = plan_run(write(folder / "m.csv", [*IDS, *headers], rows), folder / "first")
        export_run(first, folder / "sheet.csv", spreadsheet=True)
        for cell in (cell for row in read(folder / "sheet.csv")[1] for cell in row):
            assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or cell[1:2] == '"'
        again = plan_run(folder / "sheet.csv", folder / "again")
        export_run(again, folder / "out.csv")
        header, back = read(folder / "out.csv")
        assert header[:6] == [*IDS, *headers]
        assert [tuple(row[:6]) for row in back] == rows
        assert replay(again.ledger).counts == replay(first.ledger).counts


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    rows = [("1", "2", f"m{n}", "5", f"note {n}") for n in range(1, 7)] + [("x", "2", "m", "5", "")]
    folder = plan_run(write(tmp_path / "m.csv", [*IDS, "Note"], rows), tmp_path / "run")
    results = [
        Result(1, Op.LINK, "1", "2", "m1", "5", Status.FAILED, "NOT_ALLOWED", 400, "no", 1, 1),
        Result(2, Op.LINK, "1", "2", "m2", "5", Status.FAILED, "INVALID_DATA", 400, "no", 1, 1),
        Result(3, Op.LINK, "1", "2", "m3", "5", Status.DONE, previous_deal_id=None),
        Result(4, Op.LINK, "1", "2", "m4", "5", Status.DONE, previous_deal_id="8"),
        Result(1, Op.LINK, "1", "2", "m1", "5", Status.DONE, "SUCCESS", 200, "ok", 2, 2),
    ]
    with folder.ledger.open("ab") as ledger:
        ledger.writelines(result_line(TS, result) for result in results)
        ledger.write(b'{"event":"result","ts":"2026-')
    return folder


@pytest.mark.parametrize(
    ("statuses", "codes", "expected"),
    [
        ((), (), [1, 2, 3, 4, 5, 6, 7]),
        (("failed",), (), [2]),
        (("pending", "rejected"), (), [5, 6, 7]),
        ((), ("SUCCESS", "bad-id"), [1, 7]),
        (("failed",), ("SUCCESS",), []),
    ],
)
def test_rows_are_chosen_by_their_last_status_and_code(
    run: RunFolder,
    tmp_path: Path,
    statuses: tuple[str, ...],
    codes: tuple[str, ...],
    expected: list[int],
) -> None:
    export_run(run, tmp_path / "out.csv", statuses=statuses, codes=codes)
    header, rows = read(tmp_path / "out.csv")
    assert [int(row[header.index("bulklink_row")]) for row in rows] == expected


def test_no_deal_and_an_unknown_deal_differ(run: RunFolder, tmp_path: Path) -> None:
    export_run(run, tmp_path / "out.csv", statuses=("done",))
    header, rows = read(tmp_path / "out.csv")
    assert [row[header.index("bulklink_previous_deal_id")] for row in rows] == ["", "none", "8"]


def test_rows_without_stored_cells_have_their_ids_from_the_ledger(
    run: RunFolder, tmp_path: Path
) -> None:
    run.rejects.unlink()
    export_run(run, tmp_path / "out.csv", statuses=("rejected",))
    assert read(tmp_path / "out.csv")[1][0][:6] == ["", "2", "m", "5", "", "rejected"]


def test_an_edited_rejects_file_does_no_harm(run: RunFolder, tmp_path: Path) -> None:
    text = "Note,bulklink_row,contact_id\nmended,7,1\nbroken,x\n,,\nnew,seven,1\nmore,99,1\n"
    run.rejects.write_text(text, "utf-8")
    assert export_run(run, tmp_path / "out.csv").rows == 7
    assert read(tmp_path / "out.csv")[1][6][:6] == ["1", "", "", "", "mended", "rejected"]


def test_a_run_without_a_plan_has_nothing_to_export(run: RunFolder, tmp_path: Path) -> None:
    run.plan.unlink()
    with pytest.raises(RunDirError, match="no sealed plan"):
        export_run(run, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
