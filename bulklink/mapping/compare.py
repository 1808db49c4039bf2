"""Comparison of a checked mapping with fetched emails, by set operations."""
# ruff: noqa: S608

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bulklink.counts import count_of, inflect
from bulklink.duckdb_sql import identifier
from bulklink.errors import BadFileError
from bulklink.mapping.checked import CheckedMapping, check
from bulklink.mapping.database import Database
from bulklink.mapping.headers import suggest_headers
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.looked_up_names import GOOD_ROWS
from bulklink.mapping.original_rows import load_user_columns
from bulklink.mapping.plan_layout import plan_relation
from bulklink.mapping.plan_writer import PLAN_FILE
from bulklink.mapping.schema import (
    FETCHED_COLUMNS,
    GUARD,
    OWN_PREFIX,
    MappingOptions,
    normalize_header,
)
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulklink.mapping.interrupt import PlanningStop

COMPARING = "Comparing with the fetched emails"
#: Maximum number of deals, contacts and moves in a comparison: those with the most changes.
MAX_COMPARISON_ROWS = 20
_DEAL_NAME = "from_deal_name"


class DealChange(msgspec.Struct, frozen=True):
    """Changes of one deal.

    Args:
        deal_id: id of the deal.
        deal_name: its name; None if unknown.
        leave: emails that are moved away from it or unlinked.
        come: emails that are moved or linked to it.
    """

    deal_id: str
    deal_name: str | None
    leave: int
    come: int


class DealMove(msgspec.Struct, frozen=True):
    """Emails that are moved from one deal to another, linked to a deal, or unlinked.

    Args:
        from_deal_id: deal that the emails are on; None if they are on none.
        from_deal_name: its name; None if unknown.
        to_deal_id: deal that the emails are moved to; None if they are unlinked.
        to_deal_name: its name; None if unknown.
        emails: number of emails.
    """

    from_deal_id: str | None
    from_deal_name: str | None
    to_deal_id: str | None
    to_deal_name: str | None
    emails: int


class ContactChange(msgspec.Struct, frozen=True):
    """Changes of one contact.

    Args:
        contact_id: id of the contact.
        change: emails that change.
        right: emails that are already on the right deal.
        other: emails that are neither.
    """

    contact_id: str
    change: int
    right: int
    other: int


class Comparison(msgspec.Struct, frozen=True):
    """Changes that a plan would make; `moved` to `not_in_file` count each message exactly once.

    Args:
        file: the file of fetched emails, as the user named it.
        emails: number of fetched emails.
        moved: messages that are moved from one deal to another.
        linked: messages on no deal that are linked to one.
        unlinked: messages that are unlinked from their deal.
        right: messages that are already on the right deal.
        already_linked: links of messages that are on another deal, which Zoho refuses.
        changed_since: messages that are not on the deal that their guard names.
        not_told: messages whose deal is missing in the file.
        not_this_contacts: messages that the file lists under other contacts only.
        not_in_file: messages that the file does not list.
        other_owner: listed messages that are not in the mailbox of the planned owner.
        from_deals: number of deals that emails are moved away from.
        to_deals: number of deals that emails are moved to.
        moves: pairs of deals between which the most emails are moved.
        moves_in_all: number of all such pairs.
        deals: deals that the most emails leave or come to.
        deals_in_all: number of all deals that emails leave or come to.
        contacts: contacts with the most emails that change.
        contacts_in_all: number of contacts in the plan.
    """

    file: str
    emails: int
    moved: int
    linked: int
    unlinked: int
    right: int
    already_linked: int
    changed_since: int
    not_told: int
    not_this_contacts: int
    not_in_file: int
    other_owner: int
    from_deals: int
    to_deals: int
    moves: tuple[DealMove, ...]
    moves_in_all: int
    deals: tuple[DealChange, ...]
    deals_in_all: int
    contacts: tuple[ContactChange, ...]
    contacts_in_all: int


class FetchedEmails(msgspec.Struct, frozen=True):
    """Fetched emails, read from their file and ready for a comparison.

    Args:
        name: the file, as the user named it.
        path: Parquet file with the emails, in the form of a sealed plan.
        deal_name: SQL of the name of the deal that an email is on.
    """

    name: str
    path: Path
    deal_name: str

    def relation(self, database: Database) -> str:
        """Build the SQL relation of the emails, each with the deal that it is on."""
        columns = ", ".join(
            f"{OWN_PREFIX}{name} AS {name}" for name in ("contact_id", "owner_id", "message_id")
        )
        return (
            f"(SELECT {columns}, {OWN_PREFIX}{GUARD} AS present, {self.deal_name} AS deal_name"
            f" FROM {plan_relation(database, self.path)}"
            f" WHERE {OWN_PREFIX}duplicate_of IS NULL)"
        )


def read_fetched_emails(
    name: str,
    scratch: Path,
    *,
    memory: str,
    stop: PlanningStop,
    warn: Callable[[str], None],
) -> FetchedEmails:
    """Read a file of fetched emails.

    Args:
        name: the file, in any format that `fetch` writes.
        scratch: folder for temporary files, which the result needs.
        memory: DuckDB's memory limit, such as `512MB`.
        stop: stops the work from another thread.
        warn: called with a warning if rows of the file cannot be read.

    Raises:
        BadFileError: if the file cannot be read, or does not hold fetched emails.
        InterruptedPlanningError: if `stop` stopped it.
    """
    options = MappingOptions(op=Op.UNLINK, user_columns=("op",))
    folder = scratch / "fetched"
    folder.mkdir()
    with check(find_sources([name]), options, folder, stop=stop, memory=memory) as mapping:
        if mapping.rejected:
            rows, are = count_of(mapping.rejected, "row"), inflect(mapping.rejected, "is", "are")
            warn(f"{rows} of {name} cannot be read and {are} left out.")
        mapping.seal(folder)
    path = folder / PLAN_FILE
    columns = load_user_columns(path)
    if not any(column.known == GUARD for column in columns):
        _refuse_without_column(GUARD, name, [column.header for column in columns])
    names = [
        column.name
        for column in columns
        if normalize_header(column.header) == normalize_header(_DEAL_NAME)
    ]
    deal_name = f"nullif({identifier(names[0])}, '')" if names else "NULL::VARCHAR"
    return FetchedEmails(name, path, deal_name)


def compare(checked: CheckedMapping, fetched: FetchedEmails) -> Comparison:
    """Compare a checked mapping with fetched emails, and add their deals to its plan.

    Args:
        checked: the mapping, before it is sealed, with the names that were looked up.
        fetched: the emails.

    Raises:
        InterruptedPlanningError: if the work is stopped from another thread.
    """
    database = checked.database
    checked.stop.begin_stage(COMPARING)
    for statement in _STATEMENTS:
        database.execute(statement.format(fetched=fetched.relation(database)))
    comparison = _compared(database, fetched.name)
    for table in _PASSING_TABLES:
        database.execute(f"DROP TABLE {table}")
    checked.keep_fetched_deals()
    return comparison


def _refuse_without_column(column: str, name: str, columns: list[str]) -> None:
    raise BadFileError(
        f"There is no column {column}: fetch did not write this file.",
        where=name,
        advice=suggest_headers(column, columns),
    )


def _compared(database: Database, name: str) -> Comparison:
    counts = {result: int(count) for result, count in database.rows(_COUNTS)}
    from_deals, to_deals, deals = database.fetch_one(_DEAL_COUNTS)
    return Comparison(
        file=name,
        emails=int(database.fetch_one("SELECT count(*) FROM fetched")[0]),
        **{result: counts.get(result, 0) for result in _RESULTS},
        other_owner=int(database.fetch_one("SELECT count(*) FROM compared WHERE other_owner")[0]),
        from_deals=int(from_deals),
        to_deals=int(to_deals),
        moves=tuple(DealMove(*row) for row in database.rows(_MOVES)),
        moves_in_all=int(database.fetch_one(_MOVE_COUNT)[0]),
        deals=tuple(DealChange(*row) for row in database.rows(_DEALS)),
        deals_in_all=int(deals),
        contacts=tuple(ContactChange(*row) for row in database.rows(_CONTACTS)),
        contacts_in_all=int(database.fetch_one(_CONTACT_COUNT)[0]),
    )


_RESULTS = (
    *("moved", "linked", "unlinked", "right", "already_linked", "changed_since", "not_told"),
    *("not_this_contacts", "not_in_file"),
)
CHANGES = "('moved', 'linked', 'unlinked')"
"""Comparison results that are changes, as an SQL list."""


def comparison_result_sql(*, op: str, present: str, wanted: str, guard: str) -> str:
    """Build the result of comparing an email: `moved`, `linked`, `right` and the like.

    Args:
        op: SQL of the operation.
        present: SQL of the deal that it is on, or `none`; not NULL.
        wanted: SQL of the deal that it belongs on, or `none`.
        guard: SQL of its guard, NULL if it has none.
    """
    guards = f"string_split({guard}, '{GUARD_SEPARATOR}')"
    return (
        f"CASE WHEN {present} = {wanted} THEN 'right' "
        f"WHEN {guard} IS NOT NULL AND NOT list_contains({guards}, {present}) "
        "THEN 'changed_since' "
        f"WHEN {op} = 'link' AND {present} <> '{NO_DEAL}' THEN 'already_linked' "
        f"WHEN {op} = 'unlink' THEN 'unlinked' "
        f"WHEN {present} = '{NO_DEAL}' THEN 'linked' ELSE 'moved' END"
    )


_RESULT = comparison_result_sql(op="op", present="present", wanted="wanted", guard="guard")
_STATEMENTS = (
    "CREATE TABLE fetched AS SELECT * FROM {fetched}",
    # An email in two mailboxes is listed twice; the one of the planned owner takes precedence.
    "CREATE TABLE own AS SELECT contact_id, message_id, owner_id, any_value(present) AS present "
    "FROM fetched GROUP BY contact_id, message_id, owner_id",
    "CREATE TABLE listed AS SELECT contact_id, message_id, min(present) AS present "
    "FROM own GROUP BY contact_id, message_id",
    "CREATE TABLE anywhere AS SELECT DISTINCT message_id FROM listed",
    "CREATE TABLE planned AS SELECT bulklink_row AS row, bulklink_op AS op, "
    "bulklink_contact_id AS contact_id, bulklink_owner_id AS owner_id, "
    f"bulklink_message_id AS message_id, coalesce(bulklink_deal_id, '{NO_DEAL}') AS wanted, "
    f"bulklink_{GUARD} AS guard, bulklink_deal_name AS wanted_name FROM {GOOD_ROWS} "
    "WHERE bulklink_duplicate_of IS NULL",
    "CREATE TABLE matched AS SELECT planned.*, anywhere.message_id IS NOT NULL AS anywhere, "
    "listed.message_id IS NOT NULL AS listed, own.message_id IS NULL AND listed.message_id IS NOT "
    "NULL AS other_owner, CASE WHEN own.message_id IS NULL THEN listed.present ELSE own.present "
    "END AS present FROM planned "
    "LEFT JOIN own ON own.contact_id = planned.contact_id AND own.message_id = planned.message_id "
    "AND own.owner_id = planned.owner_id "
    "LEFT JOIN listed ON listed.contact_id = planned.contact_id "
    "AND listed.message_id = planned.message_id "
    "LEFT JOIN anywhere ON anywhere.message_id = planned.message_id",
    "DROP TABLE planned",
    "DROP TABLE own",
    "CREATE TABLE compared AS SELECT *, CASE "
    "WHEN NOT listed THEN CASE WHEN anywhere THEN 'not_this_contacts' ELSE 'not_in_file' END "
    f"WHEN present IS NULL THEN 'not_told' ELSE {_RESULT} END AS result FROM matched",
    "DROP TABLE matched",
    "CREATE TABLE fetched_names AS SELECT present AS deal_id, min(deal_name) AS name FROM fetched "
    "WHERE deal_name IS NOT NULL GROUP BY present",
    # The name that is sent takes precedence over the one that was fetched.
    "CREATE TABLE deal_names AS SELECT deal_id, coalesce(min(wanted_name), min(name)) AS name FROM "
    "(SELECT wanted AS deal_id, wanted_name, NULL AS name FROM compared "
    "WHERE wanted_name IS NOT NULL AND op <> 'unlink' "
    "UNION ALL SELECT deal_id, NULL, name FROM fetched_names) GROUP BY deal_id",
    f"CREATE TABLE fetched_deals AS SELECT row, present AS {FETCHED_COLUMNS[0]}, "
    f"deal_names.name AS {FETCHED_COLUMNS[1]} FROM compared LEFT JOIN deal_names "
    f"ON deal_names.deal_id = present AND present <> '{NO_DEAL}' WHERE present IS NOT NULL",
    "CREATE TABLE deals AS SELECT deal_id, sum(leave)::BIGINT AS leave, sum(come)::BIGINT AS come "
    "FROM (SELECT present AS deal_id, 1 AS leave, 0 AS come FROM compared "
    "WHERE result IN ('moved', 'unlinked') UNION ALL SELECT wanted, 0, 1 FROM compared "
    "WHERE result IN ('moved', 'linked')) GROUP BY deal_id",
)
_PASSING_TABLES = (
    *("fetched", "listed", "anywhere", "compared", "fetched_names", "deal_names", "deals"),
)
_COUNTS = "SELECT result, count(*) FROM compared GROUP BY result"
_DEAL_COUNTS = "SELECT count(*) FILTER (leave > 0), count(*) FILTER (come > 0), count(*) FROM deals"
_DEALS = f"""
SELECT most.deal_id, name, most.leave, most.come
FROM (
    SELECT * FROM deals ORDER BY leave + come DESC, deal_id LIMIT {MAX_COMPARISON_ROWS}
) AS most
LEFT JOIN deal_names ON deal_names.deal_id = most.deal_id
ORDER BY most.leave + most.come DESC, most.deal_id
"""
_MOVES = f"""
SELECT nullif(present, '{NO_DEAL}'), from_names.name, nullif(wanted, '{NO_DEAL}'), to_names.name,
    emails
FROM (
    SELECT present, wanted, count(*) AS emails FROM compared WHERE result IN {CHANGES}
    GROUP BY present, wanted ORDER BY emails DESC, present, wanted LIMIT {MAX_COMPARISON_ROWS}
) AS most
LEFT JOIN deal_names AS from_names ON from_names.deal_id = present
LEFT JOIN deal_names AS to_names ON to_names.deal_id = wanted
ORDER BY emails DESC, present, wanted
"""
_MOVE_COUNT = f"""
SELECT count(*) FROM (SELECT DISTINCT present, wanted FROM compared WHERE result IN {CHANGES})
"""
_CONTACTS = f"""
SELECT contact_id, count(*) FILTER (result IN {CHANGES}) AS change,
    count(*) FILTER (result = 'right') AS right_already, count(*) - change - right_already
FROM compared GROUP BY contact_id HAVING change > 0
ORDER BY change DESC, contact_id LIMIT {MAX_COMPARISON_ROWS}
"""
_CONTACT_COUNT = "SELECT count(DISTINCT contact_id) FROM compared"
