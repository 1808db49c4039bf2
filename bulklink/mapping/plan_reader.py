"""Reader of a sealed plan, with search for an email and redaction."""

# ruff: noqa: S608

from __future__ import annotations

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
    write_parquet,
)
from bulklink.mapping.schema import FETCHED_COLUMNS, GUARD, NAME_COLUMNS, OWN_PREFIX
from bulklink.models import Message, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bulklink.mapping.database import Database

_MEMORY = "128MB"
_LOOK_UP_MEMORY = "256MB"
_MESSAGE_COLUMNS = ("row", "op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name")


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

    def chunks(self, names: Path | None = None) -> Iterator[list[Message]]:
        """Stream the messages in the order of sending, in chunks of about two thousand.

        Duplicates are left out, and so are rows that `names` refuses.

        Args:
            names: file that `write_names` wrote, if names were looked up.

        Raises:
            LedgerError: if the plan is not in the order in which it was sealed, or `names`
                belongs to another plan.
        """
        with self._open() as database:
            order = _OrderCheck()
            for batch in database.batches(self._messages(database, names)):
                order.check(batch)
                messages = [
                    Message(row[2], _OPS[row[3]], *row[4:11])
                    for row in batch
                    if row[11] is None and row[12] is None
                ]
                if messages:
                    yield messages

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
            for batch in database.batches(self._messages(database, names)):
                order.check(batch)
                for row in batch:
                    if row[11] is None and row[12] is not None:
                        yield UnknownRow(
                            row[2], _OPS[row[3]], row[4], row[5], row[6], row[7], row[12]
                        )

    def _open(self, memory: str = _MEMORY) -> AbstractContextManager[Database]:
        return open_database(spill_folder(self.path), memory=memory, stop=self._stop)

    def _relation(self, database: Database) -> str:
        """Build the SQL relation of the plan, whose layout is read and checked once."""
        if self._layout is None:
            self._layout = load_layout(database, self.path)
        check_folder_file(self.path)
        return self._layout.relation(database.files.read_parquet(self.path))

    def _stream_unnamed(self, ident: str, name: str) -> Iterator[str]:
        with self._open(_LOOK_UP_MEMORY) as database:
            query = unnamed_ids_sql(self._relation(database), ident, name)
            for (value,) in database.rows(f"{query} ORDER BY id"):
                yield value

    def _messages(self, database: Database, names: Path | None) -> str:
        """Build the query of `chunks`, without a filter: it would misalign the names."""
        columns = ", ".join(f"plan.bulklink_{name}" for name in _MESSAGE_COLUMNS)
        plan = self._relation(database)
        front = f"plan.bulklink_group, {'plan' if names is None else 'names'}.bulklink_row"
        if names is None:
            return (
                f"SELECT {front}, {columns}, plan.bulklink_deal_name, plan.{_GUARD}, "
                f"plan.bulklink_duplicate_of, NULL FROM {plan} AS plan"
            )
        columns = columns.replace(
            "plan.bulklink_owner_name", "coalesce(plan.bulklink_owner_name, names.owner_name)"
        )
        return (
            f"SELECT {front}, {columns}, coalesce(plan.bulklink_deal_name, names.deal_name), "
            f"plan.{_GUARD}, plan.bulklink_duplicate_of, names.refused FROM {plan} AS plan "
            f"POSITIONAL JOIN {database.files.read_parquet(names)} AS names"
        )


_GUARD = f"bulklink_{GUARD}"
_OPS = {op.value: op for op in Op}
_NAMES = (*NAME_COLUMNS, FETCHED_COLUMNS[1])

_NAMES_SQL = f"""
SELECT bulklink_row, looked_up_owners.name AS owner_name, looked_up_deals.name AS deal_name,
    {unknown_reason_sql()} AS refused, plan.bulklink_duplicate_of IS NOT NULL AS duplicate
FROM {{plan}} AS plan {names_join_sql()}
ORDER BY plan.bulklink_group, plan.bulklink_row
"""
_REFUSED_COUNT_SQL = """
SELECT count(*) FROM {names} WHERE refused IS NOT NULL AND NOT duplicate
"""


class _OrderCheck:
    """Check that groups are contiguous and in order, as are the rows of each."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[int, int, str, str] = (0, 0, "", "")

    def check(self, batch: list[tuple[Any, ...]]) -> None:
        group, row, contact, owner = self._last
        for record in batch:
            if record[1] != record[2]:
                raise LedgerError(
                    "The names that were looked up do not belong to this plan.",
                    where="names.parquet",
                    advice="Make the plan again in a new run folder.",
                )
            if record[0] == group:
                in_order = record[1] > row and record[4] == contact and record[5] == owner
            else:
                in_order = record[0] > group and (record[4], record[5]) > (contact, owner)
            if not in_order:
                raise LedgerError(
                    f"The sealed plan is out of order at row {record[2]}.",
                    where="plan.parquet",
                    advice="Make the plan again in a new run folder.",
                )
            group, row, contact, owner = record[0], record[1], record[4], record[5]
        self._last = (group, row, contact, owner)


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
            name: column for name, column in layout.elsewhere.items() if name in FETCHED_COLUMNS
        }
        columns = ", ".join(
            f"NULL::VARCHAR AS {OWN_PREFIX}{name}" if name in _NAMES else OWN_PREFIX + name
            for name in OWN_COLUMNS
            if name not in elsewhere
        )
        query = f"SELECT {columns} FROM {plan_relation(database, plan)}"
        write_parquet(database, query, plan, PlanLayout((), (), elsewhere).metadata_option())
