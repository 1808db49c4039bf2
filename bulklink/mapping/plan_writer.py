"""Writer of plan.parquet."""

# ruff: noqa: S608

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulklink.duckdb_sql import identifier, literal
from bulklink.mapping.load import CHANGED_ID, CHANGED_NAME, TEXT_ID
from bulklink.mapping.plan_digest import RowHashes, hash_rows
from bulklink.mapping.plan_layout import (
    OWN_COLUMNS,
    PlanLayout,
    VirtualColumn,
    write_parquet,
)
from bulklink.mapping.rejects import verbatim_cell_sql
from bulklink.mapping.schema import (
    FETCHED_COLUMNS,
    GUARD,
    ID_COLUMNS,
    NAME_COLUMNS,
    NUMERIC_ID_COLUMNS,
    ORIGIN_ROW,
    OWN_PREFIX,
)
from bulklink.mapping.validate import name_sql
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.rejects import MappingFiles
    from bulklink.mapping.schema import MappingOptions
    from bulklink.mapping.validate import RowStatistics

PLAN_FILE = "plan.parquet"
#: Columns with few distinct values are written as a dictionary. A higher limit takes a sixth of
#: the sealing time and saves no space.
MAX_DICTIONARY_VALUES = 2000


@dataclass(slots=True, frozen=True)
class PlanWriter:
    """Writes the plan of a checked mapping.

    Args:
        columns: the user's columns that the plan keeps.
        options: options with which the mapping was read.
        files: files of the mapping.
        statistics: totals over its rows.
        names_looked_up: whether `good` has looked-up names.
        compared: whether the table `fetched_deals` has the deal that each email is on.
        is_shard: whether the rows are those of a shard, which have numbers of their own.
        rows_before: rows of earlier shards, if each shard is a mapping of its own.
    """

    columns: tuple[MappingColumn, ...]
    options: MappingOptions
    files: MappingFiles
    statistics: RowStatistics
    names_looked_up: bool = False
    compared: bool = False
    is_shard: bool = False
    rows_before: int = 0

    def write(self, database: Database, folder: Path) -> None:
        """Write `plan.parquet` into a folder.

        Args:
            database: holds the rows, checked and grouped.
            folder: the folder.
        """
        layout = self._layout()
        write_parquet(
            database,
            self._plan_sql(layout),
            folder / PLAN_FILE,
            f"DICTIONARY_SIZE_LIMIT {MAX_DICTIONARY_VALUES}",
            layout.metadata_option(),
        )

    def hash(self, database: Database) -> RowHashes:
        """Hash the rows of the plan as `write` would write them."""
        layout = self._layout()
        relation = layout.relation(f"({self._plan_sql(layout)})")
        return hash_rows(database, relation, layout.constants)

    def _layout(self) -> PlanLayout:
        headers = tuple(column.header for column in self.columns)
        known = tuple(column.known for column in self.columns)
        names = unique_column_names(headers)
        virtual_columns = dict(self._virtual_columns(names))
        numbers = {
            name
            for column, name in zip(self.columns, names, strict=True)
            if self._is_number(column)
        }
        numbers |= {
            OWN_PREFIX + name
            for name in NUMERIC_ID_COLUMNS
            if name not in virtual_columns and self._has_only_numbers(name)
        }
        return PlanLayout(headers, known, virtual_columns, frozenset(numbers))

    def _virtual_columns(self, names: Sequence[str]) -> Iterator[tuple[str, VirtualColumn]]:
        """Yield the columns that need not be written."""
        name_by_known = {
            column.known: name for column, name in zip(self.columns, names, strict=True)
        }
        if len(self.files.names) == 1:
            yield "file", VirtualColumn(value=self.files.names[0])
            if not self.files.any_staged and not self.is_shard:
                yield "line", VirtualColumn(rows_before=self.files.line_offsets[0])
        if self.options.op is not None:
            yield "op", VirtualColumn(value=self.options.op.value)
        flags = self.statistics.flags
        for column in ID_COLUMNS:
            is_unsent = column == "deal_id" and self.options.op is None
            if column in name_by_known and not is_unsent and not flags & CHANGED_ID[column]:
                yield column, VirtualColumn(same_as=name_by_known[column])
        if self.options.op is Op.UNLINK:
            yield "deal_id", VirtualColumn()
        if not self.statistics.guarded:
            yield GUARD, VirtualColumn()
        if not self.compared:
            yield from dict.fromkeys(FETCHED_COLUMNS, VirtualColumn()).items()
        if not self.is_shard:
            yield ORIGIN_ROW, VirtualColumn(rows_before=self.rows_before)
        for column in NAME_COLUMNS:
            default = self.options.default_values.get(column)
            if column not in name_by_known and (default or not self.names_looked_up):
                yield column, VirtualColumn(value=default or None)
            elif column not in name_by_known:
                continue
            elif not flags & CHANGED_NAME[column]:
                yield column, VirtualColumn(same_as=name_by_known[column])

    def _plan_sql(self, layout: PlanLayout) -> str:
        """Build the query of the plan: it sorts as few columns as possible, then adds the rest."""
        expressions = {
            "row": "row",
            "file": f"[{', '.join(map(literal, self.files.names))}][file + 1]",
            "line": "line",
            "op": "op",
            **{column: self._id_sql(column) for column in ID_COLUMNS},
            **{name: self._name_sql(name) for name in NAME_COLUMNS},
            "group": "number",
            "duplicate_of": "duplicate_of",
            **{name: name for name in (GUARD, *FETCHED_COLUMNS, ORIGIN_ROW)},
        }
        bulklink_columns = [
            f"{expressions[name]} AS {OWN_PREFIX}{name}"
            for name in OWN_COLUMNS
            if name not in layout.elsewhere
        ]
        user_columns = [
            f"{self._user_cell_sql(place, column)} AS {identifier(name)}"
            for place, (column, name) in enumerate(
                zip(self.columns, unique_column_names(layout.headers), strict=True)
            )
        ]
        selected = ", ".join(bulklink_columns + user_columns)
        return f"SELECT {selected} FROM ({self._sorted_rows_sql(layout)})"

    def _name_sql(self, name: str) -> str:
        return name if self.names_looked_up else name_sql(name, self.options, self.columns)

    def _is_number(self, column: MappingColumn) -> bool:
        """Return whether the user's cell is a plain number in every row of the plan."""
        known = column.known or ""
        return (
            known in NUMERIC_ID_COLUMNS
            and self._has_only_numbers(known)
            and not self.statistics.flags & CHANGED_ID[known]
        )

    def _has_only_numbers(self, column: str) -> bool:
        """Return whether a 64-bit number preserves each id of a column."""
        return not self.statistics.flags & TEXT_ID[column]

    def _id_sql(self, column: str) -> str:
        if column not in NUMERIC_ID_COLUMNS:
            return column
        if self._has_only_numbers(column):
            return f"{column}_number"
        return f"coalesce({column}_number::VARCHAR, {column}_text)"

    def _user_cell_sql(self, place: int, column: MappingColumn) -> str:
        if self._is_number(column):
            return f"n_{column.known}"
        return verbatim_cell_sql(place, column)

    def _sorted_rows_sql(self, layout: PlanLayout) -> str:
        key_columns = self.statistics.group_key_columns()
        plain = ("file", "line", "op", GUARD, ORIGIN_ROW)
        carried = [name for name in plain if name not in layout.elsewhere]
        for name in ID_COLUMNS:
            if name not in layout.elsewhere:
                if name not in NUMERIC_ID_COLUMNS:
                    carried.append(name)
                elif self._has_only_numbers(name):
                    carried.append(f"{name}_number")
                else:
                    carried += [f"{name}_number", f"{name}_text"]
        for place, column in enumerate(self.columns):
            if column.known in NUMERIC_ID_COLUMNS:
                carried.append(f"n_{column.known}")
            if not self._is_number(column):
                carried.append(f"c{place}")
        if self.names_looked_up:
            carried += NAME_COLUMNS
        same_group = " AND ".join(
            f"groups.{key_column} IS NOT DISTINCT FROM good.{key_column}"
            for key_column in key_columns
        )
        selected = [f"good.{name}" for name in carried]
        fetched = ""
        if self.compared:
            selected += [f"fetched_deals.{name}" for name in FETCHED_COLUMNS]
            fetched = "LEFT JOIN fetched_deals ON fetched_deals.row = good.row "
        return (
            f"SELECT good.row, number, first AS duplicate_of, {', '.join(selected)} "
            f"FROM good JOIN (SELECT number, {', '.join(key_columns)} FROM groups) AS groups "
            f"ON {same_group} {fetched}ORDER BY number, good.row"
        )


def unique_column_names(headers: Sequence[str]) -> list[str]:
    """Name columns after their headers, unique regardless of case.

    Args:
        headers: the user's headers, which may be empty or repeated.
    """
    taken: set[str] = set()
    names = []
    for place, header in enumerate(headers):
        base = header.replace("\0", " ") or f"column_{place + 1}"
        name, number = base, 1
        while name.casefold() in taken or name.casefold().startswith(OWN_PREFIX):
            number += 1
            name = f"{base}_{number}" if number < 1 << 20 else f"column_{place}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
