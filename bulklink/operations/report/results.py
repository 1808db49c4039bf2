"""The last result of each row of a ledger, as tables of a database."""
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bulklink.mapping.database import Database, literal
from bulklink.mapping.original_rows import OwnColumn, refused_rows
from bulklink.models import Op, Status

_BLOCK = 1 << 20
_ROWS_AT_ONCE = 2048
_HEAD = {"event": "VARCHAR", "ts": "VARCHAR", "row": "BIGINT", "op": "VARCHAR", "status": "VARCHAR"}
_ALL = _HEAD | {
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
    OwnColumn(f"bulklink_{name}", f"bulklink_{name}", None)
    for name in ("reason", "file", "line", "column", "raw")
)


class Results:
    """The last results of a ledger as it is now, and of those that are no success all.

    The table `results` has row, op, status and ts of each row; `findings` has those that failed,
    are in doubt or were refused. There a code that is missing is told as the summary tells it
    (`coded` is false then), and the deal of an unlink is the one that it was on. A torn last line,
    of a run that was killed, does not count.

    Args:
        database: to make the tables in.
        ledger: the ledger, whose lines are known to be whole; a missing one is empty.
    """

    def __init__(self, database: Database, ledger: Path) -> None:
        self._database = database
        lines = _whole_lines(ledger)
        database.run(_RESULTS.format(lines=_lines(ledger, _HEAD, lines)))
        found = "SELECT line FROM results WHERE status IN ('failed', 'in_doubt', 'rejected')"
        if not database.one(f"SELECT count(*) FROM ({found})")[0]:
            lines = 0
        database.run(_FINDINGS.format(lines=_lines(ledger, _ALL, lines), found=found))

    def rows(self) -> dict[tuple[Op | None, Status], int]:
        """Return the rows of each op and status."""
        found = self._database.rows("SELECT op, status, count(*) FROM results GROUP BY ALL")
        return {(Op(op) if op else None, Status(status)): count for op, status, count in found}

    def refuse(self, rejects: Path, ts: str) -> None:
        """Add the rows of `rejects.csv`, where a run came to no ledger that has them."""
        waiting: list[tuple[str | None, ...]] = []
        for refused in refused_rows(rejects, _REFUSED_COLUMNS):
            reason, file, line, column, raw = (cell or "" for cell in refused.cells)
            text = f"{file}:{line}" + (f", {column}" if column else "") + f": {raw[:100]}"
            waiting.append((str(refused.row), Status.REJECTED, reason, text, ts))
            if len(waiting) == _ROWS_AT_ONCE:
                self._insert(waiting)
        self._insert(waiting)

    def _insert(self, waiting: list[tuple[str | None, ...]]) -> None:
        if waiting:
            self._database.run(_TABLE)
            self._database.insert("waiting", waiting)
            self._database.run(_WAITING)
            waiting.clear()

    def settled(self) -> Iterator[tuple[Any, ...]]:
        """Stream how many rows of each status were settled by calls, second by second."""
        return self._database.rows(_SETTLED)


def _whole_lines(path: Path) -> int:
    """Count the lines of a ledger; what is added later has higher numbers."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    except FileNotFoundError:
        return 0


def _lines(path: Path, columns: dict[str, str], lines: int) -> str:
    """Select the results among the first lines of a ledger, with the number of each line."""
    if not lines:
        nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
        return f"(SELECT NULL::BIGINT AS line, {nothing} WHERE false)"
    struct = ", ".join(f"\"{name}\": '{kind}'" for name, kind in columns.items())
    return (
        "(SELECT * FROM (SELECT row_number() OVER () AS line, * FROM read_json("
        f"{literal(str(path))}, format = 'newline_delimited', ignore_errors = true, "
        f"columns = {{{struct}}})) WHERE event = 'result' AND line <= {lines})"
    )


_RESULTS = """
CREATE TABLE results AS SELECT "row", max(line) AS line, arg_max(op, line) AS op,
    arg_max(status, line) AS status, arg_max(ts, line) AS ts
FROM {lines} GROUP BY "row"
"""
_FINDINGS = """
CREATE TABLE findings AS SELECT "row", op, contact_id, owner_id, message_id,
    coalesce(deal_id, previous_deal_id) AS deal_id, status,
    coalesce(nullif(code, ''), 'HTTP ' || nullif(http_status, 0), 'no code') AS code,
    nullif(code, '') IS NOT NULL AS coded, coalesce(message, '') AS message, ts
FROM {lines} SEMI JOIN ({found}) USING (line)
"""
_TABLE = "CREATE OR REPLACE TABLE waiting (a TEXT, b TEXT, c TEXT, d TEXT, e TEXT)"
_WAITING = """
INSERT INTO findings SELECT a::BIGINT, NULL, NULL, NULL, NULL, NULL, b, c, true, d, e FROM waiting
"""
_SETTLED = """
SELECT floor(epoch(ts::TIMESTAMPTZ))::BIGINT AS second, status, count(*) FROM results
WHERE status NOT IN ('rejected', 'duplicate') GROUP BY second, status ORDER BY second
"""
