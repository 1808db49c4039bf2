"""Where each of bulklink's columns of a sealed plan is to be found.

A column of ours that says of every row the same, or just what a column of the user's says, is not
written: the file names where it is found. Who reads a plan asks `relation` and sees all columns.
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.errors import RunDirError
from bulklink.mapping.database import identifier, literal
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


class Elsewhere(msgspec.Struct, frozen=True, omit_defaults=True):
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


class Layout(msgspec.Struct, frozen=True):
    """What the columns of a sealed plan are.

    `headers` are the user's, in the order of the mapping and as they stand there, `known` is for
    each the column that it is for bulklink; `elsewhere` has the columns of ours that are not
    written.
    """

    headers: tuple[str, ...]
    known: tuple[str | None, ...]
    elsewhere: dict[str, Elsewhere] = {}

    def metadata(self) -> str:
        """Write it for the file that is made."""
        parts = msgspec.structs.asdict(self).items()
        said = (f"{key}: {literal(msgspec.json.encode(value).decode())}" for key, value in parts)
        return f"{{{', '.join(said)}}}"


def layout_of(database: Database, plan: Path) -> Layout:
    """Read the layout of a sealed plan.

    Raises:
        RunDirError: if the file says nothing of it.
    """
    query = f"SELECT key, value FROM parquet_kv_metadata({literal(str(plan))})"
    try:
        said = {bytes(key).decode(): bytes(value) for key, value in database.rows(query)}
    except duckdb.InvalidInputException:  # no Parquet, or cut off
        said = {}
    if not said.keys() >= set(Layout.__struct_fields__):
        raise RunDirError(
            "The plan is not one that bulklink sealed.",
            where=str(plan),
            advice="Make the plan again.",
        )
    known = {key: msgspec.json.decode(said[key]) for key in Layout.__struct_fields__}
    return msgspec.convert(known, Layout)


def relation(database: Database, plan: Path) -> str:
    """Build the relation of a sealed plan: all columns of ours in order, then the user's."""
    elsewhere = layout_of(database, plan).elsewhere
    ours = [
        f"{elsewhere[name].sql() if name in elsewhere else OWN_PREFIX + name} AS {OWN_PREFIX}{name}"
        for name in OWN_COLUMNS
    ]
    written = ", ".join(OWN_PREFIX + name for name in OWN_COLUMNS if name not in elsewhere)
    return (
        f"(SELECT {', '.join(ours)}, * EXCLUDE ({written}) FROM read_parquet({literal(str(plan))}))"
    )
