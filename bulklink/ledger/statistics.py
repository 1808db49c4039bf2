"""Statistics of a ledger: rows by op and status, failures by code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bulklink.decoding import json_decoder
from bulklink.ledger.index import LedgerIndex
from bulklink.ledger.records import Result, decode_lines, failure_code
from bulklink.ledger.row_array import RowArray
from bulklink.models import Op, Status

OTHER_CODES = "other codes"
_FAILED = (Status.FAILED, Status.IN_DOUBT)
_MAX_CODES = 200


class FailureCount(msgspec.Struct, frozen=True):
    """A failure code and the number of its rows.

    Args:
        code: Zoho's or bulklink's code, or `HTTP` and the status.
        count: rows whose last result has this code.
        example: result of one of these rows.
    """

    code: str
    count: int
    example: Result


class ResultCounts(msgspec.Struct, frozen=True):
    """Rows by op and status, and failures by code.

    Args:
        counts: rows by (op, status); the op is None for a refused row whose op is unknown.
        failures: codes of the rows that failed or are in doubt, the most frequent first.
    """

    counts: dict[tuple[Op | None, Status], int]
    failures: list[FailureCount]


class _ResultLine(Result, frozen=True, kw_only=True):
    event: str


class _LineEvent(msgspec.Struct):
    event: str


_GroupKey = tuple[Op | None, Status, str]


@dataclass(slots=True)
class _ResultGroups:
    """Group of each row by op, status and failure code, one byte per row."""

    keys: list[_GroupKey] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    examples: list[Result] = field(default_factory=list)
    _index_by_key: dict[_GroupKey, int] = field(default_factory=dict)
    _group_by_row: RowArray = field(default_factory=lambda: RowArray("B"))

    def add(self, result: Result) -> None:
        """Count a row in the group of its result, in place of its previous group."""
        row, index = result.row, self._group_index(result)
        if previous := self._group_by_row[row]:
            self.counts[previous - 1] -= 1
        self._group_by_row[row] = index + 1
        self.counts[index] += 1

    def _group_index(self, result: Result) -> int:
        status = result.status
        code = failure_code(result) if status in _FAILED else ""
        index = self._index_by_key.get((result.op, status, code))
        if index is None:
            if len(self.keys) >= _MAX_CODES and code:
                code = OTHER_CODES
            index = self._index_by_key.setdefault((result.op, status, code), len(self.keys))
            if index == len(self.keys):
                self.keys.append((result.op, status, code))
                self.counts.append(0)
                self.examples.append(result)
        return index

    def first_row(self, index: int) -> int:
        """Return the first row of a group: its example, while that row is still in the group."""
        row = self.examples[index].row
        return row if self._group_by_row[row] == index + 1 else self._group_by_row.find(index + 1)


def count_results(
    path: Path,
    *,
    exclude: Callable[[int], bool] = lambda row: False,
    check: Callable[[], None] = lambda: None,
) -> ResultCounts:
    """Count the last results of a ledger in one pass.

    Memory: one byte per row. A torn last line, left by a killed run, is ignored.

    Args:
        path: the ledger; a missing one is empty.
        exclude: whether to leave a row out.
        check: called periodically; may raise to abort.

    Raises:
        LedgerError: if a line is damaged.
    """
    groups = _ResultGroups()
    for _, result in decode_lines(path, _result_decoder(), check):
        if result is not None and not exclude(result.row):
            groups.add(result)
    return ResultCounts(_count_by_op(groups), _count_failures(groups, path))


def _result_decoder() -> Callable[[bytes], Result | None]:
    decode_result = json_decoder(_ResultLine).decode
    decode_event = json_decoder(_LineEvent).decode

    def decode(line: bytes) -> Result | None:
        if line.startswith(b'{"event":"result"') or decode_event(line).event == "result":
            return decode_result(line)
        return None

    return decode


def _count_by_op(groups: _ResultGroups) -> dict[tuple[Op | None, Status], int]:
    counts: dict[tuple[Op | None, Status], int] = {}
    for (op, status, _), count in zip(groups.keys, groups.counts, strict=True):
        if count:
            counts[op, status] = counts.get((op, status), 0) + count
    return counts


def _count_failures(groups: _ResultGroups, path: Path) -> list[FailureCount]:
    """Return the failures by code, over all ops and both statuses."""
    indexes_by_code: dict[str, list[int]] = {}
    for index, (_, _, code) in enumerate(groups.keys):
        if code and groups.counts[index]:
            indexes_by_code.setdefault(code, []).append(index)
    failures = [
        FailureCount(
            code, sum(groups.counts[n] for n in indexes), _current_example(groups, indexes[0], path)
        )
        for code, indexes in indexes_by_code.items()
    ]
    return sorted(failures, key=lambda failure: (-failure.count, failure.code))


def _current_example(groups: _ResultGroups, index: int, path: Path) -> Result:
    example = groups.examples[index]
    row = groups.first_row(index)
    if row == example.row:
        return example
    # A retry has changed the result of the example: look up another row.
    with LedgerIndex(path) as results:
        return results.result(row) or example
