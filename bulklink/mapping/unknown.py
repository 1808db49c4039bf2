"""Rows that are refused after the look-ups: their deal or owner is not there."""
# ruff: noqa: S608

from __future__ import annotations

import csv
import os
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from bulklink.mapping import faults
from bulklink.mapping.database import Database, literal
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import OWN_COLUMNS, layout_of, relation
from bulklink.mapping.rejects import OUR_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Columns of the query before the user's own, which come behind all of bulklink's.
_FRONT = ("file", "row", "line", "refused", "deal_id", "owner_id")
_PAIRS = 2048


def add_unknown(plan: Path, names: Path, rejects: Path) -> int:
    """Add rows whose deal or owner was not found to `rejects.csv`, which may not be there yet.

    Args:
        plan: the sealed plan.
        names: what was looked up for it.
        rejects: the file to add to.

    Returns:
        How many rows were added.
    """
    spill = plan.with_name(plan.name + ".spill")
    with closing(Database(spill, Stop(), threads=1, memory="128MB")) as database:
        added = 0
        for row in _refused(database, plan, names):
            if not added and not rejects.exists():
                _append(rejects, [*layout_of(database, plan).headers, *OUR_COLUMNS])
            _append(rejects, row)
            added += 1
        return added


class ForeignDeals(msgspec.Struct, frozen=True):
    """Rows that link an email to a deal of another contact: how many, and the first few."""

    rows: int
    first: tuple[int, ...]


def foreign_deals(plan: Path, contacts: Iterable[tuple[str, str]]) -> ForeignDeals:
    """Find rows whose deal is another contact's; contact roles are not seen.

    Args:
        plan: the sealed plan.
        contacts: pairs of a deal and its contact, as far as they were looked up.
    """
    spill = plan.with_name(plan.name + ".spill")
    with closing(Database(spill, Stop(), threads=1, memory="256MB")) as database:
        database.run("CREATE TABLE contacts (id VARCHAR, contact_id VARCHAR)")
        pairs = iter(contacts)
        while batch := list(islice(pairs, _PAIRS)):
            database.insert("contacts", batch)
        count, first = database.one(_FOREIGN.format(plan=relation(database, plan)))
    return ForeignDeals(int(count), tuple(first or ()))


_FOREIGN = """
SELECT count(*), min(bulklink_row, 3) FROM {plan} AS plan
JOIN contacts ON contacts.id = plan.bulklink_deal_id
WHERE contacts.contact_id <> plan.bulklink_contact_id AND bulklink_op <> 'unlink'
    AND bulklink_duplicate_of IS NULL
"""


def _append(rejects: Path, row: Iterable[Any]) -> None:
    file = os.open(rejects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(file, "a", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerow(row)


def _refused(database: Database, plan: Path, names: Path) -> Iterator[tuple[Any, ...]]:
    query = (
        "SELECT bulklink_file, plan.bulklink_row, bulklink_line, refused, bulklink_deal_id, "
        f"bulklink_owner_id, plan.* FROM {relation(database, plan)} AS plan "
        f"POSITIONAL JOIN read_parquet({literal(str(names))}) AS names "
        "WHERE refused IS NOT NULL AND bulklink_duplicate_of IS NULL"
    )
    for found in database.rows(query):
        file, row, line, reason, deal_id, owner_id = found[: len(_FRONT)]
        deal = reason == faults.UNKNOWN_DEAL
        column, raw = ("deal_id", deal_id) if deal else ("owner_id", owner_id)
        own = found[len(_FRONT) + len(OWN_COLUMNS) :]
        yield (*own, file, row, line, column, reason, raw)
