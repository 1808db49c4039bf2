"""What deals and owners are called, as the mapping or the CRM says."""
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterable

from bulklink.mapping.database import Database, literal
from bulklink.mapping.plan_layout import relation
from bulklink.runs.folder import RunFolder


def messages(database: Database, folder: RunFolder) -> str:
    """Build the relation of a plan's messages, with the names that were looked up.

    Duplicates are left out. The deal of an unlink is none.
    """
    owner, deal, names = "plan.bulklink_owner_name", "plan.bulklink_deal_name", ""
    if folder.names.is_file():
        owner, deal = f"coalesce({owner}, names.owner_name)", f"coalesce({deal}, names.deal_name)"
        names = f"POSITIONAL JOIN read_parquet({literal(str(folder.names))}) AS names"
    return (
        f"(SELECT plan.* EXCLUDE (bulklink_owner_name, bulklink_deal_name, bulklink_deal_id), "
        f"{owner} AS bulklink_owner_name, {deal} AS bulklink_deal_name, "
        "if(plan.bulklink_op = 'unlink', NULL, plan.bulklink_deal_id) AS bulklink_deal_id "
        f"FROM {relation(database, folder.plan)} AS plan {names} "
        "WHERE plan.bulklink_duplicate_of IS NULL)"
    )


def names_of(
    database: Database, folder: RunFolder, kind: str, ids: Iterable[str]
) -> dict[str, str]:
    """Return the names of some deals or owners; those that are not known are missing.

    Args:
        database: to ask.
        folder: of the run.
        kind: `deal` or `owner`.
        ids: of these.
    """
    wanted = ", ".join(map(literal, ids))
    if not wanted or not folder.plan.is_file():
        return {}
    ident, name = f"bulklink_{kind}_id", f"bulklink_{kind}_name"
    query = (
        f"SELECT {ident}, min({name}) FROM {messages(database, folder)} "
        f"WHERE {ident} IN ({wanted}) AND {name} IS NOT NULL GROUP BY {ident}"
    )
    return {found[0]: found[1] for found in database.rows(query)}
