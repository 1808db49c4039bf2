"""The user's own rows as they stood in the mapping, from what a run keeps of them."""
# ruff: noqa: S608

from __future__ import annotations

import csv
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from bulklink.errors import RunDirError
from bulklink.mapping.database import Database, identifier
from bulklink.mapping.input.scan import RECORD_BYTES
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import layout_of, relation
from bulklink.mapping.plan_writer import unique_names
from bulklink.mapping.schema import GUARD, ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_MEMORY = "256MB"
_ROW = "bulklink_row"
#: `bulklink_raw` has a whole record, each byte of it written with four characters at most.
_LONGEST_CELL = 4 * RECORD_BYTES

Cells: TypeAlias = "tuple[str | None, ...]"


class OwnColumn(msgspec.Struct, frozen=True):
    """A column of the user's: its header, its name in the plan, what bulklink knows it as."""

    header: str
    name: str
    known: str | None


class OwnRow(NamedTuple):
    """A row of the mapping, by its number."""

    row: int
    cells: Cells


#: What is left of a mapping whose columns were dropped, under the names that make it one again.
IDS = tuple(OwnColumn(name, f"bulklink_{name}", name) for name in ("op", *ID_COLUMNS, GUARD))


def own_columns(plan: Path) -> tuple[OwnColumn, ...]:
    """Return the user's columns that a sealed plan holds, in the order of the mapping.

    Raises:
        RunDirError: if there is no plan, or it says nothing of its columns.
    """
    if not plan.is_file():
        raise RunDirError(
            "There is no sealed plan.", where=str(plan), advice="Make the plan again."
        )
    with closing(Database(plan.with_name(plan.name + ".spill"), Stop(), threads=1)) as database:
        layout = layout_of(database, plan)
    names = unique_names(layout.headers)
    return tuple(map(OwnColumn, layout.headers, names, layout.known))


def own_rows(
    plan: Path,
    rejects: Path,
    columns: Sequence[OwnColumn],
    spill: Path,
    is_refused: Callable[[int], bool],
) -> Iterator[OwnRow]:
    """Stream the rows of a run in the order of the mapping, refused ones too.

    Args:
        plan: the sealed plan; a missing one has no rows.
        rejects: the refused rows; a missing file has none.
        columns: which of the columns of `own_columns`, or `IDS`.
        spill: where data goes that does not fit into memory; removed again.
        is_refused: tells of a row that the plan does not have whether it is of this run; a person
            may have written others into `rejects`.
    """
    refused = (own for own in refused_rows(rejects, columns) if is_refused(own.row))
    waiting = next(refused, None)
    for own in _planned(plan, columns, spill):
        while waiting is not None and waiting.row < own.row:
            yield waiting
            waiting = next(refused, None)
        if waiting is not None and waiting.row == own.row:
            waiting = next(refused, None)
        yield own
    if waiting is not None:
        yield waiting
        yield from refused


def _planned(plan: Path, columns: Sequence[OwnColumn], spill: Path) -> Iterator[OwnRow]:
    if not plan.is_file():
        return
    selected = ", ".join([_ROW, *(identifier(column.name) for column in columns)])
    with closing(Database(spill, Stop(), threads=1, memory=_MEMORY)) as database:
        query = f"SELECT {selected} FROM {relation(database, plan)} ORDER BY {_ROW}"
        last = 0
        for row, *cells in database.rows(query):
            if row <= last:
                raise RuntimeError(f"row {row} came behind row {last}")
            last = row
            yield OwnRow(row, tuple(cells))


def refused_rows(rejects: Path, columns: Sequence[OwnColumn]) -> Iterator[OwnRow]:
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
        number, places = header.index(_ROW), _places(header, [c.header for c in columns])
        last = 0
        for cells in records:
            if len(cells) != len(header) or not cells[number].isdecimal():
                continue  # a person has changed it
            row = int(cells[number])
            if row > last:
                last = row
                yield OwnRow(row, tuple(None if p is None else cells[p] for p in places))


def _places(header: list[str], wanted: list[str]) -> list[int | None]:
    """Say where the columns stand: headers may repeat, and a person may have moved them."""
    taken: set[int] = set()
    places: list[int | None] = []
    for name in wanted:
        free = (p for p, found in enumerate(header) if found == name and p not in taken)
        place = next(free, None)
        if place is not None:
            taken.add(place)
        places.append(place)
    return places


class PlannedIds(NamedTuple):
    """What a ledger must say of a planned row, if it says anything."""

    row: int
    contact_id: str
    message_id: str
    duplicate_of: int | None


def planned_ids(plan: Path, spill: Path) -> Iterator[PlannedIds]:
    """Stream the ids of all rows of a sealed plan, duplicates too, in its order.

    Args:
        plan: the sealed plan.
        spill: where data goes that does not fit into memory; removed again.
    """
    columns = ", ".join(f"bulklink_{name}" for name in PlannedIds._fields)
    with closing(Database(spill, Stop(), threads=1, memory=_MEMORY)) as database:
        query = f"SELECT {columns} FROM {relation(database, plan)}"
        yield from (PlannedIds(*found) for found in database.rows(query))
