"""SQL for duplicate and conflicting rows.

Relations, built on those of `validate`:

- `duplicates`: rows that name the same message as another row, each with the first of them; the
  first row itself is included only if they conflict;
- `conflicts`: conflicting rows, each with the rows it conflicts with, in order; these are numbered
  over the whole mapping, also in a shard;
- `good`: rows that are not refused; `repeated` if they repeat an earlier row.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.mapping import faults
from bulklink.mapping.schema import GUARD, ORIGIN_ROW

if TYPE_CHECKING:
    from collections.abc import Sequence


GOOD_ROWS_VIEW = (
    "CREATE VIEW good AS SELECT checked_rows.*, duplicates.first, duplicates.first IS NOT NULL "
    "AS repeated FROM checked_rows LEFT JOIN duplicates ON duplicates.row = checked_rows.row "
    "WHERE reason IS NULL AND NOT coalesce(conflict, false)"
)
"""Creates `good` of the checked rows and their duplicates."""


def duplicate_tables_sql(group_key_columns: Sequence[str]) -> list[str]:
    """Build the statements that find conflicts and duplicates.

    Few messages occur twice, so a hash of each finds candidates first, in eight bytes per row.

    Args:
        group_key_columns: columns that identify contact and owner of a row.
    """
    key = f"{', '.join(group_key_columns)}, message_id"
    same_key = " AND ".join(
        f"repeated_messages.{part} IS NOT DISTINCT FROM candidates.{part}"
        for part in (*group_key_columns, "message_id")
    )
    return [
        f"CREATE TABLE repeated_hashes AS SELECT key FROM (SELECT hash({key}) AS key "
        "FROM checked_rows WHERE reason IS NULL) GROUP BY key HAVING count(*) > 1",
        # A hash stands for the deals: DuckDB cannot spill an aggregate of long texts.
        f"CREATE TABLE candidates AS SELECT row, {ORIGIN_ROW}, op, {key}, "
        f"hash(deal_id_number, deal_id_text, {GUARD}) AS deal FROM checked_rows "
        f"WHERE reason IS NULL AND hash({key}) IN (SELECT key FROM repeated_hashes)",
        f"CREATE TABLE repeated_messages AS SELECT {key}, min(row) AS first, min(op) <> max(op) OR "
        "min(deal) <> max(deal) AS conflict "
        f"FROM candidates GROUP BY {key} HAVING count(*) > 1",
        f"CREATE TABLE duplicates AS SELECT row, {ORIGIN_ROW}, first, conflict FROM candidates "
        f"JOIN repeated_messages ON {same_key} WHERE conflict OR row <> first",
        "CREATE TABLE conflict_groups AS SELECT first, any_value(rows) AS rows, "
        f"list({ORIGIN_ROW} ORDER BY row) FILTER (place <= {faults.MAX_NAMED_ROWS + 1}) AS named "
        f"FROM (SELECT row, {ORIGIN_ROW}, first, count(*) OVER (PARTITION BY first) AS rows, "
        "row_number() OVER (PARTITION BY first ORDER BY row) AS place "
        "FROM duplicates WHERE conflict) GROUP BY first",
        # Sorted by row, so that a range of rows is read without the rest.
        f"CREATE TABLE conflicts AS SELECT row, {ORIGIN_ROW}, named, rows FROM conflict_groups "
        f"JOIN (SELECT row, {ORIGIN_ROW}, first FROM duplicates WHERE conflict) USING (first) "
        "ORDER BY row",
        "DROP TABLE conflict_groups",
        "DROP TABLE repeated_hashes",
        "DROP TABLE candidates",
        "DROP TABLE repeated_messages",
        GOOD_ROWS_VIEW,
    ]


def duplicate_counts_sql() -> str:
    """Build the query that counts conflicting rows and duplicates."""
    return "SELECT count(*) FILTER (conflict), count(*) FILTER (NOT conflict) FROM duplicates"
