"""Typed columns of Parquet files and frames: the texts of their cells, as SQL."""

from __future__ import annotations

import re

from bulklink.duckdb_sql import identifier
from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL

_EXACT_TYPE = re.compile(
    r"VARCHAR|U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?|DECIMAL\(\d+,0\)|UUID|ENUM\(.*\)|\"NULL\"",
    re.DOTALL,
)
_BINARY_FLOAT_TYPE = re.compile("FLOAT|DOUBLE")
_FLOAT_TYPE = re.compile(r"FLOAT|DOUBLE|DECIMAL\(.*\)")
_NESTED_TYPE = re.compile(r".*(?:\]|\))", re.DOTALL)
_TEXT_TYPE = re.compile(r"VARCHAR|BLOB|ENUM\(.*\)", re.DOTALL)
_BLOB, _NULL, _ZONED = "BLOB", '"NULL"', "TIMESTAMP WITH TIME ZONE"


class TypedColumn:
    """A column with a type.

    Args:
        name: its name in the table.
        alias: its unique name in a query.
        kind: its type in DuckDB.
    """

    __slots__ = ("alias", "kind", "name")

    def __init__(self, name: str, alias: str, kind: str) -> None:
        self.name = name
        self.alias = alias
        self.kind = kind

    @property
    def cell_kind(self) -> str:
        """Kind of its cells, as those of JSON values; empty for texts and whole numbers."""
        if _EXACT_TYPE.fullmatch(self.kind) or self.kind == _BLOB:
            return ""
        return FLOAT_CELL if _FLOAT_TYPE.fullmatch(self.kind) else OTHER_CELL

    @property
    def may_hold_any_text(self) -> bool:
        """Whether its cells are texts, and not numbers or times."""
        return _TEXT_TYPE.fullmatch(self.kind) is not None

    def text_sql(self) -> str:
        """Build the text of a cell."""
        cell = identifier(self.alias)
        if self.kind == _NULL:
            return "NULL::VARCHAR"
        if self.kind == _BLOB:  # older programs do not mark text columns
            return f"coalesce(TRY(decode({cell})), {cell}::VARCHAR)"
        if _BINARY_FLOAT_TYPE.fullmatch(self.kind):
            return f"CASE WHEN NOT isnan({cell}) THEN {cell}::VARCHAR END"
        if self.kind == _ZONED:  # the text of the type is in the zone of this machine
            return f"({cell} AT TIME ZONE 'UTC')::VARCHAR || '+00:00'"
        nested = self.cell_kind == OTHER_CELL and _NESTED_TYPE.fullmatch(self.kind)
        return f"to_json({cell})::VARCHAR" if nested else f"{cell}::VARCHAR"
