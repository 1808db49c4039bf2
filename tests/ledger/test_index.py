"""Finding the last result of each row again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.ledger.index import ResultIndex
from bulklink.ledger.records import CallLine, Result, call_line, result_line
from bulklink.ledger.state import replay
from bulklink.models import Op, Status

TS = "2026-11-22T10:15:00.000Z"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    results=st.lists(st.tuples(st.integers(1, 40), st.sampled_from(list(Status)), st.text())),
    cut=st.integers(0, 60),
)
def test_each_row_has_the_state_that_replay_gives_it(
    tmp_path: Path, results: list[tuple[int, Status, str]], cut: int
) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = [call_line(TS, CallLine(1, "link", 1, "1", (1, 2)))]
    for row, status, text in results:
        lines.append(result_line(TS, Result(row, Op.LINK, "1", "2", "a", "3", status, text)))
    content = b"".join(lines)
    path.write_bytes(content[: len(content) - cut])
    replayed = replay(path)
    with ResultIndex(path) as outcomes:
        states = {row: found.status for row in range(50) if (found := outcomes.of(row))}
        assert list(outcomes.rows(0)) == sorted(states)
        assert list(outcomes.rows(3, 9)) == [row for row in sorted(states) if 3 <= row <= 9]
    told_by_replay = {row: replayed.status(row) for row in range(50)}
    assert states == {row: status for row, status in told_by_replay.items() if status}


def test_a_result_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written_result = Result(
        7, Op.RELINK, "1", "2", "m" * 500, "3", Status.FAILED, "NOT_ALLOWED", 400, "ü" * 300, 2, 9,
        previous_deal_id=None, previous_deal_name=None, current_deal_id="4",
    )  # fmt: skip
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(result_line(TS, written_result) * 20_000)
    with ResultIndex(path) as outcomes:
        found = outcomes.of(7)
        assert found is not None
        assert found.ts == TS
        assert result_line(TS, found) == result_line(TS, written_result)
        assert outcomes.of(8) is None


def test_a_missing_ledger_has_no_results(tmp_path: Path) -> None:
    with ResultIndex(tmp_path / "ledger.jsonl") as outcomes:
        assert outcomes.of(1) is None
        assert list(outcomes.rows(1)) == []


def test_a_damaged_line_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"event":"result"\n')
    with pytest.raises(LedgerError) as caught:
        ResultIndex(path)
    assert caught.value.where == f"{path}:1"
