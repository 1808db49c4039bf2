"""Index of the last result of each row."""

from __future__ import annotations

from io import FileIO
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.index import LedgerIndex, RecordedResult, Snapshot
from bulklink.ledger.line_reader import LineAtReader
from bulklink.ledger.records import CallLine, Result, call_line, result_line
from bulklink.ledger.replay import replay
from bulklink.models import Op, Status
from tests.ledger.test_uniform_results import ROWS, call_of, ledgers

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


def read_rows(
    index: LedgerIndex, rows: list[int]
) -> dict[int, tuple[RecordedResult | None, Snapshot | None] | str | None]:
    """Return the result and the snapshot of each row, or where its damaged line is."""
    lines: dict[int, tuple[RecordedResult | None, Snapshot | None] | str | None] = {}
    for row in rows:
        try:
            lines[row] = (index.result(row), index.snapshot(row))
        except LedgerError as error:
            lines[row] = str(error.where)
    return lines


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=300,
)
@given(content=ledgers())
def test_an_index_without_uniform_results_lacks_only_those(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    checkpoint, rows = LedgerCheckpoint(ROWS), list(range(1, ROWS + 1))
    try:
        whole = LedgerIndex(path, checkpoint=checkpoint)
    except LedgerError:
        with pytest.raises(LedgerError):
            LedgerIndex(path, checkpoint=checkpoint, uniform=False)
        return
    with whole, LedgerIndex(path, checkpoint=checkpoint, uniform=False) as index:
        only_done = index.only_done(rows)
        others = [row for row, done in zip(rows, only_done, strict=True) if not done]
        assert read_rows(index, others) == read_rows(whole, others)
        for row in set(rows) - set(others):
            result = whole.result(row)
            assert result is not None
            assert (result.status, whole.snapshot(row)) == (Status.DONE, None)
            assert row not in whole.state.open_rows


def test_a_row_called_again_after_a_uniform_result_is_indexed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    lines = [*call_of([7, 8]), *call_of([8])[:1]]
    path.write_bytes(b"".join(lines))
    with LedgerIndex(path, uniform=False) as index, LedgerIndex(path) as whole:
        assert index.only_done([7, 8]) == [False, False]
        assert read_rows(index, [7, 8]) == read_rows(whole, [7, 8])


def test_uniform_results_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"".join(call_of([7, 8])))
    with LedgerIndex(path, uniform=False) as index:
        assert index.only_done([6, 7, 8, 9]) == [False, True, True, False]
        assert index.result(7) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 500, 1023, 1024, 1500, 64 << 10]), min_size=1),
    order=st.randoms(use_true_random=False),
)
def test_lines_are_read_in_any_order(tmp_path: Path, lengths: list[int], order: Random) -> None:
    lines = [b"%d" % place * length for place, length in enumerate(lengths)]
    path = tmp_path / "lines"
    path.write_bytes(b"\n".join(lines))
    offsets = list(accumulate((len(line) + 1 for line in lines), initial=0))[:-1]
    places = order.choices(range(len(lines)), k=20)
    with FileIO(path) as file:
        reader = LineAtReader(file)
        for place in [*range(len(lines)), *places]:
            assert reader.read(offsets[place]) == lines[place]
