"""Results of a run as dicts, as an Arrow table and as HTML."""

from __future__ import annotations

import csv
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bulklink import (
    Job,
    OnInvalid,
    Op,
    RunDirError,
    RunResult,
    UsageError,
    export,
    plan,
    results,
    status,
)
from bulklink.ledger.records import Result, result_line
from bulklink.models import Status
from bulklink.operations.result_rows import RESULT_COLUMNS
from bulklink.runs.folder import RunFolder

TS = "2026-11-22T10:15:00.000Z"
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"
ROWS = [
    {"contact_id": "1", "owner_id": "2", "message_id": f"m{n}", "deal_id": "5", "Note": HOSTILE}
    for n in range(5)
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of five rows: one done, one failed, one refused, and two pending."""
    rows = [*ROWS[:4], {**ROWS[4], "message_id": "x-"}]
    folder = tmp_path / "run"
    plan(Job(mappings=rows, op=Op.LINK, run_dir=folder, on_invalid=OnInvalid.SKIP))
    with RunFolder(folder).ledger.open("ab") as ledger:
        for row, state in ((1, Status.DONE), (2, Status.FAILED)):
            ids = (Op.LINK, "1", "2", f"m{row - 1}", "5")
            code = "INVALID_DATA" if state is Status.FAILED else ""
            ledger.write(result_line(TS, Result(row, *ids, state, code=code, attempts=1)))
    return folder


def test_results_are_the_rows_of_the_mapping_and_what_became_of_each(run: Path) -> None:
    rows = list(results(run))
    assert [row["bulklink_status"] for row in rows] == [
        "done",
        "failed",
        "pending",
        "pending",
        "rejected",
    ]
    assert [row["message_id"] for row in rows] == ["m0", "m1", "m2", "m3", "x-"]
    assert [row["bulklink_row"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["bulklink_attempts"] == 1
    assert rows[2]["bulklink_code"] is None


@pytest.mark.parametrize("chosen", ["in-doubt", {"failed", "in-doubt"}], ids=["text", "set"])
def test_an_unknown_status_is_refused_with_a_suggestion(
    run: Path, tmp_path: Path, chosen: str | set[str]
) -> None:
    output = tmp_path / "results.csv"
    with pytest.raises(UsageError, match="'in-doubt' is not a status") as caught:
        results(run, status=chosen)
    assert "Did you mean in_doubt?" in caught.value.advice
    with pytest.raises(UsageError, match="'in-doubt' is not a status"):
        export(run, output, status=chosen)
    assert not output.exists()


def test_results_have_the_columns_and_rows_of_an_export(run: Path, tmp_path: Path) -> None:
    export(run, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        header, *exported = csv.reader(file)
    opened = results(run)
    assert list(opened.columns) == header
    assert header[-len(RESULT_COLUMNS) :] == [column.header for column in RESULT_COLUMNS]
    texts = [["" if cell is None else str(cell) for cell in row.values()] for row in opened]
    assert texts == exported


@pytest.mark.parametrize(
    "options",
    [{"status": {"failed"}}, {"status": "failed"}, {"code": ["INVALID_DATA"]}],
    ids=str,
)
def test_results_are_chosen_by_status_and_code(run: Path, options: dict[str, Any]) -> None:
    assert [row["bulklink_row"] for row in results(run, **options)] == [2]


def read_by_duckdb(opened: object) -> list[dict[str, Any]]:
    relation = duckdb.sql("FROM opened")
    assert relation is not None
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


@pytest.mark.parametrize(
    "read",
    [
        lambda opened: pl.DataFrame(opened).to_dicts(),
        lambda opened: pa.table(opened).to_pylist(),
        lambda opened: pa.RecordBatchReader.from_stream(opened).read_all().to_pylist(),
        lambda opened: pd.DataFrame(opened, dtype=object).to_dict("records"),
        read_by_duckdb,
    ],
    ids=["polars", "pyarrow", "reader", "pandas", "duckdb"],
)
def test_other_libraries_read_the_same_results(
    run: Path, read: Callable[[object], list[dict[str, Any]]]
) -> None:
    opened = results(run)
    assert read(opened) == list(opened)
    assert read(opened) == list(opened)


def test_numbers_are_numbers_and_ids_are_texts(run: Path) -> None:
    schema = pl.DataFrame(results(run)).schema
    numbers = {column.name for column in RESULT_COLUMNS if column.is_number}
    assert {name for name, kind in schema.items() if kind == pl.Int64} == numbers
    assert {name for name, kind in schema.items() if kind == pl.String} == {*schema} - numbers


def test_results_without_rows_have_their_columns(run: Path) -> None:
    opened = results(run, status={"in_doubt"})
    assert list(opened) == []
    assert pl.DataFrame(opened).columns == list(opened.columns)


def test_the_temporary_file_of_an_arrow_table_goes_with_the_results(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    opened = results(run)
    assert len(pa.table(opened)) == 5
    assert any(scratch.iterdir())
    del opened
    assert not any(scratch.iterdir())


def test_a_folder_that_is_no_run_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(RunDirError):
        results(tmp_path)


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


TABLE_TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_html_of_results_escapes_every_text(run: Path) -> None:
    html = results(run)._repr_html_()
    page = Tags(html)
    assert page.tags == TABLE_TAGS
    assert "<script>alert(1)</script>\\x1b[31m\\u202e" in page.text
    assert "\x1b" not in html


def test_html_of_a_plan_shows_what_it_costs(tmp_path: Path) -> None:
    planned = plan(Job(mappings=ROWS, op=Op.LINK, run_dir=tmp_path / "<b>run</b>"))
    page = Tags(planned._repr_html_())
    assert page.tags == TABLE_TAGS - {"thead"}
    assert planned.digest in page.text
    assert f"{tmp_path}/<b>run</b>" in page.text
    assert "emails to send5" in page.text


def test_html_of_a_run_shows_its_counts(run: Path) -> None:
    result: RunResult = status(run)
    page = Tags(result._repr_html_())
    assert page.tags == TABLE_TAGS - {"thead"}
    assert "1 done, 1 failed, 1 rejected, 2 pending" in page.text
