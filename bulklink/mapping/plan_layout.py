"""Where each of bulklink's columns of a sealed plan is to be found.

A column of ours that says of every row the same, or just what a column of the user's says, is not
written: the file names where it is found. Who reads a plan asks `plan_relation` and sees all
    columns.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.duckdb_sql import identifier, literal
from bulklink.errors import RunDirError
from bulklink.mapping.headers import OWN_PREFIX
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NAME_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.database import Database

OWN_COLUMNS = (
    *("row", "file", "line", "op"),
    *ID_COLUMNS,
    *NAME_COLUMNS,
    *("group", "duplicate_of"),
    GUARD,
)
#: Half of DuckDB's own size, which makes a plan hardly dearer to write: who streams it
#: holds two groups, and a million rows take no more memory to send than a hundred thousand.
ROW_GROUP_ROWS = 61_440


class VirtualColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stands for a column that is not written.

    It is the plan's column `same_as`, or the number of the row and `rows_before` more, or in every
    row `value`.
    """

    same_as: str | None = None
    rows_before: int | None = None
    value: str | None = None

    def sql(self) -> str:
        """Build the column."""
        if self.same_as is not None:
            return identifier(self.same_as)
        if self.rows_before is not None:
            return f"{OWN_PREFIX}row + {self.rows_before}"
        return "NULL::VARCHAR" if self.value is None else literal(self.value)


class PlanLayout(msgspec.Struct, frozen=True):
    """What the columns of a sealed plan are.

    `headers` are the user's, in the order of the mapping and as they stand there, `known` is for
    each the column that it is for bulklink; `elsewhere` has the columns of ours that are not
    written.
    """

    headers: tuple[str, ...]
    known: tuple[str | None, ...]
    elsewhere: dict[str, VirtualColumn] = {}

    def metadata_sql(self) -> str:
        """Write it for the file that is made."""
        parts = msgspec.structs.asdict(self).items()
        entries = (f"{key}: {literal(msgspec.json.encode(value).decode())}" for key, value in parts)
        return f"{{{', '.join(entries)}}}"


def load_layout(database: Database, plan: Path) -> PlanLayout:
    """Read the layout of a sealed plan.

    Raises:
        RunDirError: if the file says nothing of it.
    """
    query = f"SELECT key, value FROM parquet_kv_metadata({literal(str(plan))})"
    try:
        metadata = {bytes(key).decode(): bytes(value) for key, value in database.rows(query)}
    except duckdb.InvalidInputException:  # no Parquet, or cut off
        metadata = {}
    if not metadata.keys() >= set(PlanLayout.__struct_fields__):
        raise RunDirError(
            "The plan is not one that bulklink sealed.",
            where=str(plan),
            advice="Make the plan again.",
        )
    fields = {key: msgspec.json.decode(metadata[key]) for key in PlanLayout.__struct_fields__}
    return msgspec.convert(fields, PlanLayout)


def plan_relation(database: Database, plan: Path) -> str:
    """Build the relation of a sealed plan: all columns of ours in order, then the user's."""
    virtual_columns = load_layout(database, plan).elsewhere
    columns = [
        f"{virtual_columns[name].sql() if name in virtual_columns else OWN_PREFIX + name} AS"
        f" {OWN_PREFIX}{name}"
        for name in OWN_COLUMNS
    ]
    stored_columns = ", ".join(
        OWN_PREFIX + name for name in OWN_COLUMNS if name not in virtual_columns
    )
    source = f"read_parquet({literal(str(plan))})"
    return f"(SELECT {', '.join(columns)}, * EXCLUDE ({stored_columns}) FROM {source})"


def plan_relation_with_names(database: Database, plan: Path, names: Path) -> str:
    """Build the relation of a sealed plan, whose missing names are those that were looked up.

    Args:
        database: database to query with.
        plan: path of the sealed plan.
        names: path of the names that were looked up; may be missing.
    """
    relation = plan_relation(database, plan)
    if not names.is_file():
        return relation
    replaced = ", ".join(
        f"coalesce(plan.{OWN_PREFIX}{name}, names.{name}) AS {OWN_PREFIX}{name}"
        for name in NAME_COLUMNS
    )
    return (
        f"(SELECT plan.* REPLACE ({replaced}) FROM {relation} AS plan "
        f"POSITIONAL JOIN read_parquet({literal(str(names))}) AS names)"
    )
