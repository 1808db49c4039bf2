"""The user's own rows as they stood in the mapping, from what a run keeps of them."""
# ruff: noqa: S608

from __future__ import annotations

import csv
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from bulklink.duckdb_sql import identifier
from bulklink.errors import RunDirError
from bulklink.mapping.database import Database
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import load_layout, plan_relation
from bulklink.mapping.plan_writer import unique_column_names
from bulklink.mapping.schema import GUARD, ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_MEMORY = "256MB"
_ROW = "bulklink_row"
#: `bulklink_raw` has a whole record, each byte of it written with four characters at most.
_LONGEST_CELL = 4 * MAX_RECORD_BYTES

Cells: TypeAlias = "tuple[str | None, ...]"


class UserColumn(msgspec.Struct, frozen=True):
    """A column of the user's: its header, its name in the plan, what bulklink knows it as."""

    header: str
    name: str
    known: str | None


class MappingRow(NamedTuple):
    """A row of the mapping, by its number."""

    row: int
    cells: Cells


#: What is left of a mapping whose columns were dropped, under the names that make it one again.
FALLBACK_COLUMNS = tuple(
    UserColumn(name, f"bulklink_{name}", name) for name in ("op", *ID_COLUMNS, GUARD)
)


def load_user_columns(plan: Path) -> tuple[UserColumn, ...]:
    """Return the user's columns that a sealed plan holds, in the order of the mapping.

    Raises:
        RunDirError: if there is no plan, or it says nothing of its columns.
    """
    if not plan.is_file():
        raise RunDirError(
            "There is no sealed plan.", where=str(plan), advice="Make the plan again."
        )
    with closing(
        Database(plan.with_name(plan.name + ".spill"), PlanningStop(), threads=1)
    ) as database:
        layout = load_layout(database, plan)
    names = unique_column_names(layout.headers)
    return tuple(map(UserColumn, layout.headers, names, layout.known))


def stream_mapping_rows(
    plan: Path,
    rejects: Path,
    columns: Sequence[UserColumn],
    spill: Path,
    is_refused: Callable[[int], bool],
) -> Iterator[MappingRow]:
    """Stream the rows of a run in the order of the mapping, refused ones too.

    Args:
        plan: the sealed plan; a missing one has no rows.
        rejects: the refused rows; a missing file has none.
        columns: which of the columns of `load_user_columns`, or `FALLBACK_COLUMNS`.
        spill: where data goes that does not fit into memory; removed again.
        is_refused: tells of a row that the plan does not have whether it is of this run; a person
            may have written others into `rejects`.
    """
    refused_iterator = (
        mapping_row
        for mapping_row in stream_refused_rows(rejects, columns)
        if is_refused(mapping_row.row)
    )
    next_refused = next(refused_iterator, None)
    for mapping_row in _stream_planned_rows(plan, columns, spill):
        while next_refused is not None and next_refused.row < mapping_row.row:
            yield next_refused
            next_refused = next(refused_iterator, None)
        if next_refused is not None and next_refused.row == mapping_row.row:
            next_refused = next(refused_iterator, None)
        yield mapping_row
    if next_refused is not None:
        yield next_refused
        yield from refused_iterator


def _stream_planned_rows(
    plan: Path, columns: Sequence[UserColumn], spill: Path
) -> Iterator[MappingRow]:
    if not plan.is_file():
        return
    selected = ", ".join([_ROW, *(identifier(column.name) for column in columns)])
    with closing(Database(spill, PlanningStop(), threads=1, memory=_MEMORY)) as database:
        query = f"SELECT {selected} FROM {plan_relation(database, plan)} ORDER BY {_ROW}"
        last = 0
        for row, *cells in database.rows(query):
            if row <= last:
                raise RuntimeError(f"row {row} came behind row {last}")
            last = row
            yield MappingRow(row, tuple(cells))


def stream_refused_rows(rejects: Path, columns: Sequence[UserColumn]) -> Iterator[MappingRow]:
    """Stream the rows that were refused before the plan was sealed, which are in order.

    Those that were refused after the look-ups stand behind them, and in the plan.

    Args:
        rejects: the refused rows; a missing file has none.
        columns: which of its columns.
    """
    if not rejects.is_file():
        return
    csv.field_size_limit(_LONGEST_CELL)
    with rejects.open(encoding="utf-8", errors="replace", newline="") as file:
        records = csv.reader(file)
        header = next(records, [])
        if _ROW not in header:
            return
        number, places = header.index(_ROW), _column_indexes(header, [c.header for c in columns])
        last = 0
        for cells in records:
            if len(cells) != len(header) or not cells[number].isdecimal():
                continue  # a person has changed it
            row = int(cells[number])
            if row > last:
                last = row
                yield MappingRow(row, tuple(None if p is None else cells[p] for p in places))


def _column_indexes(header: list[str], names: list[str]) -> list[int | None]:
    """Say where the columns stand: headers may repeat, and a person may have moved them."""
    used: set[int] = set()
    places: list[int | None] = []
    for name in names:
        free = (p for p, cell in enumerate(header) if cell == name and p not in used)
        place = next(free, None)
        if place is not None:
            used.add(place)
        places.append(place)
    return places


class PlannedIds(NamedTuple):
    """What a ledger must say of a planned row, if it says anything."""

    row: int
    contact_id: str
    message_id: str
    duplicate_of: int | None


def stream_planned_ids(plan: Path, spill: Path) -> Iterator[PlannedIds]:
    """Stream the ids of all rows of a sealed plan, duplicates too, in its order.

    Args:
        plan: the sealed plan.
        spill: where data goes that does not fit into memory; removed again.
    """
    columns = ", ".join(f"bulklink_{name}" for name in PlannedIds._fields)
    with closing(Database(spill, PlanningStop(), threads=1, memory=_MEMORY)) as database:
        query = f"SELECT {columns} FROM {plan_relation(database, plan)}"
        yield from (PlannedIds(*row) for row in database.rows(query))
