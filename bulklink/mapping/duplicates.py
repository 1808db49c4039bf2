"""Rows that name the same message: which contradict each other, which only repeat.

The relations, above those of `checking`:

- `twins`: the rows that name the same message as another row, each with the first of them, which
  is left out if they only repeat it;
- `conflicts`: the rows that contradict others, each with those it meets, in order;
- `good`: the rows that are not refused; `repeated` if they say what an earlier one says.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.mapping import faults
from bulklink.mapping.schema import GUARD

if TYPE_CHECKING:
    from collections.abc import Sequence


def duplicate_tables_sql(group_key_columns: Sequence[str]) -> list[str]:
    """Build the statements that find conflicts and duplicates.

    Few messages stand twice, so a hash of each finds them first: it needs eight bytes a row.

    Args:
        group_key_columns: what tells contact and owner of a row apart.
    """
    key = f"{', '.join(group_key_columns)}, message_id"
    alike = " AND ".join(
        f"meetings.{part} IS NOT DISTINCT FROM near.{part}"
        for part in (*group_key_columns, "message_id")
    )
    return [
        f"CREATE TABLE suspects AS SELECT key FROM (SELECT hash({key}) AS key FROM run "
        "WHERE reason IS NULL) GROUP BY key HAVING count(*) > 1",
        # A hash stands for the deals: an aggregate of long texts cannot leave the memory.
        f"CREATE TABLE near AS SELECT row, op, {key}, "
        f"hash(deal_id_number, deal_id_text, {GUARD}) AS deal FROM run WHERE reason IS NULL "
        f"AND hash({key}) IN (SELECT key FROM suspects)",
        f"CREATE TABLE meetings AS SELECT {key}, min(row) AS first, min(op) <> max(op) OR "
        "min(deal) <> max(deal) AS conflict "
        f"FROM near GROUP BY {key} HAVING count(*) > 1",
        f"CREATE TABLE twins AS SELECT row, first, conflict FROM near JOIN meetings ON {alike} "
        "WHERE conflict OR row <> first",
        "CREATE TABLE clashes AS SELECT first, any_value(rows) AS rows, "
        f"list(row ORDER BY row) FILTER (place <= {faults.MAX_NAMED_ROWS + 1}) AS named FROM ("
        "SELECT row, first, count(*) OVER (PARTITION BY first) AS rows, "
        "row_number() OVER (PARTITION BY first ORDER BY row) AS place "
        "FROM twins WHERE conflict) GROUP BY first",
        # In the order of the rows, so that those of some rows are found without a look at the rest.
        "CREATE TABLE conflicts AS SELECT row, named, rows FROM clashes JOIN "
        "(SELECT row, first FROM twins WHERE conflict) USING (first) ORDER BY row",
        "DROP TABLE clashes",
        "DROP TABLE suspects",
        "DROP TABLE near",
        "DROP TABLE meetings",
        "CREATE VIEW good AS SELECT run.*, twins.first, twins.first IS NOT NULL "
        "AS repeated FROM run LEFT JOIN twins ON twins.row = run.row "
        "WHERE reason IS NULL AND NOT coalesce(conflict, false)",
    ]


def duplicate_counts_sql() -> str:
    """Count the rows that contradict others and those that only repeat one."""
    return "SELECT count(*) FILTER (conflict), count(*) FILTER (NOT conflict) FROM twins"
