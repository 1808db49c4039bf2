"""The user's original rows, read from the plan and rejects.csv."""
# ruff: noqa: S608

from __future__ import annotations

import csv
from io import BufferedReader, TextIOWrapper
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from bulklink.duckdb_sql import identifier
from bulklink.errors import RunDirError
from bulklink.folder_files import check_folder_file, open_to_read
from bulklink.mapping.database import open_database, spill_folder
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.plan_layout import load_layout, plan_relation
from bulklink.mapping.plan_writer import unique_column_names
from bulklink.mapping.rejects import REJECT_ORIGIN
from bulklink.mapping.schema import GUARD, ID_COLUMNS, ORIGIN_ROW, OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import TextIO

_MEMORY = "256MB"
_ROW = "bulklink_row"
_IS_IN_ORDER = f"""
SELECT count(*) = 0 FROM (
    SELECT {_ROW} <= lag({_ROW}) OVER () AS is_out_of_order FROM {{relation}}
) WHERE is_out_of_order
"""
#: `bulklink_raw` holds a whole record, with at most four characters for each byte.
_MAX_CELL_CHARS = 4 * MAX_RECORD_BYTES
_MAX_LINE_CHARS = 2 * _MAX_CELL_CHARS
_MAX_ROW_DIGITS = 18

Cells: TypeAlias = "tuple[str | None, ...]"


class UserColumn(msgspec.Struct, frozen=True):
    """One of the user's columns.

    Args:
        header: its header.
        name: its name in the plan.
        known: bulklink's name for it; None if it is the user's own.
    """

    header: str
    name: str
    known: str | None


class MappingRow(msgspec.Struct, frozen=True, gc=False):
    """A row of the mapping.

    Args:
        row: row number, from 1; in a shard, that within the shard.
        cells: its cells; None for a missing one.
        origin_row: row number over the whole mapping; None if it is unknown.
    """

    row: int
    cells: Cells
    origin_row: int | None


#: Columns of a redacted plan, with headers that make it a valid mapping.
FALLBACK_COLUMNS = tuple(
    UserColumn(name, f"bulklink_{name}", name) for name in ("op", *ID_COLUMNS, GUARD)
)


def load_user_columns(plan: Path) -> tuple[UserColumn, ...]:
    """Return the user's columns that a sealed plan holds, in the order of the mapping.

    Raises:
        RunDirError: if there is no plan, or it has no layout.
    """
    if not check_folder_file(plan):
        raise RunDirError(
            "There is no sealed plan.", where=str(plan), advice="Make the plan again."
        )
    with open_database(spill_folder(plan)) as database:
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
    """Stream the rows of a run in the order of the mapping, including refused ones.

    Args:
        plan: the sealed plan; a missing one has no rows.
        rejects: the refused rows; a missing file has none.
        columns: columns from `load_user_columns`, or `FALLBACK_COLUMNS`.
        spill: folder for data beyond the memory limit.
        is_refused: returns whether the run refused a row; the user may have added other rows
            to `rejects`.
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
    if not check_folder_file(plan):
        return
    user_columns = [identifier(column.name) for column in columns]
    selected = ", ".join([_ROW, OWN_PREFIX + ORIGIN_ROW, *user_columns])
    with open_database(spill, memory=_MEMORY) as database:
        relation = plan_relation(database, plan)
        # A sort takes memory for all rows; mappings are often grouped by contact themselves.
        (is_in_order,) = database.fetch_one(_IS_IN_ORDER.format(relation=relation))
        order = "" if is_in_order else f" ORDER BY {_ROW}"
        query = f"SELECT {selected} FROM {relation}{order}"
        last = 0
        for planned in database.rows(query):
            row = planned[0]
            if row <= last:
                raise RuntimeError(f"row {row} came after row {last}")
            last = row
            yield MappingRow(row, planned[2:], planned[1])


def stream_refused_rows(rejects: Path, columns: Sequence[UserColumn]) -> Iterator[MappingRow]:
    """Stream the rows that were refused before the plan was sealed, in row order.

    Rows that were refused after the look-ups come later in the file; they are in the plan.

    Args:
        rejects: the refused rows; a missing file has none.
        columns: the columns to read.
    """
    try:
        raw = open_to_read(rejects)
    except FileNotFoundError:
        return
    csv.field_size_limit(_MAX_CELL_CHARS)
    with TextIOWrapper(BufferedReader(raw), "utf-8", errors="replace", newline="") as file:
        records = _csv_records(file, rejects)
        header = next(records, [])
        if _ROW not in header:
            return
        number, places = header.index(_ROW), _column_indexes(header, [c.header for c in columns])
        origin = header.index(REJECT_ORIGIN) if REJECT_ORIGIN in header else number
        last = 0
        for cells in records:
            is_whole = len(cells) == len(header)
            row = _row_number(cells[number]) if is_whole else None
            if row is not None and row > last:  # else it was changed by the user
                last = row
                user_cells = tuple(None if p is None else cells[p] for p in places)
                yield MappingRow(row, user_cells, _row_number(cells[origin]))


def _row_number(cell: str) -> int | None:
    return int(cell) if cell.isdecimal() and len(cell) <= _MAX_ROW_DIGITS else None


def _csv_records(file: TextIO, path: Path) -> Iterator[list[str]]:
    records = csv.reader(_bounded_lines(file, path))
    while True:
        try:
            record = next(records, None)
        except csv.Error:
            raise _unreadable_rejects_error(f"{path}:{records.line_num}") from None
        if record is None:
            return
        yield record


def _bounded_lines(file: TextIO, path: Path) -> Iterator[str]:
    """Yield the lines of a CSV file, none longer than a record can be."""
    number = 0
    while line := file.readline(_MAX_LINE_CHARS + 1):
        number += 1
        if len(line) > _MAX_LINE_CHARS:
            raise _unreadable_rejects_error(f"{path}:{number}")
        yield line


def _unreadable_rejects_error(where: str) -> RunDirError:
    return RunDirError(
        "bulklink did not write this record: a quote is never closed, or the line is too long.",
        where=where,
        advice="Move the file away; the refused rows are then shown only by their ids.",
    )


def _column_indexes(header: list[str], names: list[str]) -> list[int | None]:
    """Return the index of each column: headers may repeat, and the user may have moved them."""
    used: set[int] = set()
    places: list[int | None] = []
    for name in names:
        free = (p for p, cell in enumerate(header) if cell == name and p not in used)
        place = next(free, None)
        if place is not None:
            used.add(place)
        places.append(place)
    return places


def load_origin_rows(plan: Path, rows: Iterable[int]) -> dict[int, int]:
    """Return the numbers over the whole mapping of some rows of a sealed plan; blocks.

    Args:
        plan: the sealed plan.
        rows: row numbers within the plan; those that are not in it are left out.
    """
    wanted = ", ".join(map(str, sorted(set(rows))))
    if not wanted or not check_folder_file(plan):
        return {}
    with open_database(spill_folder(plan), memory=_MEMORY) as database:
        relation = plan_relation(database, plan)
        query = (
            f"SELECT {_ROW}, {OWN_PREFIX}{ORIGIN_ROW} FROM {relation} WHERE {_ROW} IN ({wanted})"
        )
        return dict(database.rows(query))


class PlannedIds(NamedTuple):
    """Ids of a planned row, to compare with its lines in the ledger.

    Args:
        row: row number in the mapping, from 1.
        contact_id: id of its contact.
        message_id: id of its email.
        duplicate_of: earlier row that this one repeats; None if there is none.
    """

    row: int
    contact_id: str
    message_id: str
    duplicate_of: int | None


def stream_planned_ids(plan: Path, spill: Path) -> Iterator[PlannedIds]:
    """Stream the ids of all rows of a sealed plan, including duplicates, in its order.

    Args:
        plan: the sealed plan.
        spill: folder for data beyond the memory limit.
    """
    columns = ", ".join(f"bulklink_{name}" for name in PlannedIds._fields)
    with open_database(spill, memory=_MEMORY) as database:
        query = f"SELECT {columns} FROM {plan_relation(database, plan)}"
        yield from (PlannedIds(*row) for row in database.rows(query))
