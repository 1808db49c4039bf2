"""Replay of a ledger."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.ledger.records import (
    CallLine,
    Result,
    answer_line,
    call_line,
    result_line,
    step_line,
    timestamp,
    unsent_line,
)
from bulklink.ledger.replay import replay
from bulklink.ledger.state import CallTotals, LedgerState, repair_torn_line
from bulklink.models import Op, Status

TS = "2026-11-22T10:15:00.000Z"


def result(row: int, status: Status) -> Result:
    return Result(row, Op.LINK, "1", "2", "a", "3", status)


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def test_the_last_result_of_a_row_is_its_state(tmp_path: Path) -> None:
    path = write(
        tmp_path / "ledger.jsonl",
        result_line(TS, result(1, Status.IN_DOUBT)),
        result_line(TS, result(2, Status.DONE)),
        result_line(TS, result(1, Status.DONE)),
    )
    assert replay(path).counts[Status.DONE] == 2
    assert replay(path).counts[Status.IN_DOUBT] == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    states=st.dictionaries(st.integers(1, 100_000), st.sampled_from(list(Status))),
    calls=st.lists(st.tuples(st.sampled_from(["link", "unlink", "read"]), st.integers(1, 6))),
)
def test_replay_counts_all_results_and_calls(
    tmp_path: Path, states: dict[int, Status], calls: list[tuple[str, int]]
) -> None:
    lines = [
        call_line(TS, CallLine(n, op, attempt, "1", (n,)))
        for n, (op, attempt) in enumerate(calls, 1)
    ]
    lines += [result_line(TS, result(row, status)) for row, status in states.items()]
    ledger_state = replay(write(tmp_path / "ledger.jsonl", *lines))
    for status in Status:
        assert ledger_state.counts[status] == list(states.values()).count(status)
    assert ledger_state.calls.link == sum(op == "link" for op, _ in calls)
    assert ledger_state.calls.retried == sum(attempt > 1 for _, attempt in calls)


@given(
    results=st.lists(st.tuples(st.integers(1, 9), st.sampled_from(Status), st.booleans())),
    opened=st.sets(st.integers(1, 9)),
)
def test_open_rows_are_selected_first_then_the_other_unfinished_ones(
    results: list[tuple[int, Status, bool]], opened: set[int]
) -> None:
    state = LedgerState()
    for row, status, retry in results:
        state.record_result(row, status, retry=retry)
    for row in opened:
        state.open_row(row)
    rows = range(1, 20)
    first, then = state.select_open_rows(), state.select_unfinished_rows(opened)
    assert {row for row in rows if first[min(row, len(first) - 1)] == "1"} == opened
    unfinished = {row for row in rows if state.is_unfinished(row)}
    assert {row for row in rows if then[min(row, len(then) - 1)] == "1"} == unfinished - opened


def test_an_unsent_call_leaves_no_trace(tmp_path: Path) -> None:
    """Its rows are restored, and it is not counted."""
    first, again = CallLine(1, "link", 1, "1", (1,)), CallLine(2, "link", 2, "1", (1,))
    untouched = CallLine(3, "unlink", 1, "1", (2,))
    half, read = CallLine(4, "link", 1, "1", (3,)), CallLine(5, "read", 2, "1", (3,))
    ledger_state = replay(
        write(
            tmp_path / "ledger.jsonl",
            *(call_line(TS, line) for line in (first, again, untouched)),
            step_line(TS, 3),
            *(call_line(TS, line) for line in (half, read)),
            *(unsent_line(TS, line) for line in (again, untouched, half, read)),
        )
    )
    assert (
        ledger_state.open_rows[1].last_op,
        ledger_state.open_rows[1].last_call,
        ledger_state.open_rows[1].attempts,
    ) == (
        "link",
        1,
        1,
    )
    assert 2 not in ledger_state.open_rows
    assert (ledger_state.open_rows[3].last_op, ledger_state.open_rows[3].unlinked) == (None, True)
    assert ledger_state.calls == CallTotals(link=1)
    assert ledger_state.next_call == 6


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    line = result_line(TS, result(1, Status.DONE))
    path = write(tmp_path / "ledger.jsonl", line, result_line(TS, result(2, Status.DONE))[:40])
    assert replay(path).counts[Status.DONE] == 1


def test_a_torn_last_line_is_moved_to_another_file(tmp_path: Path) -> None:
    whole = result_line(TS, result(1, Status.DONE))
    path, torn = write(tmp_path / "ledger.jsonl", whole, whole[:30]), tmp_path / "ledger.torn"
    repair_torn_line(path, torn)
    assert path.read_bytes() == whole
    assert torn.read_bytes() == whole[:30] + b"\n"
    repair_torn_line(path, torn)
    assert torn.read_bytes() == whole[:30] + b"\n"


@pytest.mark.parametrize(
    "line", [b'{"event":"result"\n', b'{"event":"\xff"}\n'], ids=["cut", "not-utf-8"]
)
def test_the_error_about_a_damaged_line_names_its_place(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "ledger.jsonl", line)
    with pytest.raises(LedgerError) as caught:
        replay(path)
    assert caught.value.where == f"{path}:1"


def test_a_missing_ledger_counts_as_empty(tmp_path: Path) -> None:
    assert sum(replay(tmp_path / "ledger.jsonl").counts.values()) == 0


def test_times_are_utc_with_milliseconds() -> None:
    assert timestamp(1_800_000_000.0126) == "2027-01-15T08:00:00.012Z"


def test_a_stored_answer_is_truncated_to_8_kb(tmp_path: Path) -> None:
    del tmp_path
    stored = orjson.loads(answer_line(TS, 1, "link", 500, "x" * 20_000))
    assert len(stored["body"]) == 8192
    assert stored["http_status"] == 500


def test_unknown_fields_are_omitted_and_no_deal_is_null() -> None:
    unknown = orjson.loads(result_line(TS, result(1, Status.DONE)))
    assert "previous_deal_id" not in unknown
    assert "duplicate_of" not in unknown
    no_deal = Result(1, Op.UNLINK, "1", "2", "a", None, Status.DONE, current_deal_id=None)
    assert orjson.loads(result_line(TS, no_deal))["current_deal_id"] is None
