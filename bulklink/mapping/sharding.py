"""Shards of a checked mapping: rows of some of its contacts, each sealed as a plan of its own.

The rules that compare rows compare those of one contact, so a shard is checked as the whole was.
"""
# ruff: noqa: S608

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from bulklink.mapping import duplicates, validate
from bulklink.mapping.looked_up_names import NO_UNKNOWN_ROWS, name_rows_statements
from bulklink.mapping.rejects import readable_id_sql
from bulklink.mapping.schema import NUMERIC_ID_COLUMNS, ORIGIN_ROW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulklink.mapping.checked import CheckedMapping

HASH_NAME = "sha256-64"
"""Name of the hash that assigns contacts to shards, in `job.json`."""
_HASH_BYTES = 8
SORTING = "Sorting the rows by shard"
_SCHEMA = "shard"
_PLACES = validate.RowPlaces("row", "file", ("line", "fault", "message", "raw", ORIGIN_ROW))


def shard_of(contact_id: str | None, shards: int) -> int:
    """Return the shard of a contact, from 1: the first 8 bytes of its SHA-256, modulo `shards`.

    Args:
        contact_id: id of the contact; rows without a valid one are of the contact "".
        shards: number of shards.
    """
    digest = hashlib.sha256((contact_id or "").encode()).digest()
    return int.from_bytes(digest[:_HASH_BYTES], "big") % shards + 1


def _shard_sql(shards: int) -> str:
    """Build the shard of a row of `checked_rows`, as `shard_of` computes it."""
    contact = f"coalesce({readable_id_sql('contact_id')}, '')"
    sha256 = f"left(sha256({contact}), {2 * _HASH_BYTES})"
    return f"(('0x' || {sha256})::UBIGINT % {shards} + 1)::USMALLINT"


def count_contacts(checked: CheckedMapping) -> int:
    """Count the contacts of the rows that are not refused."""
    return int(checked.database.fetch_one("SELECT count(DISTINCT contact_id) FROM good")[0])


def split_mapping(checked: CheckedMapping, shards: int) -> Iterator[tuple[int, CheckedMapping]]:
    """Split a mapping by contact, and yield each shard that has rows with its number, from 1.

    Rows are numbered within their shard, in the order of the mapping. A shard is valid until the
    next one is taken; then, of the mapping itself only the shards are left.

    Args:
        checked: the mapping, measured and without further questions.
        shards: number of shards.
    """
    database = checked.database
    checked.stop.begin_stage(SORTING, single_query=True)
    known = [column.known for column in checked.columns]
    numbers = [f"n_{column}" for column in NUMERIC_ID_COLUMNS if column in known]
    cells = [f"c{place}" for place in range(len(checked.columns))]
    kept = ", ".join(["file", *cells, *numbers, "flags", *_PLACES.others])
    database.execute(
        f"CREATE TABLE sharded AS SELECT {kept}, {_shard_sql(shards)} AS shard FROM checked_rows "
        f"ORDER BY shard, {ORIGIN_ROW}"
    )
    database.execute("DROP TABLE staged")
    database.halve_memory()  # sealed shards are read while the database holds the others
    sizes = list(
        database.rows(
            "SELECT shard, min(rowid), max(rowid) FROM sharded GROUP BY shard ORDER BY shard"
        )
    )
    for shard, first, last in sizes:
        with database.schema(_SCHEMA):
            database.execute(
                f"CREATE VIEW staged AS SELECT * EXCLUDE (shard), rowid - {first} + 1 AS row "
                f"FROM sharded WHERE rowid BETWEEN {first} AND {last}"
            )
            yield int(shard), _checked_shard(checked, rows=last - first + 1)


def _checked_shard(checked: CheckedMapping, rows: int) -> CheckedMapping:
    """Check the rows of the shard in the view `staged`; their order and ids are known."""
    database, columns, writer = checked.database, checked.columns, checked.plan_writer
    options = writer.options
    guards = validate.has_guards(options, columns)
    stored = rows <= validate.MAX_STORED_ROWS
    database.execute(validate.base_rows_sql(options, columns, _PLACES, stored=stored))
    database.execute(
        validate.checked_rows_view_sql(options, columns, checked.suspects, guards=guards)
    )
    statistics = validate.collect_row_statistics(database, options)
    for statement in duplicates.duplicate_tables_sql(statistics.group_key_columns()):
        database.execute(statement)
    database.execute(NO_UNKNOWN_ROWS)
    conflicts, repeated = map(int, database.fetch_one(duplicates.duplicate_counts_sql()))
    unknown = 0
    if writer.names_looked_up:
        for statement in name_rows_statements():
            database.execute(statement)
        unknown = int(database.fetch_one("SELECT count(*) FROM unknown_rows")[0])
    if writer.compared:
        database.execute(
            f"CREATE VIEW fetched_deals AS SELECT staged.row, fetched.* EXCLUDE (row) "
            f"FROM plan.main.fetched_deals AS fetched JOIN staged ON {ORIGIN_ROW} = fetched.row"
        )
    return replace(
        checked,
        warnings=(),
        rejected=statistics.faulty + conflicts + unknown,
        duplicates=repeated,
        plan_writer=replace(writer, statistics=statistics, is_shard=True),
    )
