"""Columns of plan.parquet, both written and derived.

A bulklink column with one value in every row, or equal to one of the user's columns, is not
written: the metadata of the file names its source. Ids are written as 64-bit numbers where these
preserve every id of a column. `plan_relation` restores all columns, with ids as texts.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.decoding import convert
from bulklink.duckdb_sql import identifier, literal, metadata_option
from bulklink.errors import RunDirError
from bulklink.folder_files import check_folder_file
from bulklink.mapping.database import DamagedTableError
from bulklink.mapping.schema import (
    FETCHED_COLUMNS,
    GUARD,
    ID_COLUMNS,
    NAME_COLUMNS,
    ORIGIN_ROW,
    OWN_PREFIX,
)
from bulklink.models import MAX_ROWS, Op

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database

OWN_COLUMNS = (
    *("row", "file", "line", "op"),
    *ID_COLUMNS,
    *NAME_COLUMNS,
    *("group", "duplicate_of"),
    GUARD,
    *FETCHED_COLUMNS,
    ORIGIN_ROW,
)
_NUMBERS = ("row", "line", "group", "duplicate_of", ORIGIN_ROW)
#: Half of DuckDB's default, at hardly any cost when writing. A reader holds two row groups, so
#: sending a million rows takes no more memory than sending a hundred thousand.
ROW_GROUP_ROWS = 61_440


_METADATA = ("headers", "known", "elsewhere")
_ID_NUMBER = "UBIGINT"


class VirtualColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """Source of a plan column that is not written to the file; at most one field is set.

    Args:
        same_as: column of the plan that it equals.
        rows_before: number to add to the row number.
        value: value of every row; NULL if no field is set.
    """

    same_as: str | None = None
    rows_before: int | None = None
    value: str | None = None

    def sql(self) -> str:
        """Build the expression of the column."""
        if self.same_as is not None:
            return identifier(self.same_as)
        if self.rows_before is not None:
            return f"{OWN_PREFIX}row + {self.rows_before}"
        return "NULL::VARCHAR" if self.value is None else literal(self.value)


SAME_ROW = VirtualColumn(rows_before=0)
"""Number of a row over the whole mapping, in a plan that is no shard of one."""


class PlanLayout(msgspec.Struct, frozen=True):
    """Columns of a sealed plan, kept in the metadata of its file.

    Args:
        headers: the user's headers, as in the mapping and in its order.
        known: bulklink's name for each of these columns; None if it is the user's own.
        elsewhere: bulklink's columns that are not written, by name.
        numbers: names of the columns of ids that are written as numbers; the type of a column in
            the file says so.
    """

    headers: tuple[str, ...]
    known: tuple[str | None, ...]
    elsewhere: dict[str, VirtualColumn] = {}
    numbers: frozenset[str] = frozenset()

    @property
    def constants(self) -> dict[str, str | None]:
        """Value of each column that has one value in every row, and is not written."""
        return {
            name: column.value
            for name, column in self.elsewhere.items()
            if column.same_as is None and column.rows_before is None
        }

    @property
    def is_shard(self) -> bool:
        """Whether the plan is a shard of a mapping: its rows have numbers of their own."""
        return self.elsewhere.get(ORIGIN_ROW) != SAME_ROW

    @property
    def as_written(self) -> PlanLayout:
        """The layout whose relation has ids as they are written: as numbers or as texts."""
        return msgspec.structs.replace(self, numbers=frozenset[str]())

    def relation(self, source: str) -> str:
        """Build the SQL relation of a plan: bulklink's columns in order, then the user's.

        Ids are texts in it, however they are written.

        Args:
            source: SQL of the rows that are, or will be, in the file.
        """
        if self.numbers:
            texts = ", ".join(
                f"{name}::VARCHAR AS {name}" for name in map(identifier, self.numbers)
            )
            source = f"(SELECT * REPLACE ({texts}) FROM {source})"
        columns = [
            f"{self.elsewhere[name].sql() if name in self.elsewhere else OWN_PREFIX + name} AS"
            f" {OWN_PREFIX}{name}"
            for name in OWN_COLUMNS
        ]
        stored_columns = ", ".join(
            OWN_PREFIX + name for name in OWN_COLUMNS if name not in self.elsewhere
        )
        return f"(SELECT {', '.join(columns)}, * EXCLUDE ({stored_columns}) FROM {source})"

    def metadata_option(self) -> str:
        """Build the option of COPY that writes the layout into the file."""
        return metadata_option(
            {key: msgspec.json.encode(getattr(self, key)).decode() for key in _METADATA}
        )


def load_layout(database: Database, plan: Path) -> PlanLayout:
    """Read the layout of a sealed plan.

    Raises:
        RunDirError: if the file has no layout, or lacks columns of a plan.
    """
    check_folder_file(plan)
    query = f"SELECT key, value FROM {database.files.parquet_metadata(plan)}"
    try:
        metadata = {bytes(key).decode(): bytes(value) for key, value in database.rows(query)}
        fields = {key: msgspec.json.decode(metadata[key]) for key in _METADATA}
        layout = _with_stored_columns(database, convert(fields, PlanLayout), plan)
        source = database.files.read_parquet(plan)
        _check_columns(database, layout, layout.relation(source))
        # The check of the rows need not turn numbers into texts.
        _check_rows(database, layout.as_written.relation(source))
    except (duckdb.Error, DamagedTableError, KeyError, ValueError, RecursionError):
        raise RunDirError(  # not Parquet, truncated, or not a plan
            "The file is not a plan that bulklink sealed, or it is damaged.",
            where=str(plan),
            advice="Restore the file from a copy, or make the plan again.",
        ) from None
    return layout


def _with_stored_columns(database: Database, layout: PlanLayout, plan: Path) -> PlanLayout:
    """Return the layout with what the columns in the file say.

    Earlier versions wrote all ids as texts, no columns of fetched deals, which are NULL, and no
    shards.
    """
    query = f"DESCRIBE FROM {database.files.read_parquet(plan)}"
    types = {row[0]: row[1] for row in database.rows(query)}
    absent = {**dict.fromkeys(FETCHED_COLUMNS, VirtualColumn()), ORIGIN_ROW: SAME_ROW}
    added = {name: column for name, column in absent.items() if OWN_PREFIX + name not in types}
    not_ids = {OWN_PREFIX + name for name in _NUMBERS}
    numbers = {name for name, kind in types.items() if kind == _ID_NUMBER} - not_ids
    return msgspec.structs.replace(
        layout, elsewhere={**added, **layout.elsewhere}, numbers=frozenset(numbers)
    )


def _check_columns(database: Database, layout: PlanLayout, relation: str) -> None:
    """Check the types of bulklink's columns.

    Raises:
        ValueError: if one has another type.
    """
    described = database.rows(f"DESCRIBE SELECT * FROM {relation}")
    types = {row[0]: row[1] for row in described}
    for name in OWN_COLUMNS:
        kind = "BIGINT" if name in _NUMBERS and name not in layout.elsewhere else "VARCHAR"
        if types[OWN_PREFIX + name] != kind and not (name in _NUMBERS and name in layout.elsewhere):
            raise ValueError(name)


def _check_rows(database: Database, relation: str) -> None:
    """Check the columns that every reader relies on.

    Raises:
        ValueError: if a row has no number, operation or id, or an invalid one.
    """
    ids = " OR ".join(
        f"{OWN_PREFIX}{name} IS NULL" for name in ("contact_id", "owner_id", "message_id")
    )
    ops = ", ".join(literal(op) for op in Op)
    (wrong,) = database.fetch_one(
        f"SELECT count(*) FROM {relation} WHERE {ids}"
        f" OR bulklink_op IS NULL OR bulklink_op NOT IN ({ops})"
        f" OR bulklink_row IS NULL OR bulklink_row NOT BETWEEN 1 AND {MAX_ROWS}"
        f" OR bulklink_group IS NULL OR bulklink_group NOT BETWEEN 0 AND {MAX_ROWS}"
        f" OR bulklink_duplicate_of NOT BETWEEN 1 AND {MAX_ROWS}"
        f" OR {OWN_PREFIX}{ORIGIN_ROW} IS NULL OR {OWN_PREFIX}{ORIGIN_ROW} < 1"
    )
    if wrong:
        raise ValueError(wrong)


def plan_relation(database: Database, plan: Path) -> str:
    """Build the SQL relation of a sealed plan: bulklink's columns in order, then the user's."""
    return load_layout(database, plan).relation(database.files.read_parquet(plan))


def write_parquet(database: Database, query: str, path: Path, *options: str) -> None:
    """Write the rows of a query to a Parquet file that appears whole or not at all.

    Args:
        database: runs the query.
        query: a SELECT.
        path: the file.
        options: further options of COPY.
    """
    settings = ("FORMAT parquet", f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}")
    with atomic_replace(path) as temporary:
        database.execute(database.files.copy(query, temporary, *settings, *options))


def shared_texts(ids: Sequence[int | str | None]) -> list[str | None]:
    """Return ids as texts, each made once: many rows of a plan share one.

    Args:
        ids: ids as they are written, see `PlanLayout.as_written`.
    """
    texts = {value: None if value is None else str(value) for value in set(ids)}
    return list(map(texts.__getitem__, ids))


def plan_relation_with_names(
    database: Database, plan: Path, names: Path, *, as_written: bool = False
) -> str:
    """Build the relation of a sealed plan, with missing names filled by looked-up ones.

    Args:
        database: database to query with.
        plan: path of the sealed plan.
        names: path of the names that were looked up; may be missing.
        as_written: whether ids that are written as numbers are numbers.
    """
    layout = load_layout(database, plan)
    layout = layout.as_written if as_written else layout
    relation = layout.relation(database.files.read_parquet(plan))
    if not check_folder_file(names):
        return relation
    replaced = ", ".join(
        f"coalesce(plan.{OWN_PREFIX}{name}, names.{name}) AS {OWN_PREFIX}{name}"
        for name in NAME_COLUMNS
    )
    return (
        f"(SELECT plan.* REPLACE ({replaced}) FROM {relation} AS plan "
        f"POSITIONAL JOIN {database.files.read_parquet(names)} AS names)"
    )
