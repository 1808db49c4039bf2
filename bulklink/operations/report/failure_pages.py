"""Failures of a run by code, each with its rows, page by page.

A stage holds the row and the line of each failure in a small file, so that any page of a million
is found at once; its rows are read from the ledger.
"""
# ruff: noqa: S608

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec

from bulklink.decoding import json_decoder
from bulklink.duckdb_sql import literal
from bulklink.engine.failure_limit import failure_advice
from bulklink.errors import LedgerError
from bulklink.folder_files import create_file, line_blocks, split_lines
from bulklink.ledger.index import RecordedResult
from bulklink.ledger.records import Result, damaged_line_error, result_line
from bulklink.mapping.database import Database, open_database
from bulklink.mapping.faults import advice_for_fault
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Status
from bulklink.operations.report.failures import FieldCounts, count_groups
from bulklink.operations.report.result_tables import (
    CODE,
    results_relation,
    stream_refused_findings,
)
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunState

ROWS_PER_PAGE = 50
MAX_ROWS_PER_CODE = 1_000_000
"""Maximum rows of a code that can be paged through; an export has all."""
_MEMORY = "256MB"
_MAX_TEXT = 1000
"""Characters shown of a text."""
_TYPES = {
    **dict.fromkeys(("event", "status", "code"), "VARCHAR"),
    "row": "BIGINT",
    "http_status": "INTEGER",
}
_decode = json_decoder(RecordedResult).decode


class FailureCode(msgspec.Struct, frozen=True, kw_only=True):
    """A code with the rows that ended with it.

    Args:
        key: what names it in an address.
        code: the code.
        refused: whether its rows were refused before they were sent.
        rows: number of rows.
        advice: what to do; empty if there is no advice.
    """

    key: str
    code: str
    refused: bool
    rows: int
    advice: str

    @property
    def pages(self) -> int:
        """Number of its pages."""
        return -(-min(self.rows, MAX_ROWS_PER_CODE) // ROWS_PER_PAGE)


class FailedRow(msgspec.Struct, frozen=True):
    """A row that failed, is in doubt or was refused.

    Args:
        row: its number in the mapping.
        contact_id: id of its contact; None if unknown.
        message_id: id of its message; None if unknown.
        deal_id: id of its deal; None if unknown.
        status: its status.
        message: message of the CRM, or of the refusal.
    """

    row: int
    contact_id: str | None
    message_id: str | None
    deal_id: str | None
    status: str
    message: str


class FailureStage:
    """Failures of a run at one moment. All methods block.

    Args:
        folder: the run folder; its plan is not read.
        path: file to create for the stage; another beside it has the rows of `rejects.csv`.
        stop: interrupts the staging.

    Attributes:
        codes: the most frequent codes, those of sent rows first.
        other_codes: codes that are not listed.

    Raises:
        RunDirError: if a file cannot be read.
        LedgerError: if a line of the ledger is too long.
        InterruptedPlanningError: if it was stopped.
    """

    def __init__(self, folder: RunFolder, path: Path, stop: PlanningStop) -> None:
        self._path, self._stop = path, stop
        record = folder.read()
        counts = self._stage(folder.ledger)
        if record.state is RunState.REFUSED and not any(each.rows for each in counts):
            _write_refused(folder.rejects, path.with_suffix(".jsonl"), record.created)
            counts = self._stage(path.with_suffix(".jsonl"))
        first_lines = iter([line for _, line in self._places("place = 1")])
        self.codes = tuple(
            code
            for each in counts
            for code in self._describe(each, list(islice(first_lines, len(each.groups))))
        )
        self.other_codes = sum(each.other_groups for each in counts)

    def rows(self, code: FailureCode, page: int) -> list[FailedRow]:
        """Return a page of the rows of a code.

        Args:
            code: one of `codes`.
            page: number of the page, from 1.

        Raises:
            LedgerError: if the ledger was changed.
        """
        last = page * ROWS_PER_PAGE
        places = self._places(
            f"number = {self.codes.index(code)}"
            f" AND place BETWEEN {last - ROWS_PER_PAGE + 1} AND {last}"
        )
        results = self._lines.results(line for _, line in places)
        for (row, line), result in zip(places, results, strict=True):
            if result.row != row:
                raise damaged_line_error(self._lines.path, line)
        return list(map(_failed_row, results))

    def remove(self) -> None:
        """Remove its files."""
        for path in (self._path, self._path.with_suffix(".jsonl")):
            path.unlink(missing_ok=True)

    def _stage(self, ledger: Path) -> tuple[FieldCounts, FieldCounts]:
        """Write the file of the stage; return the codes of sent rows, and of refused ones."""
        self._path.unlink(missing_ok=True)
        self._lines = LedgerLines(ledger, self._stop)
        spill = self._path.with_suffix(".spill")
        with closing(Database(spill, self._stop, memory=_MEMORY)) as database:
            lines = results_relation(database, ledger, _TYPES, self._lines.count)
            database.execute(_CREATE_RESULTS.format(lines=lines))
            database.execute(_CREATE_FINDINGS)
            counts = (
                count_groups(database, "code", refused=False),
                count_groups(database, "code", refused=True),
            )
            query = _SELECT_STAGE.format(listed=_listed(counts))
            database.execute(database.files.copy(query, self._path, "FORMAT parquet"))
        return counts

    def _places(self, condition: str) -> list[tuple[int, int]]:
        """Return row and line of the failures that meet a condition, in order."""
        spill = self._path.with_suffix(".spill")
        with open_database(spill, stop=self._stop, reads_parts=True) as database:
            stage = database.files.read_parquet(self._path)
            query = f'SELECT "row", line FROM {stage} WHERE {condition} ORDER BY number, place'
            return [(row, line) for row, line in database.rows(query)]

    def _describe(self, counts: FieldCounts, first_lines: Sequence[int]) -> Iterator[FailureCode]:
        """Yield the codes of one kind.

        Args:
            counts: their rows.
            first_lines: line of the first row of each.
        """
        examples = self._lines.results(first_lines)
        for group, example in zip(counts.groups, examples, strict=True):
            code = group.key or ""
            advice = (
                advice_for_fault(code) if counts.refused else failure_advice(code, example.message)
            )
            yield FailureCode(
                key=_key(code, refused=counts.refused),
                code=code,
                refused=counts.refused,
                rows=group.rows,
                advice=advice,
            )


class LedgerLines:
    """Lines of a ledger by their numbers.

    Args:
        path: the ledger, which may grow; a missing one has no lines.
        stop: interrupts the pass over it.

    Attributes:
        path: see above.
        count: number of its whole lines.

    Raises:
        RunDirError: if it cannot be read.
        LedgerError: if a line is too long.
    """

    def __init__(self, path: Path, stop: PlanningStop) -> None:
        self.path = path
        self.count = 0
        self._first_lines, self._offsets = array("Q"), array("Q")
        offset = 0
        for block in line_blocks(path, error_class=LedgerError):
            stop.check()
            self._first_lines.append(self.count + 1)
            self._offsets.append(offset)
            self.count += block.count(b"\n")
            offset += len(block)

    def results(self, numbers: Iterable[int]) -> list[RecordedResult]:
        """Return the results on some lines.

        Args:
            numbers: numbers of the lines, from 1.

        Raises:
            LedgerError: if one of them is no result: the ledger was changed, or is damaged.
        """
        blocks: dict[int, list[bytes]] = {}
        results = []
        for number in numbers:
            place = bisect_right(self._first_lines, number) - 1
            if place not in blocks:
                blocks[place] = self._block(place)
            lines = blocks[place]
            try:
                results.append(_decode(lines[number - self._first_lines[place]]))
            except (ValueError, RecursionError, IndexError):
                raise damaged_line_error(self.path, number) from None
        return results

    def _block(self, place: int) -> list[bytes]:
        """Return the lines of a block."""
        has_next = place + 1 < len(self._first_lines)
        end = self._first_lines[place + 1] if has_next else self.count + 1
        missing = end - self._first_lines[place]
        lines: list[bytes] = []
        for block in line_blocks(self.path, start=self._offsets[place], error_class=LedgerError):
            lines += split_lines(block)
            if len(lines) >= missing:
                break
        return lines[:missing]


def _write_refused(rejects: Path, ledger: Path, ts: str) -> None:
    """Write the first rows of `rejects.csv` as a ledger would record them."""
    ledger.unlink(missing_ok=True)
    with create_file(ledger) as file:
        for row, code, message in islice(stream_refused_findings(rejects), MAX_ROWS_PER_CODE):
            result = Result(
                row=row,
                op=None,
                contact_id=None,
                owner_id=None,
                message_id=None,
                deal_id=None,
                status=Status.REJECTED,
                code=code,
                message=message,
            )
            file.write(result_line(ts, result))


def _failed_row(result: RecordedResult) -> FailedRow:
    previous = result.previous_deal_id
    return FailedRow(
        row=result.row,
        contact_id=_shown(result.contact_id),
        message_id=_shown(result.message_id),
        deal_id=_shown(result.deal_id or (previous if isinstance(previous, str) else None)),
        status=result.status,
        message=_shown(result.message) or "",
    )


def _shown(text: str | None) -> str | None:
    is_long = text is not None and len(text) > _MAX_TEXT
    return f"{text[:_MAX_TEXT]}…" if text is not None and is_long else text


def _key(code: str, *, refused: bool) -> str:
    return hashlib.sha256(f"{refused} {code}".encode()).hexdigest()[:16]


def _listed(counts: Sequence[FieldCounts]) -> str:
    """Build the SQL values of the listed codes: number, whether refused, code."""
    keys = [(each.refused, group.key or "") for each in counts for group in each.groups]
    rows = [f"({n}, {refused}, {literal(key)})" for n, (refused, key) in enumerate(keys)]
    return ", ".join(["(-1, NULL, NULL)", *rows])


#: Tables of numbers are joined faster than texts are aggregated.
_CREATE_RESULTS = f"""
CREATE TABLE results AS SELECT "row", line, status, {CODE} AS code
FROM {{lines}} WHERE "row" IS NOT NULL
"""
_CREATE_FINDINGS = """
CREATE TABLE findings AS SELECT *, true AS coded, '' AS message
FROM results SEMI JOIN (SELECT max(line) AS line FROM results GROUP BY "row") USING (line)
WHERE status IN ('failed', 'in_doubt', 'rejected')
"""
_SELECT_STAGE = f"""
SELECT listed.number, "row", line,
    row_number() OVER (PARTITION BY listed.number ORDER BY "row") AS place
FROM findings JOIN (VALUES {{listed}}) AS listed(number, refused, code)
    ON listed.refused = (findings.status = 'rejected') AND listed.code = findings.code
QUALIFY place <= {MAX_ROWS_PER_CODE} ORDER BY number, place
"""
