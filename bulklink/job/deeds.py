"""What a run did with each of its emails: its ledger joined to its plan."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from bulklink.job.inverse import Done
from bulklink.ledger.replay import OpenRow, replay
from bulklink.mapping.database import Database, literal
from bulklink.mapping.layout import relation
from bulklink.mapping.stop import Stop
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder

_MEMORY = "256MB"
_PAIRS = 2048
_ROW_COLUMNS = ("op", "contact_id", "owner_id", "message_id", "deal_id")

#: A fresh table that is filled in insertion order: `rowid` is the order of the lines.
_FACTS = """
CREATE TABLE facts AS SELECT event = 'snapshot' AS seen, "row", status, code, attempts,
    previous_deal_id AS deal, previous_deal_name AS name, current_deal_id AS current
FROM read_json({ledger}, format = 'newline_delimited', ignore_errors = true, columns = {{
    event: 'VARCHAR', "row": 'BIGINT', status: 'VARCHAR', code: 'VARCHAR', attempts: 'BIGINT',
    previous_deal_id: 'VARCHAR', previous_deal_name: 'VARCHAR', current_deal_id: 'VARCHAR'
}})
WHERE event = 'snapshot' OR event = 'result' AND status NOT IN ('rejected', 'duplicate')
"""
#: Aggregates of numbers alone: those of texts cannot leave the memory.
_LINES = """
CREATE TABLE lines AS SELECT "row", min(rowid) FILTER (seen) AS first_seen,
    max(rowid) FILTER (seen) AS last_seen, max(rowid) FILTER (NOT seen) AS told
FROM facts GROUP BY "row"
"""
_DEEDS = """
SELECT plan.bulklink_row, {columns}, {owner_name}, first_seen IS NOT NULL,
    first.deal, first.name, later.deal, told.status, told.code, told.current,
    coalesce(told.attempts, 0) > 0, flying.id IS NOT NULL, coalesce(flying.name = 'sent', false)
FROM {plan} AS plan {names}
LEFT JOIN lines ON lines."row" = plan.bulklink_row
LEFT JOIN facts AS first ON first.rowid = first_seen
LEFT JOIN facts AS later ON later.rowid = last_seen
LEFT JOIN facts AS told ON told.rowid = lines.told
LEFT JOIN flying ON flying.id = plan.bulklink_row::VARCHAR
WHERE plan.bulklink_duplicate_of IS NULL AND (lines."row" IS NOT NULL OR flying.id IS NOT NULL)
ORDER BY plan.bulklink_row
"""


def deeds(folder: RunFolder, spill: Path, stop: Stop) -> Iterator[Done]:
    """Stream what a run did with each email that it came to, in the order of its mapping.

    A torn last line, of a run that was killed, does not count.

    Args:
        folder: of the run.
        spill: where data goes that does not fit into memory; removed again.
        stop: ends the work from another thread.

    Raises:
        LedgerError: if a line of the ledger is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """
    flying = replay(folder.ledger).open
    with closing(Database(spill, stop, threads=1, memory=_MEMORY)) as database:
        database.run(_FACTS.format(ledger=literal(str(folder.ledger))))
        database.run(_LINES)
        database.run("CREATE TABLE flying (id VARCHAR, name VARCHAR)")
        pairs = ((str(row), _sent(left)) for row, left in flying.items())
        while batch := list(islice(pairs, _PAIRS)):
            database.insert("flying", batch)
        for *known, status, code, current, written, flies, sent in database.rows(
            _query(database, folder)
        ):
            ended = (None, None, None) if flies or status is None else (status, code, current)
            yield _done(*known, *ended, written or sent)


def _done(row: int, op: str, *rest: Any) -> Done:
    *known, status, code, current, written = rest
    values = (row, Op(op), *known, status and Status(status), code, current, written)
    return Done(*values)


def _sent(left: OpenRow) -> str:
    return "sent" if left.asked is not None or left.unlinked or left.doubt else "not sent"


def _query(database: Database, folder: RunFolder) -> str:
    owner_name, names = "plan.bulklink_owner_name", ""
    if folder.names.is_file():
        owner_name = "coalesce(plan.bulklink_owner_name, names.owner_name)"
        path = literal(str(folder.names))
        names = f"LEFT JOIN read_parquet({path}) AS names USING (bulklink_row)"
    return _DEEDS.format(
        columns=", ".join(f"plan.bulklink_{column}" for column in _ROW_COLUMNS),
        owner_name=owner_name,
        plan=relation(database, folder.plan),
        names=names,
    )
