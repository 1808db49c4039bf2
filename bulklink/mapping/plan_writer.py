"""Writing a sealed plan, and its digest."""

# ruff: noqa: S608

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.duckdb_sql import identifier, literal
from bulklink.mapping.headers import OWN_PREFIX
from bulklink.mapping.load import CHANGED_ID, CHANGED_NAME, TEXT_ID
from bulklink.mapping.plan_layout import OWN_COLUMNS, ROW_GROUP_ROWS, PlanLayout, VirtualColumn
from bulklink.mapping.rejects import verbatim_cell_sql
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NAME_COLUMNS, NUMERIC_ID_COLUMNS
from bulklink.mapping.validate import name_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.rejects import MappingFiles
    from bulklink.mapping.schema import InputFile, MappingOptions
    from bulklink.mapping.validate import RowStatistics

PLAN_FILE = "plan.parquet"
#: Columns with few different values are written as those; to look for more in the others costs
#: a sixth of sealing and saves no room.
MAX_DICTIONARY_VALUES = 2000


class PlanContents(msgspec.Struct, frozen=True):
    """What a plan is made of.

    Attributes:
        columns: the user's columns.
        options: how the mapping was read.
        files: its files.
        statistics: what was found in its rows.
    """

    columns: tuple[MappingColumn, ...]
    options: MappingOptions
    files: MappingFiles
    statistics: RowStatistics


def write_plan(database: Database, folder: Path, contents: PlanContents) -> None:
    """Write `plan.parquet` into a folder, from a database in which rows are checked and grouped."""
    layout = _plan_layout(contents)
    with atomic_replace(folder / PLAN_FILE) as temporary:
        database.execute(
            f"COPY ({_plan_sql(contents, layout)}) TO {literal(str(temporary))} "
            f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, "
            f"DICTIONARY_SIZE_LIMIT {MAX_DICTIONARY_VALUES}, KV_METADATA {layout.metadata_sql()})"
        )


def _plan_layout(contents: PlanContents) -> PlanLayout:
    headers = tuple(column.header for column in contents.columns)
    known = tuple(column.known for column in contents.columns)
    return PlanLayout(
        headers, known, dict(_virtual_columns(contents, unique_column_names(headers)))
    )


def _virtual_columns(
    contents: PlanContents, names: Sequence[str]
) -> Iterator[tuple[str, VirtualColumn]]:
    """Find the columns that need not be written."""
    users = {column.known: name for column, name in zip(contents.columns, names, strict=True)}
    if len(contents.files.names) == 1:
        yield "file", VirtualColumn(value=contents.files.names[0])
        if not contents.files.any_staged:
            yield "line", VirtualColumn(rows_before=contents.files.line_offsets[0])
    if contents.options.op is not None:
        yield "op", VirtualColumn(value=contents.options.op.value)
    marks = contents.statistics.flags
    for column in ID_COLUMNS:
        is_unsent = column == "deal_id" and contents.options.op is None
        if column in users and not is_unsent and not marks & CHANGED_ID[column]:
            yield column, VirtualColumn(same_as=users[column])
    if not contents.statistics.guarded:
        yield GUARD, VirtualColumn()
    defaults = dict(contents.options.defaults)
    for column in NAME_COLUMNS:
        if column not in users:
            yield column, VirtualColumn(value=(defaults.get(column) or "").strip() or None)
        elif not marks & CHANGED_NAME[column]:
            yield column, VirtualColumn(same_as=users[column])


def _plan_sql(contents: PlanContents, layout: PlanLayout) -> str:
    """Sort as little as there is to sort, then build the rest from it."""
    made = {
        "row": "row",
        "file": f"[{', '.join(map(literal, contents.files.names))}][file + 1]",
        "line": "line",
        "op": "op",
        **{column: _id(column) for column in ID_COLUMNS},
        **{name: name_sql(name, contents.options, contents.columns) for name in NAME_COLUMNS},
        "group": "number",
        "duplicate_of": "duplicate_of",
        GUARD: GUARD,
    }
    bulklink_columns = [
        f"{made[name]} AS {OWN_PREFIX}{name}"
        for name in OWN_COLUMNS
        if name not in layout.elsewhere
    ]
    users = [
        f"{_user_cell_sql(place, column, contents.statistics)} AS {identifier(name)}"
        for place, (column, name) in enumerate(
            zip(contents.columns, unique_column_names(layout.headers), strict=True)
        )
    ]
    return (
        f"SELECT {', '.join(bulklink_columns + users)} FROM ({_sorted_rows_sql(contents, layout)})"
    )


def _id(column: str) -> str:
    if column in NUMERIC_ID_COLUMNS:
        return f"coalesce({column}_number::VARCHAR, {column}_text)"
    return column


def _is_number(column: MappingColumn, statistics: RowStatistics) -> bool:
    """Tell whether the user's cell is a number and nothing else, in every row of the plan."""
    known = column.known or ""
    return known in NUMERIC_ID_COLUMNS and not statistics.flags & (
        CHANGED_ID[known] | TEXT_ID[known]
    )


def _user_cell_sql(place: int, column: MappingColumn, statistics: RowStatistics) -> str:
    if _is_number(column, statistics):
        return f"n_{column.known}::VARCHAR"
    return verbatim_cell_sql(place, column)


def _sorted_rows_sql(contents: PlanContents, layout: PlanLayout) -> str:
    key_columns = contents.statistics.group_key_columns()
    carried = [name for name in ("file", "line", "op", GUARD) if name not in layout.elsewhere]
    for name in ID_COLUMNS:
        if name not in layout.elsewhere:
            number = name in NUMERIC_ID_COLUMNS
            carried += [f"{name}_number", f"{name}_text"] if number else [name]
    for place, column in enumerate(contents.columns):
        if column.known in NUMERIC_ID_COLUMNS:
            carried.append(f"n_{column.known}")
        if not _is_number(column, contents.statistics):
            carried.append(f"c{place}")
    same_group = " AND ".join(
        f"groups.{key_column} IS NOT DISTINCT FROM good.{key_column}" for key_column in key_columns
    )
    return (
        f"SELECT good.row, number, first AS duplicate_of, "
        f"{', '.join(f'good.{name}' for name in carried)} "
        f"FROM good JOIN (SELECT number, {', '.join(key_columns)} FROM groups) AS groups "
        f"ON {same_group} ORDER BY number, good.row"
    )


def unique_column_names(headers: Sequence[str]) -> list[str]:
    """Name columns after their headers so that no two are alike without regard to case.

    Args:
        headers: the user's headers; they may be empty or repeat.
    """
    taken: set[str] = set()
    names = []
    for place, header in enumerate(headers):
        plain = header.replace("\0", " ") or f"column_{place + 1}"
        name, number = plain, 1
        while name.casefold() in taken or name.casefold().startswith(OWN_PREFIX):
            number += 1
            name = f"{plain}_{number}" if number < 1 << 20 else f"column_{place}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def digest(inputs: Iterable[InputFile], settings: Mapping[str, object]) -> str:
    """Compute a plan's digest.

    Args:
        inputs: the files of the mapping; their contents count, their names do not.
        settings: the options that a plan depends on; values that JSON can hold.

    Returns:
        A SHA-256 in hexadecimal: the same for the same contents and settings, wherever and
        whenever the plan is made.
    """
    payload = {"inputs": [file.sha256 for file in inputs], "settings": dict(settings)}
    return hashlib.sha256(msgspec.json.encode(payload, order="deterministic")).hexdigest()
