"""Finding the rows of sealed plans that carry one email."""
# ruff: noqa: S608

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.errors import RunDirError
from bulklink.mapping.database import Database, literal
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import relation
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOUND = ("row", "op", "contact_id", "owner_id", "deal_id", "duplicate_of")


class PlannedRow(msgspec.Struct, frozen=True):
    """A row of a plan that carries an email; `deal_id` is None for an unlink."""

    row: int
    op: Op
    contact_id: str
    owner_id: str
    deal_id: str | None
    duplicate_of: int | None


class Finder:
    """Looks plans through; made by `finder`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, plan: Path, message_id: str) -> list[PlannedRow]:
        """Return the rows of a plan that carry an email, in the order of the mapping.

        Raises:
            RunDirError: if it cannot be read.
        """
        columns = ", ".join(f"bulklink_{name}" for name in _FOUND)
        try:
            query = (
                f"SELECT {columns} FROM {relation(self._database, plan)} "
                f"WHERE bulklink_message_id = {literal(message_id)} ORDER BY bulklink_row"
            )
            found = list(self._database.rows(query))
        except duckdb.Error as error:
            raise RunDirError(
                f"The plan cannot be read: {str(error).splitlines()[0]}.",
                where=str(plan),
                advice="Put the file back from a copy.",
            ) from None
        return [PlannedRow(row, Op(op), *rest) for row, op, *rest in found]


@contextmanager
def finder(scratch: Path) -> Iterator[Finder]:
    """Look through plans.

    Args:
        scratch: a folder for temporary files.
    """
    database = Database(scratch / "spill", Stop(), threads=1)
    try:
        yield Finder(database)
    finally:
        database.close()
