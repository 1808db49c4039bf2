"""Checks of a sealed shard against the job that it belongs to."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.counts import count_of
from bulklink.mapping.database import open_database, spill_folder
from bulklink.mapping.plan_layout import plan_relation
from bulklink.mapping.schema import ORIGIN_ROW, OWN_PREFIX
from bulklink.mapping.sharding import shard_of

if TYPE_CHECKING:
    from pathlib import Path

_MEMORY = "256MB"
_MAX_SHOWN = 3


def misplaced_contacts(plan: Path, number: int, shards: int) -> int:
    """Count the contacts of a sealed shard whose hash names another shard.

    Args:
        plan: the sealed plan.
        number: number of the shard, from 1.
        shards: number of shards.
    """
    with open_database(spill_folder(plan), memory=_MEMORY) as database:
        relation = plan_relation(database, plan)
        contacts = database.rows(f"SELECT DISTINCT bulklink_contact_id FROM {relation}")
        return sum(shard_of(contact_id, shards) != number for (contact_id,) in contacts)


class OriginRows:
    """Rows of the whole mapping that are in a plan, a bit each.

    Args:
        last_row: the highest row of the mapping.
    """

    def __init__(self, last_row: int) -> None:
        self._last_row = last_row
        self._present = bytearray(last_row // 8 + 1)

    def add(self, plan: Path) -> list[str]:
        """Add the rows of a sealed shard.

        Returns:
            What is wrong with them, one sentence each.
        """
        repeated, beyond = _Rows(), _Rows()
        present, last_row = self._present, self._last_row
        with open_database(spill_folder(plan), memory=_MEMORY) as database:
            relation = plan_relation(database, plan)
            query = f"SELECT {OWN_PREFIX}{ORIGIN_ROW} FROM {relation}"
            for (rows,) in database.columns(query):
                for row in rows:
                    if row > last_row:
                        beyond.add(row)
                        continue
                    place, bit = row >> 3, 1 << (row & 7)
                    if present[place] & bit:
                        repeated.add(row)
                    present[place] |= bit
        return [
            *repeated.described("is also in another shard", "are also in other shards"),
            *beyond.described("is not of this mapping", "are not of this mapping"),
        ]


class _Rows:
    """Number of some rows, and the first of them."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[int] = []

    def add(self, row: int) -> None:
        self._count += 1
        if self._count <= _MAX_SHOWN:
            self._first.append(row)

    def described(self, singular: str, plural: str) -> list[str]:
        if not self._count:
            return []
        rows = count_of(self._count, f"row {singular}", f"rows {plural}")
        return [f"{rows}: {', '.join(map(str, self._first))}."]
