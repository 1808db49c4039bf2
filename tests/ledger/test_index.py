"""Index of the last result of each row."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.ledger.index import LedgerIndex
from bulklink.ledger.records import CallLine, Result, call_line, result_line
from bulklink.ledger.replay import replay
from bulklink.models import Op, Status

TS = "2026-11-22T10:15:00.000Z"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    results=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(list(Status)), st.text())),
    cut=st.integers(0, 60),
)
def test_the_index_and_the_replay_agree_on_the_status_of_each_row(
    tmp_path: Path, results: list[tuple[int, Status, str]], cut: int
) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = [call_line(TS, CallLine(1, "link", 1, "1", (1, 2)))]
    for row, status, text in results:
        lines.append(result_line(TS, Result(row, Op.LINK, "1", "2", "a", "3", status, text)))
    content = b"".join(lines)
    path.write_bytes(content[: len(content) - cut])
    replayed = replay(path)
    with LedgerIndex(path) as index:
        indexed = {row: result.status for row in range(50) if (result := index.result(row))}
        assert list(index.rows(0)) == sorted(indexed)
        assert list(index.rows(3, 9)) == [row for row in sorted(indexed) if 3 <= row <= 9]
    replayed_statuses = {row: replayed.status(row) for row in range(50)}
    assert indexed == {row: status for row, status in replayed_statuses.items() if status}


def test_a_result_is_read_back_unchanged(tmp_path: Path) -> None:
    written_result = Result(
        7, Op.RELINK, "1", "2", "m" * 500, "3", Status.FAILED, "NOT_ALLOWED", 400, "ü" * 300, 2, 9,
        previous_deal_id=None, previous_deal_name=None, current_deal_id="4",
    )  # fmt: skip
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(result_line(TS, written_result) * 20_000)
    with LedgerIndex(path) as index:
        read_result = index.result(7)
        assert read_result is not None
        assert read_result.ts == TS
        fields = [getattr(read_result, name) for name in Result.__struct_fields__]
        assert Result(*fields) == written_result
        assert index.result(8) is None


def test_a_missing_ledger_has_no_results(tmp_path: Path) -> None:
    with LedgerIndex(tmp_path / "ledger.jsonl") as index:
        assert index.result(1) is None
        assert list(index.rows(1)) == []


def test_the_error_about_a_damaged_line_names_its_place(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"event":"result"\n')
    with pytest.raises(LedgerError) as caught:
        LedgerIndex(path)
    assert caught.value.where == f"{path}:1"
