"""Runs of `result` lines are replayed as if each line were alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.done_batch import DoneBatch, done_lines
from bulklink.ledger.records import (
    CallLine,
    Result,
    call_line,
    result_line,
    snapshot_line,
    step_line,
    unsent_line,
)
from bulklink.ledger.replay import LinePositions, Replay, replay
from bulklink.ledger.row_array import InvalidLineError, RowArray
from bulklink.ledger.state import NOT_APPLIED, PUT_BACK_FAILED, LedgerState
from bulklink.ledger.uniform_results import match_uniform_results
from bulklink.models import Message, Op, Status

ROWS = 12
TIMES = st.sampled_from(["2026-11-22T10:15:00.000Z", "2026-11-22T10:15:00.001Z"])
OPS = st.sampled_from([Op.LINK, Op.UNLINK])
ROW = st.integers(1, ROWS + 1)
"""Rows of the run, and one beyond."""
CALLS = st.integers(1, 4)
ROW_LISTS = st.lists(ROW, min_size=1, max_size=5)
MESSAGE_IDS = st.sampled_from(["a", "b", "cc", "0", "é", 'q"', ""])
CODES = st.sampled_from(["SUCCESS", None, NOT_APPLIED, PUT_BACK_FAILED, '"row":1'])


def lines_of(ts: str, batch: DoneBatch) -> list[bytes]:
    ids = [orjson.dumps(message.message_id).decode() for message in batch.messages]
    return done_lines(ts, batch, ids).splitlines(keepends=True)


@st.composite
def whole_calls(draw: st.DrawFn) -> list[bytes]:
    """Return a call that succeeds as a whole, its lines now and then with a flaw."""
    ts, op, call = draw(TIMES), draw(OPS), draw(CALLS)
    rows = draw(st.lists(ROW, min_size=1, max_size=5, unique=draw(st.booleans())))
    ids = draw(st.sampled_from([st.just("a"), MESSAGE_IDS]))
    messages = [Message(row, op, "1", "2", draw(ids), None) for row in rows]
    batch = DoneBatch(messages, "SUCCESS", draw(st.sampled_from(["linked", "é\\"])), 200, 1, call)
    lines = [call_line(ts, CallLine(call, op, 1, "1", tuple(rows)))]
    lines += lines_of(ts, batch)
    flaw, at = draw(st.sampled_from(["", "", "drop", "repeat", "swap"])), draw(st.integers(0, 5))
    if flaw == "drop":
        del lines[at : at + 1]
    elif flaw == "repeat":
        lines[at:at] = lines[at : at + 1]
    elif flaw == "swap":
        lines[at : at + 2] = reversed(lines[at : at + 2])
    return lines


@st.composite
def other_lines(draw: st.DrawFn) -> list[bytes]:
    ts, row, call = draw(TIMES), draw(ROW), draw(CALLS)
    line = CallLine(
        call, draw(st.sampled_from(["link", "unlink", "read"])), 1, "1", tuple(draw(ROW_LISTS))
    )
    status = draw(st.sampled_from(list(Status)))
    result = Result(
        row, draw(OPS), "1", "2", draw(MESSAGE_IDS), "3", status, draw(CODES), attempts=1, call=call
    )
    return [
        draw(
            st.sampled_from(
                [
                    call_line(ts, line),
                    unsent_line(ts, line),
                    snapshot_line(ts, row, "5", None, call),
                    step_line(ts, row),
                    result_line(ts, result),
                ]
            )
        )
    ]


@st.composite
def ledgers(draw: st.DrawFn) -> bytes:
    """Return a ledger, which may be damaged or torn."""
    parts = draw(st.lists(st.one_of(whole_calls(), other_lines()), max_size=8))
    content = b"".join(line for part in parts for line in part)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([0, 1, 1, 7]))
        text = draw(st.sampled_from([b"", b"0", b"1", b'"', b"\n", b"}\n{", b"\\", b"\xff", b" "]))
        content = content[:at] + text + content[at + length :]
    return content


def read_at_once(path: Path) -> tuple[LedgerState, LinePositions]:
    positions = LinePositions(RowArray("Q", ROWS), RowArray("Q", ROWS))
    checkpoint = LedgerCheckpoint(ROWS)
    return replay(path, should_retry, checkpoint=checkpoint, positions=positions), positions


def read_line_by_line(path: Path) -> tuple[LedgerState, LinePositions]:
    """Replay without ever noting a call, so that none are recognised."""
    positions = LinePositions(RowArray("Q", ROWS), RowArray("Q", ROWS))
    lines = Replay(LedgerState(rows=ROWS), should_retry, positions)
    start = 0
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            lines.apply(line + b"\n", start)
        except InvalidLineError:
            raise LedgerError("", where=f"{path}:{lines.number}") from None
        lines._open_noted()
        start += len(line) + 1
    lines.end()
    return lines.state, positions


def should_retry(status: Status, code: str | None) -> bool:
    return status is Status.FAILED and code == "SUCCESS"


def outcome(read: Any, path: Path) -> Any:
    """Return all that a replay finds, or where the damaged line is."""
    try:
        state, positions = read(path)
    except LedgerError as error:
        return error.where
    rows = range(ROWS + 2)
    return (
        state.open_rows, state.calls, state.counts, state.final_counts, state.next_call,
        state.not_put_back, state.last_timestamp, state.sample_message_ids, state.confirmed_kinds,
        state.resettled_rows, [state.states[row] for row in rows],
        [state.earlier_attempts(row) for row in rows], state._in_doubt_attempts,
        [positions.results[row] for row in rows], [positions.snapshots[row] for row in rows],
    )  # fmt: skip


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=400,
)
@given(content=ledgers())
def test_a_ledger_read_at_once_gives_the_state_and_the_error_of_its_lines(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    assert outcome(read_at_once, path) == outcome(read_line_by_line, path)


def call_of(rows: list[int], ts: str = "2026-11-22T10:15:00.000Z") -> list[bytes]:
    messages = [Message(row, Op.LINK, "1", "2", "abc", "3") for row in rows]
    return [
        call_line(ts, CallLine(1, "link", 1, "1", tuple(rows))),
        *lines_of(ts, DoneBatch(messages, "SUCCESS", "linked", 200, 1, 1)),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"row":9,', b'"row":09,'),
        (b'"row":9,', b'"row":9,"row":8,'),
        (b'"row":9,', b'"row":13,'),
        (b'"abc","deal_id"', b'"abc","row":7,"deal_id"'),
        (b'"abc"', b'"a\nc"'),
        (b'"abc"', b'"a\tc"'),
        (b'"abc"', b'"a"c"'),
        (b'"status":"done"', b'"status":"lost"'),
        (b'"status":"done"', b'"status":"done","r\\u006fw":7'),
        (b'"http_status":200', b'"http_status":200,'),
        (b"}\n", b"} {}\n"),
        (b"}\n", b"}\n\n"),
    ],
)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_one_line_unlike_the_others_is_read_like_any_line(
    tmp_path: Path, old: bytes, new: bytes, at: int
) -> None:
    lines = call_of([9, 9, 9] if b"row" in old else [7, 8, 9])
    lines[at] = lines[at].replace(old, new)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(lines))
    assert outcome(read_at_once, path) == outcome(read_line_by_line, path)


@pytest.mark.parametrize(
    ("rows", "end"),
    [
        ([9, 9, 9], b""),
        ([7, 8, 9], b',"row":7'),
        ([7, 8, 9], b',"message_id":"x"'),
        ([7, 8, 9], b',"status":"failed"'),
        ([7, 8, 9], b',"code":"put-back-failed"'),
        ([7, 8, 9], b',"x":"\xff"'),
    ],
)
def test_lines_that_are_all_unusual_are_read_like_any_lines(
    tmp_path: Path, rows: list[int], end: bytes
) -> None:
    call, *lines = call_of(rows)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(call + b"".join(line[:-2] + end + b"}\n" for line in lines))
    assert outcome(read_at_once, path) == outcome(read_line_by_line, path)


def test_calls_without_results_are_in_flight_however_many_there_are(tmp_path: Path) -> None:
    rows = range(1, 6001)
    ts = "2026-11-22T10:15:00.000Z"
    calls = [call_line(ts, CallLine(row, "link", 1, "1", (row,))) for row in rows]
    results = [
        result_line(ts, Result(row, Op.LINK, "1", "2", "a", "3", Status.DONE, call=row))
        for row in rows[::2]
    ]
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(calls + results))
    state = replay(path)
    assert sorted(state.open_rows) == list(rows[1::2])
    assert all(state.open_rows[row].last_call == row for row in rows[1::2])
    assert state.counts[Status.DONE] == 3000


def test_uniform_results_are_recognised() -> None:
    """Otherwise the tests above would compare nothing."""
    call, *lines = call_of([3, 10, 5])
    block = b"".join((call, *lines, *call_of([7])))
    found = match_uniform_results(block, len(call), lines[0][:-1], [3, 10, 5])
    assert found is not None
    assert found.message_ids == [b"abc"] * 3
    assert [block[start : start + 17] for start in found.starts] == [b'{"event":"result"'] * 3
    assert block[found.end :].startswith(b'{"event":"call"')
