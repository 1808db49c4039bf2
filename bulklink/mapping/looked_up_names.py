"""SQL for looked-up names: the deals and owners to look up, and the rows to name or refuse.

The tables `looked_up_deals` and `looked_up_owners` hold ids and names. A plan is a relation with
the columns of `plan.parquet`, sealed or not yet sealed (`GOOD_ROWS`).
"""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bulklink.duckdb_sql import literal
from bulklink.mapping import faults
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NAME_COLUMNS, OWN_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulklink.mapping.database import Database

_GOOD_COLUMNS = ("row", "op", *ID_COLUMNS, *NAME_COLUMNS, GUARD)
GOOD_ROWS = (
    f"(SELECT {', '.join(f'{name} AS {OWN_PREFIX}{name}' for name in _GOOD_COLUMNS)}, "
    f"first AS {OWN_PREFIX}duplicate_of FROM good)"
)
"""The rows of a checked mapping, as a plan that is not sealed yet."""


class RecordEmails(msgspec.Struct, frozen=True):
    """A deal or owner, and the number of its links and relinks in a plan.

    Args:
        id: its id.
        name: its name; None if unknown.
        emails: number of emails.
    """

    id: str
    name: str | None
    emails: int


def records_with_most_emails_sql(ident: str, name: str, limit: int) -> str:
    """Build the query of the deals or owners with the most links and relinks.

    Args:
        ident: column of the ids, `deal_id` or `owner_id`.
        name: column of their names.
        limit: maximum number of rows.
    """
    return (
        f"SELECT bulklink_{ident}, min(bulklink_{name}), count(*) AS emails, count(*) OVER () "
        f"FROM {GOOD_ROWS} WHERE bulklink_op <> 'unlink' AND bulklink_duplicate_of IS NULL "
        f"GROUP BY bulklink_{ident} ORDER BY emails DESC, bulklink_{ident} LIMIT {limit}"
    )


def insert_names(
    database: Database, deals: Iterable[tuple[str, str]], owners: Iterable[tuple[str, str]]
) -> None:
    """Create the tables of the names that were looked up.

    Args:
        database: database to create them in.
        deals: pairs of a deal's id and name; a deal that is missing does not exist.
        owners: pairs of an owner's id and name; an owner that is missing does not exist.
    """
    for kind, pairs in (("deals", deals), ("owners", owners)):
        database.execute(f"CREATE TABLE answered_{kind} (id VARCHAR, name VARCHAR)")
        database.insert_all(f"answered_{kind}", pairs)
        # A server may list an id twice, and a join must not list its rows twice.
        database.execute(
            f"CREATE TABLE looked_up_{kind} AS SELECT id, min(name) AS name FROM answered_{kind}"
            " GROUP BY id"
        )
        database.execute(f"DROP TABLE answered_{kind}")


def unnamed_ids_sql(plan: str, ident: str, name: str) -> str:
    """Build the query of the distinct ids of links and relinks without a name.

    Args:
        plan: SQL of a plan.
        ident: column of the ids, `deal_id` or `owner_id`.
        name: column of their names.
    """
    return (
        f"SELECT DISTINCT bulklink_{ident} AS id FROM {plan} "
        f"WHERE bulklink_{name} IS NULL AND bulklink_op <> 'unlink' "
        "AND bulklink_duplicate_of IS NULL"
    )


def names_join_sql(prefix: str = OWN_PREFIX) -> str:
    """Build the joins of the rows of `plan` with the names that they lack.

    Args:
        prefix: prefix of the columns of `plan`.
    """
    return (
        f"LEFT JOIN looked_up_deals ON looked_up_deals.id = plan.{prefix}deal_id "
        f"AND plan.{prefix}deal_name IS NULL "
        f"LEFT JOIN looked_up_owners ON looked_up_owners.id = plan.{prefix}owner_id "
        f"AND plan.{prefix}owner_name IS NULL AND plan.{prefix}op <> 'unlink'"
    )


def unknown_reason_sql(prefix: str = OWN_PREFIX) -> str:
    """Build the reason why a row of `plan`, joined with the names that it lacks, is refused."""
    return (
        f"CASE WHEN plan.{prefix}op = 'unlink' THEN NULL "
        f"WHEN plan.{prefix}deal_name IS NULL AND looked_up_deals.name IS NULL "
        f"THEN {literal(faults.UNKNOWN_DEAL)} "
        f"WHEN plan.{prefix}owner_name IS NULL AND looked_up_owners.name IS NULL "
        f"THEN {literal(faults.UNKNOWN_OWNER)} END"
    )


NO_UNKNOWN_ROWS = (
    "CREATE TABLE unknown_rows (row BIGINT, unknown VARCHAR, unknown_column VARCHAR, "
    "unknown_message VARCHAR)"
)
"""Creates the table of the rows whose deal or owner does not exist; empty without look-ups."""


def name_rows_statements() -> list[str]:
    """Build the statements that add the names to `good`, and unknown rows to their table.

    A duplicate of a row that is refused here stays a duplicate, as after the look-ups of a run.
    """
    joins = names_join_sql("")
    deal, owner = (faults.unknown_record_message(kind, f"{kind}_id") for kind in ("deal", "owner"))
    is_deal = f"unknown = {literal(faults.UNKNOWN_DEAL)}"
    return [
        "ALTER VIEW good RENAME TO unnamed_rows",
        f"INSERT INTO unknown_rows SELECT row, unknown, "
        f"CASE WHEN {is_deal} THEN 'deal_id' ELSE 'owner_id' END, "
        f"CASE WHEN {is_deal} THEN {deal} ELSE {owner} END "
        f"FROM (SELECT plan.row, plan.deal_id, plan.owner_id, {unknown_reason_sql('')} AS unknown "
        f"FROM unnamed_rows AS plan {joins} WHERE NOT plan.repeated) "
        "WHERE unknown IS NOT NULL ORDER BY row",
        "CREATE VIEW good AS SELECT plan.* REPLACE ("
        "coalesce(plan.deal_name, looked_up_deals.name) AS deal_name, "
        "coalesce(plan.owner_name, looked_up_owners.name) AS owner_name) "
        f"FROM unnamed_rows AS plan {joins} WHERE plan.row NOT IN (SELECT row FROM unknown_rows)",
    ]
