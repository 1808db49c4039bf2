"""Reading a sealed plan: streaming it, finding rows, dropping the user's columns."""

# ruff: noqa: S608

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.duckdb_sql import literal
from bulklink.errors import LedgerError, RunDirError
from bulklink.mapping import faults
from bulklink.mapping.database import Database
from bulklink.mapping.headers import OWN_PREFIX
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import OWN_COLUMNS, ROW_GROUP_ROWS, PlanLayout, plan_relation
from bulklink.mapping.schema import GUARD, NAME_COLUMNS
from bulklink.models import Message, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MEMORY = "128MB"
_LOOK_UP_MEMORY = "256MB"
_PAIRS = 2048
_MESSAGE = ("row", "op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name")


class UnknownRow(msgspec.Struct, frozen=True):
    """A row that is refused because its deal or owner was not found; `code` says which."""

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    code: str


class SealedPlan:
    """A plan as it was sealed.

    Args:
        path: its `plan.parquet`. Data that does not fit into memory goes to a folder beside it
            and is removed again.
        stop: ends the work from another thread.
    """

    def __init__(self, path: Path, stop: PlanningStop | None = None) -> None:
        if not path.is_file():
            raise RunDirError(
                "There is no sealed plan.", where=str(path), advice="Make the plan again."
            )
        self.path = path
        self._stop = stop or PlanningStop()

    def chunks(self, names: Path | None = None) -> Iterator[list[Message]]:
        """Stream the messages in the order in which they are sent, some two thousand at a time.

        Duplicates are left out, and so are rows that `names` refuses.

        Args:
            names: what `write_names` wrote, if names were looked up.

        Raises:
            LedgerError: if the plan is not in the order in which it was sealed, or `names`
                belongs to another plan.
        """
        with closing(self._open()) as database:
            order = _Order()
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
        """Stream the different deals of links and relinks that name none, sorted."""
        return self._stream_unnamed("deal_id", "deal_name")

    def count_deals_without_name(self) -> int:
        """Count what `deals_without_name` streams."""
        with closing(self._open(_LOOK_UP_MEMORY)) as database:
            query = _unnamed_sql(plan_relation(database, self.path), "deal_id", "deal_name")
            return int(database.fetch_one(f"SELECT count(*) FROM ({query})")[0])

    def owners_without_name(self) -> Iterator[str]:
        """Stream the different owners of links and relinks that name none, sorted."""
        return self._stream_unnamed("owner_id", "owner_name")

    def write_names(
        self,
        deals: Iterable[tuple[str, str]],
        owners: Iterable[tuple[str, str]],
        path: Path,
    ) -> int:
        """Write the names that were found, one record a row of the plan, in its order.

        Args:
            deals: pairs of a deal's id and its name; those that are not among them do not exist.
            owners: pairs of an owner's id and name.
            path: the file to write.

        Returns:
            How many messages are refused because their deal or owner was not found.
        """
        with closing(self._open(_LOOK_UP_MEMORY)) as database:
            self._fill(database, "deals", deals)
            self._fill(database, "owners", owners)
            names_sql = _NAMED.format(plan=plan_relation(database, self.path))
            with atomic_replace(path) as temporary:
                database.execute(
                    f"COPY ({names_sql}) TO {literal(str(temporary))} "
                    f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
                )
            return int(database.fetch_one(_REFUSED.format(names=literal(str(path))))[0])

    def unknown_rows(self, names: Path) -> Iterator[UnknownRow]:
        """Stream the messages whose deal or owner was not found, in the order of the plan."""
        with closing(self._open()) as database:
            order = _Order()
            for batch in database.batches(self._messages(database, names)):
                order.check(batch)
                for row in batch:
                    if row[11] is None and row[12] is not None:
                        yield UnknownRow(
                            row[2], _OPS[row[3]], row[4], row[5], row[6], row[7], row[12]
                        )

    def _open(self, memory: str = _MEMORY) -> Database:
        spill = self.path.with_name(self.path.name + ".spill")
        return Database(spill, self._stop, threads=1, memory=memory)

    def _stream_unnamed(self, ident: str, name: str) -> Iterator[str]:
        with closing(self._open(_LOOK_UP_MEMORY)) as database:
            query = _unnamed_sql(plan_relation(database, self.path), ident, name)
            for (value,) in database.rows(f"{query} ORDER BY id"):
                yield value

    def _fill(self, database: Database, table: str, pairs: Iterable[tuple[str, str]]) -> None:
        database.execute(f"CREATE TABLE {table} (id VARCHAR, name VARCHAR)")
        batch: list[tuple[str, str]] = []
        for pair in pairs:
            batch.append(pair)
            if len(batch) == _PAIRS:
                database.insert(table, batch)
                batch.clear()
        if batch:
            database.insert(table, batch)

    def _messages(self, database: Database, names: Path | None) -> str:
        """Select what `chunks` reads; nothing is filtered here, or positions would shift."""
        columns = ", ".join(f"plan.bulklink_{name}" for name in _MESSAGE)
        plan = plan_relation(database, self.path)
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
            f"POSITIONAL JOIN read_parquet({literal(str(names))}) AS names"
        )


def _unnamed_sql(plan: str, ident: str, name: str) -> str:
    """Select the different ids of links and relinks that have no name."""
    return (
        f"SELECT DISTINCT bulklink_{ident} AS id FROM {plan} "
        f"WHERE bulklink_{name} IS NULL AND bulklink_op <> 'unlink' "
        "AND bulklink_duplicate_of IS NULL"
    )


_GUARD = f"bulklink_{GUARD}"
_OPS = {op.value: op for op in Op}

_NAMED = f"""
SELECT bulklink_row, owners.name AS owner_name, deals.name AS deal_name,
    CASE WHEN plan.bulklink_op = 'unlink' THEN NULL
        WHEN plan.bulklink_deal_name IS NULL AND deals.name IS NULL THEN '{faults.UNKNOWN_DEAL}'
        WHEN plan.bulklink_owner_name IS NULL AND owners.name IS NULL THEN '{faults.UNKNOWN_OWNER}'
    END AS refused,
    plan.bulklink_duplicate_of IS NOT NULL AS duplicate
FROM {{plan}} AS plan
LEFT JOIN deals ON deals.id = plan.bulklink_deal_id AND plan.bulklink_deal_name IS NULL
LEFT JOIN owners ON owners.id = plan.bulklink_owner_id AND plan.bulklink_owner_name IS NULL
    AND plan.bulklink_op <> 'unlink'
ORDER BY plan.bulklink_group, plan.bulklink_row
"""
_REFUSED = """
SELECT count(*) FROM read_parquet({names}) WHERE refused IS NOT NULL AND NOT duplicate
"""


class _Order:
    """Sees to it that groups come in their order, each whole, and rows in theirs within."""

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
                sorted_so = record[1] > row and record[4] == contact and record[5] == owner
            else:
                sorted_so = record[0] > group and (record[4], record[5]) > (contact, owner)
            if not sorted_so:
                raise LedgerError(
                    f"The sealed plan is out of order at row {record[2]}.",
                    where="plan.parquet",
                    advice="Make the plan again in a new run folder.",
                )
            group, row, contact, owner = record[0], record[1], record[4], record[5]
        self._last = (group, row, contact, owner)


_FOUND = ("row", "op", "contact_id", "owner_id", "deal_id", "duplicate_of")


class PlannedRow(msgspec.Struct, frozen=True):
    """A row of a plan that carries an email; `deal_id` is None for an unlink."""

    row: int
    op: Op
    contact_id: str
    owner_id: str
    deal_id: str | None
    duplicate_of: int | None


class PlanSearch:
    """Looks plans through; made by `open_plan_search`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_rows(self, plan: Path, message_id: str) -> list[PlannedRow]:
        """Return the rows of a plan that carry an email, in the order of the mapping.

        Raises:
            RunDirError: if it cannot be read.
        """
        columns = ", ".join(f"bulklink_{name}" for name in _FOUND)
        try:
            query = (
                f"SELECT {columns} FROM {plan_relation(self._database, plan)} "
                f"WHERE bulklink_message_id = {literal(message_id)} ORDER BY bulklink_row"
            )
            records = list(self._database.rows(query))
        except duckdb.Error as error:
            raise RunDirError(
                f"The plan cannot be read: {str(error).splitlines()[0]}.",
                where=str(plan),
                advice="Put the file back from a copy.",
            ) from None
        return [PlannedRow(row, Op(op), *fields) for row, op, *fields in records]


@contextmanager
def open_plan_search(scratch: Path) -> Iterator[PlanSearch]:
    """Look through plans.

    Args:
        scratch: a folder for temporary files.
    """
    database = Database(scratch / "spill", PlanningStop(), threads=1)
    try:
        yield PlanSearch(database)
    finally:
        database.close()


def forget_columns(plan: Path) -> None:
    """Replace a sealed plan by one without the user's columns and without names.

    Raises:
        RunDirError: if it is no plan, or cannot be written.
    """
    columns = ", ".join(
        f"NULL::VARCHAR AS {OWN_PREFIX}{name}" if name in NAME_COLUMNS else OWN_PREFIX + name
        for name in OWN_COLUMNS
    )
    spill = plan.with_name(plan.name + ".spill")
    # One thread: the order of the plan is the order in which it is sent.
    with closing(Database(spill, PlanningStop(), threads=1, memory=_LOOK_UP_MEMORY)) as database:
        query = f"SELECT {columns} FROM {plan_relation(database, plan)}"
        with atomic_replace(plan) as temporary:
            database.execute(
                f"COPY ({query}) TO {literal(str(temporary))} "
                f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, "
                f"KV_METADATA {PlanLayout((), ()).metadata_sql()})"
            )
