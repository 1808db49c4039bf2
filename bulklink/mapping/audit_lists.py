"""What an audit has yet to read, and what it read, by set operations on its emails and its log."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulklink.atomic_files import atomic_replace
from bulklink.duckdb_sql import literal
from bulklink.mapping.database import open_database, spill_folder
from bulklink.mapping.schema import id_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.interrupt import PlanningStop

_MEMORY = "256MB"
_LOG_TYPES = {
    **dict.fromkeys(("event", "contact_id", "deal_id", "code", "message"), "VARCHAR"),
    **dict.fromkeys(("contacts", "deals", "addresses"), "VARCHAR[]"),
    **dict.fromkeys(("deal", "changes"), "JSON"),
    **dict.fromkeys(("life", "part"), "BIGINT"),
    "done": "BOOLEAN",
    "since": "DOUBLE",
}


class TimelineRequest(NamedTuple):
    """A timeline that decides something for the emails of a contact.

    Args:
        deal_id: id of the deal.
        since: time from which it must be complete, in seconds since 1970.
        emails: emails of the contact, for a timeline.
    """

    deal_id: str
    since: float
    emails: float


class ReadDeal(NamedTuple):
    """A deal of a contact as the log has it.

    Args:
        contact_id: id of the contact.
        code: why the deals of the contact could not be read; None if they were.
        message: message of the refusal or failure.
        deal: the deal as JSON; None for a contact without deals.
        histories: the changes of the deal as JSON, a list for each line; None if not read.
        history_code: why its history is not known.
        history_since: the time from which it is complete, in seconds since 1970; None for all.
        addresses: addresses of the contact; None if unknown.
    """

    contact_id: str
    code: str | None
    message: str | None
    deal: str | None
    histories: list[str] | None
    history_code: str | None
    history_since: float | None
    addresses: list[str] | None


class AuditLists:
    """Lists of an audit.

    Args:
        emails: file that `write_sorted_emails` wrote.
        log: log of what was read.
        stop: interrupts the queries.
    """

    def __init__(self, emails: Path, log: Path, stop: PlanningStop) -> None:
        self._emails = emails
        self._log = log
        self._stop = stop

    def write_contacts(self, path: Path) -> int:
        """Write the contacts whose deals are still to be read, those with the most emails first.

        Args:
            path: file to write, an id a line.

        Returns:
            Their number.
        """
        return self._write(_CONTACTS, path)

    def write_role_deals(self, path: Path) -> int:
        """Write the deals that contacts have a role on and that are still to be read.

        An email on a deal that its contact does not list shows such a role, unless the file of
        emails says that the contact was the contact of the deal, which it then no longer is.

        Args:
            path: file to write, the ids of a deal and of a contact a line.

        Returns:
            The number of lines.
        """
        return self._write(_ROLE_DEALS, path)

    def write_addresses(self, path: Path) -> int:
        """Write the contacts with several deals whose addresses are still to be read.

        Args:
            path: file to write, an id a line.

        Returns:
            Their number.
        """
        return self._write(_ADDRESSES, path)

    def write_timelines(self, requests: Iterable[TimelineRequest], path: Path) -> int:
        """Write the deals whose timelines are still to be read, the most useful first.

        Args:
            requests: the timelines that decide something, in any order.
            path: file to write, the id of a deal and the earliest time a line.

        Returns:
            Their number.
        """
        with open_database(spill_folder(path), memory=_MEMORY, stop=self._stop) as database:
            database.execute(
                "CREATE TABLE requests (deal_id VARCHAR, since VARCHAR, emails VARCHAR)"
            )
            rows = ((deal_id, str(since), str(emails)) for deal_id, since, emails in requests)
            database.insert_all("requests", rows)
            return _write_lines(database, self._format(database, _TIMELINES), path)

    def read_deals(self) -> Iterator[ReadDeal]:
        """Yield the deals of each contact that was read or could not be read, by their ids."""
        with open_database(spill_folder(self._log), memory=_MEMORY, stop=self._stop) as database:
            for row in database.rows(self._format(database, _READ_DEALS)):
                yield ReadDeal(*row)

    def _write(self, query: str, path: Path) -> int:
        with open_database(spill_folder(path), memory=_MEMORY, stop=self._stop) as database:
            return _write_lines(database, self._format(database, query), path)

    def _format(self, database: Database, query: str) -> str:
        return query.format(
            log=database.files.read_json(self._log, _LOG_TYPES),
            emails=database.files.read_parquet(self._emails),
            id=literal(id_pattern("deal_id")),
        )


def _write_lines(database: Database, query: str, path: Path) -> int:
    """Write the single column of a query to a file, one value a line; return the lines."""
    count = 0
    with atomic_replace(path) as temporary, temporary.open("wb") as file:
        for batch in database.batches(query):
            count += len(batch)
            file.writelines(f"{row[0]}\n".encode() for row in batch)
    return count


_READ_CONTACTS = """
    SELECT unnest(contacts) AS contact_id FROM {log} WHERE event = 'batch' AND done
    UNION SELECT contact_id FROM {log} WHERE event = 'contact'
"""
_CONTACTS = f"""
WITH done AS ({_READ_CONTACTS}),
begun AS (SELECT unnest(contacts) AS contact_id FROM {{log}} WHERE event = 'batch' AND NOT done)
SELECT contact_id FROM (
    SELECT contact_id, count(*) AS emails FROM {{emails}} GROUP BY contact_id
) ANTI JOIN (SELECT contact_id FROM done UNION SELECT contact_id FROM begun) USING (contact_id)
ORDER BY emails DESC, contact_id
"""
_ROLE_DEALS = """
WITH listed AS (
    SELECT DISTINCT contact_id, candidates FROM {emails}
    WHERE candidates IS NOT NULL AND json_valid(candidates)
), known_deals AS (
    SELECT DISTINCT contact_id, deal->>'id' AS deal_id, deal->>'role' AS role FROM (
        SELECT contact_id, unnest(TRY_CAST(candidates AS JSON[])) AS deal FROM listed
    )
), own_deals AS (
    SELECT contact_id, deal_id FROM {log} WHERE event = 'deal'
    UNION SELECT contact_id, deal_id FROM known_deals WHERE role = 'false'
), role_deals AS (
    SELECT contact_id, deal_id FROM known_deals WHERE role = 'true'
    -- Zoho links an email only to a deal of its contact or of a contact role.
    UNION SELECT contact_id, deal_id FROM (
        SELECT DISTINCT contact_id, deal_id FROM {emails} WHERE regexp_full_match(deal_id, {id})
    ) ANTI JOIN own_deals USING (contact_id, deal_id)
)
SELECT concat(deal_id, ' ', contact_id) FROM role_deals
ANTI JOIN (
    SELECT unnest(deals) AS deal_id FROM {log} WHERE event = 'role_deals'
) USING (deal_id)
WHERE regexp_full_match(deal_id, {id}) ORDER BY deal_id, contact_id
"""
_ADDRESSES = """
SELECT contact_id FROM {log} SEMI JOIN (SELECT DISTINCT contact_id FROM {emails}) USING (contact_id)
ANTI JOIN (
    SELECT unnest(contacts) AS contact_id FROM {log} WHERE event = 'addresses'
) USING (contact_id)
WHERE event = 'deal' GROUP BY contact_id HAVING count(DISTINCT deal_id) > 1 ORDER BY contact_id
"""
_TIMELINES = """
SELECT concat(deal_id, ' ', min(since::DOUBLE)) FROM requests
ANTI JOIN (SELECT deal_id FROM {log} WHERE event = 'timeline') USING (deal_id)
GROUP BY deal_id ORDER BY sum(emails::DOUBLE) DESC, deal_id
"""
_READ_DEALS = f"""
WITH done AS ({_READ_CONTACTS}),
failed AS (
    SELECT contact_id, any_value(code) AS code, any_value(message) AS message FROM {{log}}
    WHERE event = 'unread' GROUP BY contact_id
),
contacts AS (
    SELECT DISTINCT contact_id FROM {{emails}}
),
known AS (
    SELECT contact_id, done.contact_id IS NOT NULL AS is_read,
        CASE WHEN done.contact_id IS NULL THEN code END AS code, message
    FROM contacts LEFT JOIN done USING (contact_id) LEFT JOIN failed USING (contact_id)
),
deals AS (
    -- the deal itself, not the contact's role on it, if both are listed
    SELECT contact_id, deal_id, arg_min(deal, coalesce(deal->>'by_role', '') = 'true') AS deal
    FROM {{log}} WHERE event = 'deal'
    GROUP BY contact_id, deal_id
),
known_addresses AS (
    SELECT contact_id, any_value(addresses) AS addresses FROM {{log}} WHERE event = 'address'
    GROUP BY contact_id
),
ended AS (
    SELECT deal_id, life, code, since FROM {{log}} WHERE event = 'timeline'
    QUALIFY row_number() OVER (PARTITION BY deal_id ORDER BY life DESC) = 1
),
parts AS (
    SELECT deal_id, life, list(changes::VARCHAR ORDER BY part) AS histories FROM {{log}}
    WHERE event = 'history' GROUP BY deal_id, life
),
histories AS (
    SELECT ended.deal_id, ended.code, ended.since,
        CASE WHEN ended.code IS NULL THEN coalesce(histories, []) END AS histories
    FROM ended LEFT JOIN parts ON parts.deal_id = ended.deal_id AND parts.life = ended.life
)
SELECT known.contact_id, known.code, message, deal::VARCHAR, histories.histories,
    histories.code, histories.since, addresses
FROM known LEFT JOIN deals ON deals.contact_id = known.contact_id AND is_read
LEFT JOIN known_addresses ON known_addresses.contact_id = known.contact_id
LEFT JOIN histories ON histories.deal_id = deals.deal_id
WHERE is_read OR known.code IS NOT NULL
ORDER BY known.contact_id, deals.deal_id
"""
