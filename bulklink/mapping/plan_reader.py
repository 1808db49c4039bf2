"""Reader of a sealed plan, with search for an email and redaction."""

# ruff: noqa: S608

from __future__ import annotations

from itertools import groupby, islice, pairwise, repeat
from operator import lt
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.duckdb_sql import literal
from bulklink.errors import LedgerError, RunDirError
from bulklink.folder_files import check_folder_file
from bulklink.mapping.database import Database, open_database, spill_folder
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.looked_up_names import (
    insert_names,
    names_join_sql,
    unknown_reason_sql,
    unnamed_ids_sql,
)
from bulklink.mapping.plan_layout import (
    OWN_COLUMNS,
    PlanLayout,
    load_layout,
    plan_relation,
    shared_texts,
    write_parquet,
)
from bulklink.mapping.schema import (
    FETCHED_COLUMNS,
    NAME_COLUMNS,
    NUMERIC_ID_COLUMNS,
    ORIGIN_ROW,
    OWN_PREFIX,
)
from bulklink.models import MAX_ROWS, Message, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bulklink.mapping.database import Database

_MEMORY = "128MB"
_LOOK_UP_MEMORY = "256MB"


class UnknownRow(msgspec.Struct, frozen=True):
    """A row that is refused after the look-ups because its deal or owner does not exist.

    Args:
        row: row number in the mapping, from 1.
        op: operation of the row.
        contact_id: id of its contact.
        owner_id: id of the owner of the mailbox.
        message_id: id of its email.
        deal_id: id of its deal.
        code: fault code: `unknown-deal` or `unknown-owner`.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    code: str


class SealedPlan:
    """A sealed plan.

    Args:
        path: its `plan.parquet`. Data beyond the memory limit spills to a folder next to it,
            which is removed at the end.
        stop: stops the work from another thread.
    """

    def __init__(self, path: Path, stop: PlanningStop | None = None) -> None:
        if not check_folder_file(path):
            raise RunDirError(
                "There is no sealed plan.", where=str(path), advice="Make the plan again."
            )
        self.path = path
        self._stop = stop or PlanningStop()
        self._layout: PlanLayout | None = None

    def chunks(self, names: Path | None = None, rows: str | None = None) -> Iterator[list[Message]]:
        """Stream the messages in the order of sending, in chunks of at most 512.

        Duplicates are left out, and so are rows that `names` refuses.

        Args:
            names: file that `write_names` wrote, if names were looked up.
            rows: which rows to read: a text with `1` at the position of each row number, and `0` at
                any other; rows beyond its end are read if it ends with `1`. None reads all rows.

        Raises:
            LedgerError: if the rows read are not in the order in which they were sealed, or `names`
                belongs to another plan.
        """
        with self._open() as database:
            plan = self._with_names(database, self._relation(database, as_written=True), names)
            constants = self._constants(names)
            varying = [name for name in Message.__struct_fields__[1:] if name not in constants]
            wanted = _IS_SENT
            if rows is not None:
                position = f"least(bulklink_row, {len(rows) - 1})::INTEGER"
                wanted += f" AND get_bit('{rows}'::BIT, {position}) = 1"
            query = (
                f"SELECT {_PLACE}, {', '.join(map(_field_sql, varying))} FROM {plan} "
                f"WHERE NOT matches OR ({wanted})"
            )
            order = _OrderCheck()
            for places, *values in database.columns(query):
                columns = constants | {
                    name: shared_texts(cells) if name in _SHARED_IDS else cells
                    for name, cells in zip(varying, values, strict=True)
                }
                order.check(places, columns["contact_id"], columns["owner_id"])
                columns["row"] = [place & _ROW_MASK for place in places]
                if "op" not in constants:
                    columns["op"] = map(_OPS.__getitem__, columns["op"])
                yield list(map(Message, *(columns[name] for name in Message.__struct_fields__)))

    def deals_without_name(self) -> Iterator[str]:
        """Stream the distinct deals of links and relinks without a name, sorted."""
        return self._stream_unnamed("deal_id", "deal_name")

    def count_deals_without_name(self) -> int:
        """Count the deals that `deals_without_name` streams."""
        with self._open(_LOOK_UP_MEMORY) as database:
            query = unnamed_ids_sql(self._relation(database), "deal_id", "deal_name")
            return int(database.fetch_one(f"SELECT count(*) FROM ({query})")[0])

    def owners_without_name(self) -> Iterator[str]:
        """Stream the distinct owners of links and relinks without a name, sorted."""
        return self._stream_unnamed("owner_id", "owner_name")

    def write_names(
        self,
        deals: Iterable[tuple[str, str]],
        owners: Iterable[tuple[str, str]],
        path: Path,
    ) -> int:
        """Write the names that were looked up, one record for each row of the plan, in its order.

        Args:
            deals: pairs of a deal's id and name; a deal that is missing does not exist.
            owners: pairs of an owner's id and name; an owner that is missing does not exist.
            path: the file to write.

        Returns:
            Number of messages that are refused because their deal or owner does not exist.
        """
        with self._open(_LOOK_UP_MEMORY) as database:
            insert_names(database, deals, owners)
            # The file appears as the last step: nothing after it can be interrupted.
            with atomic_replace(path) as names:
                write_parquet(database, _NAMES_SQL.format(plan=self._relation(database)), names)
                refused = _REFUSED_COUNT_SQL.format(names=database.files.read_parquet(names))
                return int(database.fetch_one(refused)[0])

    def unknown_rows(self, names: Path) -> Iterator[UnknownRow]:
        """Stream the messages whose deal or owner does not exist, in the order of the plan."""
        with self._open() as database:
            order = _OrderCheck()
            query = (
                f"SELECT {_PLACE}, {_own_columns_sql(UnknownRow.__struct_fields__[:-1])}, "
                f"refused FROM {self._with_names(database, self._relation(database), names)} "
                "WHERE NOT matches OR refused IS NOT NULL AND bulklink_duplicate_of IS NULL"
            )
            for places, rows, ops, *others in database.columns(query):
                order.check(places, others[0], others[1])
                yield from map(UnknownRow, rows, map(_OPS.__getitem__, ops), *others)

    def _open(self, memory: str = _MEMORY) -> AbstractContextManager[Database]:
        return open_database(spill_folder(self.path), memory=memory, stop=self._stop)

    def _relation(self, database: Database, *, as_written: bool = False) -> str:
        """Build the SQL relation of the plan, whose layout is read and checked once.

        Args:
            database: reads the plan.
            as_written: whether ids that are written as numbers are numbers.
        """
        if self._layout is None:
            self._layout = load_layout(database, self.path)
        check_folder_file(self.path)
        layout = self._layout.as_written if as_written else self._layout
        return layout.relation(database.files.read_parquet(self.path))

    def _stream_unnamed(self, ident: str, name: str) -> Iterator[str]:
        with self._open(_LOOK_UP_MEMORY) as database:
            query = unnamed_ids_sql(self._relation(database), ident, name)
            for (value,) in database.rows(f"{query} ORDER BY id"):
                yield value

    def _constants(self, names: Path | None) -> dict[str, Iterable[Any]]:
        """Return the fields of messages that have one value in every row of the plan."""
        constants = self._layout.constants if self._layout else {}
        unnamed = NAME_COLUMNS if names is not None else ()
        return {
            name: repeat(Op(value) if name == "op" and value else value)
            for name, value in constants.items()
            if name in Message.__struct_fields__ and (value is not None or name not in unnamed)
        }

    @staticmethod
    def _with_names(database: Database, plan: str, names: Path | None) -> str:
        """Join the relation of the plan with the names that were looked up for its rows.

        A filter must not come before the join, which is by position.
        """
        if names is None:
            return f"(SELECT *, true AS matches, NULL AS refused FROM {plan})"
        filled = ", ".join(
            f"coalesce(plan.{OWN_PREFIX}{name}, names.{name}) AS {OWN_PREFIX}{name}"
            for name in NAME_COLUMNS
        )
        return (
            f"(SELECT plan.* REPLACE ({filled}), names.refused, "
            "plan.bulklink_row IS NOT DISTINCT FROM names.bulklink_row AS matches "
            f"FROM {plan} AS plan POSITIONAL JOIN {database.files.read_parquet(names)} AS names)"
        )


_IS_SENT = "(bulklink_duplicate_of IS NULL AND refused IS NULL)"
_ROW_BITS = MAX_ROWS.bit_length()
_ROW_MASK = (1 << _ROW_BITS) - 1
#: Place of a row in the plan, group and row in one number; negative if its names are of another.
_PLACE = f"CASE WHEN matches THEN bulklink_group * {1 << _ROW_BITS} + bulklink_row ELSE -1 END"
_OPS = {op.value: op for op in Op}
_SHARED_IDS = frozenset(NUMERIC_ID_COLUMNS)


def _field_sql(name: str) -> str:
    column = f"bulklink_{name}"
    return column if name in _SHARED_IDS else f"{column}::VARCHAR"


def _own_columns_sql(names: Iterable[str]) -> str:
    return ", ".join(f"bulklink_{name}" for name in names)


_NAMES = (*NAME_COLUMNS, FETCHED_COLUMNS[1])
_NEVER_FORGOTTEN = (*FETCHED_COLUMNS, ORIGIN_ROW)
"""Columns that stay unwritten if they were."""

_NAMES_SQL = f"""
SELECT bulklink_row, looked_up_owners.name AS owner_name, looked_up_deals.name AS deal_name,
    {unknown_reason_sql()} AS refused, plan.bulklink_duplicate_of IS NOT NULL AS duplicate
FROM {{plan}} AS plan {names_join_sql()}
ORDER BY plan.bulklink_group, plan.bulklink_row
"""
_REFUSED_COUNT_SQL = """
SELECT count(*) FROM {names} WHERE refused IS NOT NULL AND NOT duplicate
"""


_Group = tuple[int, str, str]
"""Number, contact and owner of a group."""


class _OrderCheck:
    """Check that groups are contiguous and in order, as are the rows of each."""

    __slots__ = ("_last_group", "_last_place")

    def __init__(self) -> None:
        self._last_place = 0
        self._last_group: _Group = (0, "", "")

    def check(
        self,
        places: Sequence[int],
        contact_ids: Iterable[str],
        owner_ids: Iterable[str],
    ) -> None:
        """Check the next rows.

        Args:
            places: place of each row in the plan; negative if its names are of another plan.
            contact_ids: its contact.
            owner_ids: its owner.
        """
        if -1 in places:
            raise LedgerError(
                "The names that were looked up do not belong to this plan.",
                where="names.parquet",
                advice="Make the plan again in a new run folder.",
            )
        numbers = [place >> _ROW_BITS for place in places]
        groups = [self._last_group, *zip(numbers, contact_ids, owner_ids, strict=False)]
        places = [self._last_place, *places]
        if not _are_in_order(places, groups):
            first = next(
                end
                for end in range(2, len(places) + 1)
                if not _are_in_order(places[end - 2 : end], groups[end - 2 : end])
            )
            raise LedgerError(
                f"The sealed plan is out of order at row {places[first - 1] & _ROW_MASK}.",
                where="plan.parquet",
                advice="Make the plan again in a new run folder.",
            )
        self._last_place, self._last_group = places[-1], groups[-1]


def _are_in_order(places: Sequence[int], groups: Sequence[_Group]) -> bool:
    """Return whether each place follows the one before, in the same group or in a later one."""
    if not all(map(lt, places, islice(places, 1, None))):
        return False
    runs = [group for group, _ in groupby(groups)]
    return all(a[0] < b[0] and a[1:] < b[1:] for a, b in pairwise(runs))


class PlannedRow(msgspec.Struct, frozen=True):
    """A row of a plan for an email.

    Args:
        row: row number in the mapping, from 1.
        op: operation of the row.
        contact_id: id of its contact.
        owner_id: id of the owner of the mailbox.
        deal_id: id of its deal; None for an unlink.
        duplicate_of: earlier row that this one repeats; None if there is none.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    deal_id: str | None
    duplicate_of: int | None


def find_planned_rows(database: Database, plan: Path, message_id: str) -> list[PlannedRow]:
    """Return the rows of a sealed plan for an email, in the order of the mapping.

    Raises:
        RunDirError: if the plan cannot be read.
    """
    columns = ", ".join(f"bulklink_{name}" for name in PlannedRow.__struct_fields__)
    try:
        query = (
            f"SELECT {columns} FROM {plan_relation(database, plan)} "
            f"WHERE bulklink_message_id = {literal(message_id)} ORDER BY bulklink_row"
        )
        rows = list(database.rows(query))
    except duckdb.Error as error:
        raise RunDirError(
            f"The plan cannot be read: {str(error).splitlines()[0]}.",
            where=str(plan),
            advice="Restore the file from a copy.",
        ) from None
    return [PlannedRow(row, Op(op), *fields) for row, op, *fields in rows]


def forget_columns(plan: Path) -> None:
    """Replace a sealed plan with one without the user's columns and names.

    Raises:
        RunDirError: if it is not a plan, or cannot be written.
    """
    with open_database(spill_folder(plan), memory=_LOOK_UP_MEMORY) as database:
        layout = load_layout(database, plan)
        elsewhere = {
            name: column for name, column in layout.elsewhere.items() if name in _NEVER_FORGOTTEN
        }
        columns = ", ".join(
            f"NULL::VARCHAR AS {OWN_PREFIX}{name}" if name in _NAMES else OWN_PREFIX + name
            for name in OWN_COLUMNS
            if name not in elsewhere
        )
        query = f"SELECT {columns} FROM {plan_relation(database, plan)}"
        write_parquet(database, query, plan, PlanLayout((), (), elsewhere).metadata_option())
