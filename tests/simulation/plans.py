"""Sealed plans of simulations, which share one database and are each read only once.

Opening a database for each plan and each command would take ten times as long as a simulated run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from pathlib import Path

from bulklink.duckdb_sql import literal
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import (
    OWN_COLUMNS,
    SAME_ROW,
    PlanLayout,
    VirtualColumn,
    write_parquet,
)
from bulklink.mapping.plan_reader import SealedPlan, UnknownRow
from bulklink.mapping.schema import OWN_PREFIX
from bulklink.models import Message
from tests.guard import inline

_VIRTUAL_COLUMNS = {
    "file": VirtualColumn(value="mapping.csv"),
    "line": VirtualColumn(rows_before=1),
    "origin_row": SAME_ROW,
}
_NUMBERS = ("row", "group", "duplicate_of")
_MAX_CACHED_PLANS = 256


class SimulatedPlan(SealedPlan):
    """A sealed plan in the shared database that caches its content.

    With looked-up names, it is read like any other plan.
    """

    _chunks: tuple[list[Message], ...] | None = None
    _owners: tuple[str, ...] | None = None
    _deal_count: int | None = None

    def chunks(self, names: Path | None = None, rows: str | None = None) -> Iterator[list[Message]]:
        if names is not None:
            yield from SealedPlan(self.path).chunks(names, rows)
            return
        if self._chunks is None:
            self._chunks = tuple(super().chunks())
        for chunk in self._chunks:
            yield [m for m in chunk if rows is None or rows[min(m.row, len(rows) - 1)] == "1"]

    def owners_without_name(self) -> Iterator[str]:
        if self._owners is None:
            self._owners = tuple(super().owners_without_name())
        return iter(self._owners)

    def count_deals_without_name(self) -> int:
        if self._deal_count is None:
            self._deal_count = super().count_deals_without_name()
        return self._deal_count

    def write_names(
        self, deals: Iterable[tuple[str, str]], owners: Iterable[tuple[str, str]], path: Path
    ) -> int:
        return SealedPlan(self.path).write_names(deals, owners, path)

    def unknown_rows(self, names: Path) -> Iterator[UnknownRow]:
        return SealedPlan(self.path).unknown_rows(names)

    def _open(self, memory: str = "") -> AbstractContextManager[Database]:
        return nullcontext(_database())


def seal_plan(messages: Sequence[Message], *, in_order: bool = True) -> SimulatedPlan:
    """Return the sealed plan of messages, cached for the same messages.

    Args:
        messages: the messages, in any order.
        in_order: whether the rows are in the order of sending; if not, the plan cannot be read to
            the end.
    """
    return inline(_seal)(tuple(messages), in_order=in_order)


@lru_cache(_MAX_CACHED_PLANS)
def _seal(messages: tuple[Message, ...], *, in_order: bool) -> SimulatedPlan:
    groups: dict[tuple[str, str], int] = {}
    rows = []
    for message in sorted(messages, key=lambda m: (m.contact_id, m.owner_id, m.row)):
        group = groups.setdefault((message.contact_id, message.owner_id), len(groups) + 1)
        fields = {"group": group, "duplicate_of": None}
        values = [fields.get(name, getattr(message, name, None)) for name in _STORED_COLUMNS]
        rows.append(f"({', '.join(map(_value_sql, values))})")
    if not in_order:
        rows.reverse()
    path = Path(_folder().name) / f"{_seal.cache_info().misses}.parquet"
    rows_sql = ", ".join(rows or [f"({', '.join('NULL' for _ in _STORED_COLUMNS)})"])
    source = f"(VALUES {rows_sql}) AS rows ({_COLUMNS}) WHERE row IS NOT NULL"
    layout = PlanLayout((), (), _VIRTUAL_COLUMNS)
    write_parquet(_database(), f"SELECT {_SELECTED} FROM {source}", path, layout.metadata_option())
    return SimulatedPlan(path)


_STORED_COLUMNS = [name for name in OWN_COLUMNS if name not in _VIRTUAL_COLUMNS]
_COLUMNS = ", ".join(f'"{name}"' for name in _STORED_COLUMNS)
_SELECTED = ", ".join(
    f'"{name}"::{"BIGINT" if name in _NUMBERS else "VARCHAR"} AS {OWN_PREFIX}{name}'
    for name in _STORED_COLUMNS
)


def _value_sql(value: object) -> str:
    return "NULL" if value is None else literal(str(value))


@cache
def _database() -> Database:
    return Database(Path(_folder().name) / "spill", PlanningStop(), threads=1, memory="256MB")


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir=memory_folder(), prefix="simulated-plans-")


def memory_folder() -> str | None:
    """Return a folder in memory, since simulations need no disk; None if there is none."""
    shared = "/dev/shm"
    return shared if os.access(shared, os.W_OK) else None
