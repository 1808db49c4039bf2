"""The tally of a ledger counts the last result of each row, and names one of each failure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulklink.errors import LedgerError
from bulklink.ledger.records import Result, failure_code, result_line, step_line
from bulklink.ledger.statistics import OTHER_CODES, count_results
from bulklink.models import Op, Status

FAILED = (Status.FAILED, Status.IN_DOUBT)


def result(row: int, status: Status, code: str | None = None, op: Op | None = Op.LINK) -> Result:
    return Result(row, op, "1", "2", f"m{row}", "3", status, code)


def write(path: Path, results: list[Result]) -> Path:
    path.write_bytes(b"".join(result_line("2026-01-01T00:00:00.000Z", item) for item in results))
    return path


RESULTS = st.lists(
    st.builds(
        result,
        st.integers(1, 12),
        st.sampled_from(Status),
        st.sampled_from([None, "NOT_ALLOWED", "no-answer", "X"]),
        st.sampled_from([None, *Op]),
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(results=RESULTS)
def test_it_is_what_counting_the_last_results_gives(results: list[Result], tmp_path: Path) -> None:
    last = {one.row: one for one in results}
    statistics = count_results(write(tmp_path / "ledger.jsonl", results))
    assert statistics.counts == Counter((one.op, one.status) for one in last.values())
    codes = Counter(failure_code(one) for one in last.values() if one.status in FAILED)
    assert {one.code: one.count for one in statistics.failures} == codes
    counts = [one.count for one in statistics.failures]
    assert counts == sorted(counts, reverse=True)
    for one in statistics.failures:
        example = last[one.example.row]
        assert (failure_code(example), example.status in FAILED) == (one.code, True)


def test_codes_without_end_take_memory_for_a_few(tmp_path: Path) -> None:
    results = [result(row, Status.FAILED, f"C{row}") for row in range(1, 400)]
    statistics = count_results(
        write(tmp_path / "ledger.jsonl", [*results, result(400, Status.DONE)])
    )
    assert sum(one.count for one in statistics.failures) == 399
    assert statistics.failures[0].code == OTHER_CODES
    assert len(statistics.failures) < 255
    assert statistics.counts[Op.LINK, Status.DONE] == 1


def test_a_torn_end_does_not_count_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    whole = result_line("2026-01-01T00:00:00.000Z", result(1, Status.DONE))
    ledger.write_bytes(step_line("2026-01-01T00:00:00.000Z", 1) + whole + whole[:40])
    assert count_results(ledger).counts == {(Op.LINK, Status.DONE): 1}
    ledger.write_bytes(whole + b"{}\n")
    with pytest.raises(LedgerError, match="not a ledger line"):
        count_results(ledger)


def test_a_run_without_a_ledger_has_no_rows(tmp_path: Path) -> None:
    assert not count_results(tmp_path / "ledger.jsonl").counts
