"""Search for all ledger lines that concern an email."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink import folder_files
from bulklink.ledger.records import (
    CallLine,
    Result,
    answer_line,
    call_line,
    result_line,
    snapshot_line,
    step_line,
    unsent_line,
)
from bulklink.ledger.search import find_answers, find_message_lines
from bulklink.models import Op, Status

TS = "2026-11-22T10:15:00.000Z"
ROW = st.integers(1, 130)
ROWS = st.lists(ROW, min_size=1, max_size=20, unique=True)


def call(rows: list[int]) -> bytes:
    return call_line(TS, CallLine(len(rows), "link", 1, "12", tuple(rows)))


def unsent(rows: list[int]) -> bytes:
    return unsent_line(TS, CallLine(len(rows), "link", 1, "12", tuple(rows)))


def result(row: int) -> bytes:
    return result_line(TS, Result(row, Op.LINK, "12", "1", f"m{row % 7}", "13", Status.DONE))


LINES = st.one_of(
    st.builds(call, ROWS),
    st.builds(unsent, ROWS),
    st.builds(result, ROW),
    st.builds(lambda row: snapshot_line(TS, row, "12", "name", 1), ROW),
    st.builds(lambda row: step_line(TS, row), ROW),
)


def concerns(line: dict[str, Any], message_id: str, rows: set[int]) -> bool:
    """Return whether a line concerns an email; the reference for the search."""
    if line["event"] == "result":
        return bool(line["message_id"] == message_id)
    return bool(rows & {line.get("row"), *line.get("rows", ())})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(LINES, max_size=60), rows=st.sets(ROW, max_size=3))
def test_the_search_finds_the_same_lines_as_a_full_scan(
    tmp_path: Path, lines: list[bytes], rows: set[int]
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(lines))
    decoded = [orjson.loads(line) for line in lines]
    assert list(find_message_lines(path, "m3", rows)) == [
        line for line in decoded if concerns(line, "m3", rows)
    ]


def test_a_line_across_two_blocks_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_files, "_BLOCK_BYTES", 64)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(call([2]) + result(1) + result(2) + result(3))
    assert len(list(find_message_lines(path, "m2", {2}))) == 2


def test_torn_and_damaged_lines_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"row":2,\n' + b'["row":2,]\n' + result(2) + result(2)[:90])
    assert len(list(find_message_lines(path, "m2", {2}))) == 1
    assert list(find_message_lines(tmp_path / "none", "m2", {2})) == []


def test_stored_answers_are_found_by_call(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"".join(answer_line(TS, n, "link", 400, '"call":12,') for n in range(1, 15)))
    assert [answer["call"] for answer in find_answers(path, {2, 12})] == [2, 12]
