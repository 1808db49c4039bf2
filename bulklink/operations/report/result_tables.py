"""DuckDB tables of the results that a ledger records."""

# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from itertools import starmap
from pathlib import Path
from typing import NamedTuple

from bulklink.folder_files import line_blocks
from bulklink.mapping.database import Database
from bulklink.mapping.original_rows import UserColumn, stream_refused_rows
from bulklink.models import Op, Status

CODE = "coalesce(nullif(code, ''), 'HTTP ' || nullif(http_status, 0), 'no code')"
"""SQL of the code under which a result is counted."""
_ROWS_AT_ONCE = 2048
_RESULT_TYPES = {
    "event": "VARCHAR",
    "ts": "VARCHAR",
    "row": "BIGINT",
    "op": "VARCHAR",
    "status": "VARCHAR",
}
_FINDING_TYPES = _RESULT_TYPES | {
    "contact_id": "VARCHAR",
    "owner_id": "VARCHAR",
    "message_id": "VARCHAR",
    "deal_id": "VARCHAR",
    "previous_deal_id": "VARCHAR",
    "code": "VARCHAR",
    "http_status": "INTEGER",
    "message": "VARCHAR",
}
_REFUSED_COLUMNS = tuple(
    UserColumn(f"bulklink_{name}", f"bulklink_{name}", None)
    for name in ("reason", "file", "line", "column", "raw")
)


class SettledCount(NamedTuple):
    """Rows of one status that were settled within one second.

    Args:
        second: seconds since 1970.
        status: their status.
        rows: number of rows.
    """

    second: int
    status: str
    rows: int


class ResultTables:
    """DuckDB tables `results` and `findings` of the current ledger.

    `results` has row, op, status and ts of the last result of each row, and is created when it is
    needed; `findings` has all of the results that failed, are in doubt or were refused. A missing
    code is replaced as the terminal summary replaces it (`coded` is false then), and the deal of an
    unlink is the email's previous deal. A torn last line, left by a killed run, does not count.

    Args:
        database: database to create the tables in.
        ledger: path of the ledger, whose lines are known to be whole; a missing one is empty.
        has_findings: whether it has any.
    """

    def __init__(self, database: Database, ledger: Path, *, has_findings: bool) -> None:
        self._database = database
        self._ledger = ledger
        self._lines: int | None = None
        lines = self._read_results() if has_findings else 0
        findings = results_relation(database, ledger, _FINDING_TYPES, lines)
        database.execute(
            _CREATE_FINDINGS.format(
                lines=findings, finding_lines=_FINDING_LINES if lines else _NO_LINES
            )
        )

    def _read_results(self) -> int:
        """Create the table `results` unless it exists; return the lines of the ledger."""
        if self._lines is None:
            self._lines = _count_lines(self._ledger)
            lines = results_relation(self._database, self._ledger, _RESULT_TYPES, self._lines)
            self._database.execute(_CREATE_RESULTS.format(lines=lines))
        return self._lines

    def count_rows(self) -> dict[tuple[Op | None, Status], int]:
        """Return the number of rows of each op and status."""
        self._read_results()
        counts = self._database.rows("SELECT op, status, count(*) FROM results GROUP BY ALL")
        return {(Op(op) if op else None, Status(status)): count for op, status, count in counts}

    def add_rejects(self, rejects: Path, ts: str) -> None:
        """Add the rows of `rejects.csv` to the findings of a run without a ledger.

        Args:
            rejects: path of the file.
            ts: time of the findings, as the ledger writes it.
        """
        batch: list[tuple[str | None, ...]] = []
        for refused in stream_refused_findings(rejects):
            batch.append((str(refused.row), Status.REJECTED, refused.code, refused.message, ts))
            if len(batch) == _ROWS_AT_ONCE:
                self._insert_batch(batch)
        self._insert_batch(batch)

    def _insert_batch(self, batch: list[tuple[str | None, ...]]) -> None:
        if batch:
            self._database.execute(_CREATE_BATCH)
            self._database.insert("batch", batch)
            self._database.execute(_INSERT_BATCH)
            batch.clear()

    def settled_per_second(self) -> Iterator[SettledCount]:
        """Stream the number of rows of each status settled by calls, second by second."""
        self._read_results()
        return starmap(SettledCount, self._database.rows(_SELECT_SETTLED))


class RefusedFinding(NamedTuple):
    """A row of `rejects.csv`.

    Args:
        row: row number in the mapping.
        code: reason of the refusal.
        message: where the row stands, and how it begins.
    """

    row: int
    code: str
    message: str


def stream_refused_findings(rejects: Path) -> Iterator[RefusedFinding]:
    """Stream the rows of `rejects.csv`; a missing file has none.

    Args:
        rejects: path of the file.
    """
    for row in stream_refused_rows(rejects, _REFUSED_COLUMNS):
        reason, file, line, column, raw = (cell or "" for cell in row.cells)
        place = f"{file}:{line}" + (f", {column}" if column else "")
        yield RefusedFinding(row.row, reason, f"{place}: {raw[:100]}")


def _count_lines(path: Path) -> int:
    """Count the lines of a ledger; lines added later have higher numbers."""
    return sum(block.count(b"\n") for block in line_blocks(path))


def results_relation(database: Database, path: Path, columns: dict[str, str], lines: int) -> str:
    """Select the results among the first lines of a ledger, with the number of each line.

    Args:
        database: database to query with.
        path: path of the ledger.
        columns: types of the fields to read, by name; `event` is among them.
        lines: number of lines, which are known to be whole; 0 for an empty relation.
    """
    if not lines:
        null_columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
        return f"(SELECT NULL::BIGINT AS line, {null_columns} WHERE false)"
    ledger_lines = database.files.read_json(path, columns, skip_errors=True)
    return (
        f"(SELECT * FROM (SELECT row_number() OVER () AS line, * FROM {ledger_lines}) "
        f"WHERE event = 'result' AND line <= {lines})"
    )


_CREATE_RESULTS = """
CREATE TABLE results AS SELECT "row", max(line) AS line, arg_max(op, line) AS op,
    arg_max(status, line) AS status, arg_max(ts, line) AS ts
FROM {lines} GROUP BY "row"
"""
_FINDING_LINES = "SELECT line FROM results WHERE status IN ('failed', 'in_doubt', 'rejected')"
_NO_LINES = "SELECT NULL::BIGINT AS line WHERE false"
_CREATE_FINDINGS = f"""
CREATE TABLE findings AS SELECT "row", op, contact_id, owner_id, message_id,
    coalesce(deal_id, previous_deal_id) AS deal_id, status, {CODE} AS code,
    nullif(code, '') IS NOT NULL AS coded, coalesce(message, '') AS message, ts
FROM {{lines}} SEMI JOIN ({{finding_lines}}) USING (line)
"""
_CREATE_BATCH = "CREATE OR REPLACE TABLE batch (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT)"
_INSERT_BATCH = """
INSERT INTO findings SELECT a::BIGINT, NULL, NULL, NULL, NULL, NULL, b, c, true, d, e FROM batch
"""
_SELECT_SETTLED = """
SELECT floor(epoch(TRY_CAST(ts AS TIMESTAMPTZ)))::BIGINT AS second, status, count(*) FROM results
WHERE status NOT IN ('rejected', 'duplicate') AND second BETWEEN 0 AND 32503680000
GROUP BY second, status ORDER BY second
"""
