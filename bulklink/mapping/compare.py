"""Comparison of a sealed plan with fetched emails, by set operations."""
# ruff: noqa: S608

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bulklink.duckdb_sql import identifier
from bulklink.errors import BadFileError
from bulklink.mapping.checked import check
from bulklink.mapping.database import Database
from bulklink.mapping.headers import suggest_headers
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.original_rows import load_user_columns
from bulklink.mapping.plan_layout import plan_relation
from bulklink.mapping.plan_writer import PLAN_FILE
from bulklink.mapping.schema import GUARD, MappingOptions, normalize_header
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulklink.mapping.interrupt import PlanningStop

#: Deals, and contacts, that a comparison lists: those with the most changes.
MAX_COMPARISON_ROWS = 20
_DEAL_NAME = "from_deal_name"


class DealChange(msgspec.Struct, frozen=True):
    """Changes of one deal.

    Args:
        deal_id: id of the deal.
        deal_name: its name; None if unknown.
        leave: emails that leave it.
        come: emails that are moved to it.
    """

    deal_id: str
    deal_name: str | None
    leave: int
    come: int


class ContactChange(msgspec.Struct, frozen=True):
    """Changes of one contact.

    Args:
        contact_id: id of the contact.
        change: emails that change.
        right: emails that are as wanted already.
        other: emails that are neither.
    """

    contact_id: str
    change: int
    right: int
    other: int


class Comparison(msgspec.Struct, frozen=True):
    """What a plan would change; each message is counted once, from `moved` to `not_in_file`.

    Args:
        file: the file of fetched emails, as the user named it.
        emails: number of fetched emails.
        moved: messages that go from one deal to another.
        linked: messages that go from no deal to one.
        unlinked: messages that leave their deal.
        right: messages that are as wanted already.
        already_linked: links of messages that are on another deal, which Zoho refuses.
        changed_since: messages that are not on the deal that their guard names.
        not_told: messages whose deal the file does not have.
        not_this_contacts: messages that the file lists under other contacts only.
        not_in_file: messages that the file does not list.
        other_owner: listed messages that are in the mailbox of another user than planned.
        from_deals: number of deals that emails leave.
        to_deals: number of deals that emails are moved to.
        deals: deals with the most emails that leave or come.
        deals_in_all: number of deals that emails leave or are moved to.
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
    deals: tuple[DealChange, ...]
    deals_in_all: int
    contacts: tuple[ContactChange, ...]
    contacts_in_all: int


def compare(
    plan: Path,
    fetched_file: str,
    scratch: Path,
    *,
    memory: str,
    stop: PlanningStop,
    warn: Callable[[str], None],
) -> Comparison:
    """Compare a sealed plan with fetched emails.

    Args:
        plan: the sealed plan.
        fetched_file: name of a file that `fetch` wrote, in any of its formats.
        scratch: folder for temporary files.
        memory: DuckDB's memory limit, such as `512MB`.
        stop: stops the work from another thread.
        warn: called with a warning if rows of the file cannot be read.

    Raises:
        BadFileError: if the file cannot be read, or does not hold fetched emails.
        InterruptedPlanningError: if `stop` stopped it.
    """
    with closing(Database(scratch / "spill", stop, memory=memory)) as database:
        rows = _fetched_rows_sql(database, fetched_file, scratch, memory, stop, warn)
        for statement in _STATEMENTS:
            database.execute(statement.format(fetched=rows, plan=plan_relation(database, plan)))
        return _compared(database, fetched_file)


def _refuse_without(column: str, name: str, columns: list[str]) -> None:
    raise BadFileError(
        f"There is no column {column}: these are no emails that fetch wrote.",
        where=name,
        advice=suggest_headers(column, columns),
    )


def _fetched_rows_sql(
    database: Database,
    name: str,
    scratch: Path,
    memory: str,
    stop: PlanningStop,
    warn: Callable[[str], None],
) -> str:
    """Read the file as a mapping of unlinks, whose guard is the deal that each email is on."""
    options = MappingOptions(op=Op.UNLINK, user_columns=("op",))
    folder = scratch / "fetched"
    folder.mkdir()
    with check(find_sources([name]), options, folder, stop=stop, memory=memory) as mapping:
        if mapping.rejected:
            warn(f"{mapping.rejected:,} rows of {name} cannot be read, and are left out.")
        mapping.seal(folder)
    columns = load_user_columns(folder / PLAN_FILE)
    if not any(column.known == GUARD for column in columns):
        _refuse_without(GUARD, name, [column.header for column in columns])
    names = [
        column.name
        for column in columns
        if normalize_header(column.header) == normalize_header(_DEAL_NAME)
    ]
    deal_name = f"nullif({identifier(names[0])}, '')" if names else "NULL::VARCHAR"
    return (
        f"(SELECT bulklink_contact_id AS contact_id, bulklink_owner_id AS owner_id, "
        f"bulklink_message_id AS message_id, bulklink_{GUARD} AS present, "
        f"{deal_name} AS deal_name FROM {plan_relation(database, folder / PLAN_FILE)} "
        "WHERE bulklink_duplicate_of IS NULL)"
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
        deals=tuple(DealChange(*row) for row in database.rows(_DEALS)),
        deals_in_all=int(deals),
        contacts=tuple(ContactChange(*row) for row in database.rows(_CONTACTS)),
        contacts_in_all=int(database.fetch_one(_CONTACT_COUNT)[0]),
    )


_RESULTS = (
    *("moved", "linked", "unlinked", "right", "already_linked", "changed_since", "not_told"),
    *("not_this_contacts", "not_in_file"),
)
_CHANGES = "('moved', 'linked', 'unlinked')"
_STATEMENTS = (
    "CREATE TABLE fetched AS SELECT * FROM {fetched}",
    # An email in two mailboxes is listed twice; the one of the planned owner takes precedence.
    "CREATE TABLE own AS SELECT contact_id, message_id, owner_id, any_value(present) AS present "
    "FROM fetched GROUP BY contact_id, message_id, owner_id",
    "CREATE TABLE listed AS SELECT contact_id, message_id, min(present) AS present "
    "FROM own GROUP BY contact_id, message_id",
    "CREATE TABLE anywhere AS SELECT DISTINCT message_id FROM listed",
    "CREATE TABLE planned AS SELECT bulklink_op AS op, bulklink_contact_id AS contact_id, "
    "bulklink_owner_id AS owner_id, bulklink_message_id AS message_id, "
    f"coalesce(bulklink_deal_id, '{NO_DEAL}') AS wanted, bulklink_{GUARD} AS guard, "
    "bulklink_deal_name AS wanted_name FROM {plan} WHERE bulklink_duplicate_of IS NULL",
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
    "WHEN present IS NULL THEN 'not_told' "
    "WHEN present = wanted THEN 'right' "
    f"WHEN guard IS NOT NULL AND NOT list_contains(string_split(guard, '{GUARD_SEPARATOR}'),"
    " present) "
    "THEN 'changed_since' "
    f"WHEN op = 'link' AND present <> '{NO_DEAL}' THEN 'already_linked' "
    "WHEN op = 'unlink' THEN 'unlinked' "
    f"WHEN present = '{NO_DEAL}' THEN 'linked' ELSE 'moved' END AS result FROM matched",
    "DROP TABLE matched",
    "CREATE TABLE deals AS SELECT deal_id, sum(leave)::BIGINT AS leave, sum(come)::BIGINT AS come "
    "FROM (SELECT present AS deal_id, 1 AS leave, 0 AS come FROM compared "
    "WHERE result IN ('moved', 'unlinked') UNION ALL SELECT wanted, 0, 1 FROM compared "
    "WHERE result IN ('moved', 'linked')) GROUP BY deal_id",
)
_COUNTS = "SELECT result, count(*) FROM compared GROUP BY result"
_DEAL_COUNTS = "SELECT count(*) FILTER (leave > 0), count(*) FILTER (come > 0), count(*) FROM deals"
_DEALS = f"""
SELECT most.deal_id, any_value(names.name), most.leave, most.come
FROM (
    SELECT present AS deal_id, deal_name AS name FROM fetched WHERE deal_name IS NOT NULL
    UNION ALL
    SELECT wanted, wanted_name FROM compared WHERE wanted_name IS NOT NULL AND op <> 'unlink'
) AS names
RIGHT JOIN (
    SELECT * FROM deals ORDER BY leave + come DESC, deal_id LIMIT {MAX_COMPARISON_ROWS}
) AS most
    ON names.deal_id = most.deal_id
GROUP BY most.deal_id, most.leave, most.come
ORDER BY most.leave + most.come DESC, most.deal_id
"""
_CONTACTS = f"""
SELECT contact_id, count(*) FILTER (result IN {_CHANGES}) AS change,
    count(*) FILTER (result = 'right') AS right_already, count(*) - change - right_already
FROM compared GROUP BY contact_id HAVING change > 0
ORDER BY change DESC, contact_id LIMIT {MAX_COMPARISON_ROWS}
"""
_CONTACT_COUNT = "SELECT count(DISTINCT contact_id) FROM compared"
