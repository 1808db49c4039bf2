"""Selected contacts: what was requested, joined to what the CRM showed, by set operations."""
# ruff: noqa: S608

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.duckdb_sql import literal
from bulklink.mapping.contact_requests import RequestKind
from bulklink.mapping.database import PLANNING_MEMORY, Database, open_database, spill_folder
from bulklink.mapping.plan_layout import plan_relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from bulklink.mapping.contact_requests import ContactRequest
    from bulklink.mapping.interrupt import PlanningStop

_MEMORY = "128MB"
_MAX_SHARED_NAMES = 20
_LOG_TYPES = dict.fromkeys(
    (*("event", "selector", "value", "contact_id", "deal_id", "deal_name", "stage", "code"),),
    "VARCHAR",
)


class Unresolved(msgspec.Struct, frozen=True):
    """A request that selects no contact, or not all of its contacts.

    Args:
        value: the address, name or deal.
        place: argument or line that it comes from.
        message: why, as a sentence.
    """

    value: str
    place: str
    message: str


def load_plan_contacts(plan: Path) -> Iterator[tuple[int, str]]:
    """Yield the contacts of a sealed plan, each with its first row."""
    with open_database(spill_folder(plan), memory=_MEMORY) as database:
        query = (
            "SELECT min(bulklink_row) AS row, bulklink_contact_id "
            f"FROM {plan_relation(database, plan)} GROUP BY ALL ORDER BY row"
        )
        yield from database.rows(query)


def write_requests(requests: Iterable[tuple[int, ContactRequest]], path: Path) -> None:
    """Write each request once to a Parquet file, ordered by its lowest position.

    Args:
        requests: pairs of a position and a request, in any order.
        path: the file.
    """
    with open_database(spill_folder(path), memory=_MEMORY) as database:
        database.execute(
            "CREATE TABLE requests (position BIGINT, kind VARCHAR, value VARCHAR, place VARCHAR)"
        )
        database.insert_all(
            "requests",
            (
                (str(position), request.kind.value, request.value, _as_text(request.place))
                for position, request in requests
            ),
        )
        query = (
            "SELECT min(position) AS position, kind, value, arg_min(place, position) AS place"
            " FROM requests GROUP BY kind, value ORDER BY position, kind, value"
        )
        database.execute(database.files.copy(query, path, "FORMAT parquet"))


def _as_text(place: str) -> str:
    """Return a place with the bytes of file names that are not text escaped."""
    return place.encode("utf-8", "backslashreplace").decode()


class ContactRequests:
    """The requests in a file that `write_requests` wrote.

    Args:
        path: the file.
        stop: interrupts the queries.
    """

    def __init__(self, path: Path, stop: PlanningStop) -> None:
        self._path = path
        self._stop = stop

    def need_crm(self) -> bool:
        """Return whether the CRM has to be asked for contacts."""
        with self._open() as database:
            others = f"FROM {self._relation(database)} WHERE kind <> '{RequestKind.CONTACT}'"
            return bool(database.fetch_one(f"SELECT count(*) {others}")[0])

    def digest(self, clauses: Iterable[str]) -> str:
        """Return the SHA-256 over the requests and the clauses of a selection, in hex.

        The digest of contacts alone is that of a list with one id a line.
        """
        digest = hashlib.sha256()
        with self._open() as database:
            query = (
                f"SELECT kind, value FROM {self._relation(database)} ORDER BY position, kind, value"
            )
            for batch in database.batches(query):
                for kind, value in batch:
                    prefix = "" if kind == RequestKind.CONTACT else f"{kind}\t"
                    digest.update(f"{prefix}{value}\n".encode())
        for clause in clauses:
            digest.update(f"{clause}\n".encode())
        return digest.hexdigest()

    def values(self, *kinds: RequestKind) -> Iterator[str]:
        """Yield the distinct values of some kinds, in the order of the requests."""
        names = ", ".join(literal(kind) for kind in kinds)
        with self._open() as database:
            query = (
                f"SELECT value FROM {self._relation(database)} WHERE kind IN ({names})"
                " GROUP BY value ORDER BY min(position), value"
            )
            for row in database.rows(query):
                yield row[0]

    def _relation(self, database: Database) -> str:
        return database.files.read_parquet(self._path)

    def _open(self) -> AbstractContextManager[Database]:
        return open_database(spill_folder(self._path), memory=_MEMORY, stop=self._stop)


class SelectionFiles(NamedTuple):
    """Files of a selection.

    Args:
        requests: what was requested, as `write_requests` wrote it.
        log: what the CRM showed: lines `selected`, `deal`, `role` and `roles`.
        contacts: the selected contacts, one id a line.
        order: their numbers and ids, one a line, those with the most deals first; written only if
            the log shows deals.
        role_deals: deals on which selected contacts have a role, as lines of JSON with the number
            of the contact, in its order; written only if there are any.
        unresolved: requests that select no contact, as lines of `Unresolved`.
    """

    requests: Path
    log: Path
    contacts: Path
    order: Path
    role_deals: Path
    unresolved: Path


class Selected(NamedTuple):
    """What a selection selected.

    Args:
        contacts: number of contacts.
        unresolved: number of requests that select no contact.
        shared_names: the first names that several contacts have, and their contacts.
    """

    contacts: int
    unresolved: int
    shared_names: tuple[tuple[str, int], ...]


def write_selection(
    files: SelectionFiles, stop: PlanningStop, memory: str = PLANNING_MEMORY
) -> Selected:
    """Write the files of a selection from its requests and its log.

    A contact is selected once, at the position of its first request; those that conditions select
    follow, in the order of their conditions and of the ids of the records.

    Args:
        files: the files to read and to write.
        stop: interrupts the queries.
        memory: memory limit, such as `512MB`.

    Raises:
        RunDirError: if memory or disk space runs out.
    """
    with open_database(
        spill_folder(files.contacts), memory=memory, adjustable=True, stop=stop
    ) as database:
        relations = {
            "requests": database.files.read_parquet(files.requests),
            "log": database.files.read_json(files.log, _LOG_TYPES),
        }
        for statement in _SELECTION:
            database.execute(statement.format(**relations))
        contacts = _write_lines(
            database, "SELECT contact_id FROM contacts ORDER BY n", files.contacts
        )
        if database.fetch_one("SELECT count(*) FROM contact_deals")[0]:
            _write_lines(database, _ORDER, files.order)
        if database.fetch_one("SELECT count(*) FROM log WHERE event = 'role'")[0]:
            _write_lines(database, _ROLE_DEALS, files.role_deals)
        unresolved = _write_unresolved(database, files.unresolved)
        shared_names = tuple(database.rows(_SHARED_NAMES))
        return Selected(contacts, unresolved, shared_names)


def _write_unresolved(database: Database, path: Path) -> int:
    count = 0
    with atomic_replace(path) as temporary, temporary.open("wb") as file:
        for row in database.rows(_UNRESOLVED):
            file.write(msgspec.json.encode(Unresolved(*row)) + b"\n")
            count += 1
    return count


def _write_lines(database: Database, query: str, path: Path) -> int:
    """Write the single column of a query to a file, one value a line; return the lines."""
    count = 0
    with atomic_replace(path) as temporary, temporary.open("wb") as file:
        for batch in database.batches(query):
            count += len(batch)
            file.writelines(f"{row[0]}\n".encode() for row in batch)
    return count


def write_deals_to_read(
    files: SelectionFiles, selectors: Sequence[str], path: Path, stop: PlanningStop
) -> int:
    """Write the deals whose contact roles are still to be read, one id a line; return their number.

    Args:
        files: files of the selection.
        selectors: selectors whose deals count.
        path: the file.
        stop: interrupts the queries.
    """
    names = ", ".join(map(literal, selectors))
    with open_database(spill_folder(path), memory=_MEMORY, stop=stop) as database:
        log = database.files.read_json(files.log, _LOG_TYPES)
        query = (
            f"SELECT deal_id FROM {log} WHERE event = 'deal' AND selector IN ({names})"
            f" EXCEPT SELECT deal_id FROM {log} WHERE event = 'roles'"
        )
        return _write_lines(database, f"SELECT * FROM ({query}) ORDER BY deal_id", path)


_SELECTION = (
    "CREATE TABLE requests AS SELECT * FROM {requests}",
    "CREATE TABLE log AS SELECT * FROM {log} WHERE event IN ('selected', 'deal', 'role', 'roles')",
    "CREATE TABLE deals AS SELECT DISTINCT selector, deal_id, contact_id FROM log"
    " WHERE event = 'deal'",
    "CREATE TABLE contact_deals AS"
    " SELECT contact_id, deal_id FROM deals WHERE contact_id IS NOT NULL"
    " UNION SELECT contact_id, deal_id FROM log WHERE event = 'role'",
    # What each request found; a condition's position is that of its clause.
    "CREATE TABLE found AS"
    " SELECT 0 AS clause, position, NULL AS record, value AS contact_id FROM requests"
    " WHERE kind = 'contact'"
    " UNION ALL SELECT 0, position, contact_id, contact_id FROM requests JOIN log"
    " ON event = 'selected' AND selector = kind AND lower(log.value) = lower(requests.value)"
    " UNION ALL SELECT 0, position, contact_id, contact_id FROM requests JOIN contact_deals"
    " ON kind IN ('deal', 'emails-on') AND deal_id = requests.value"
    " UNION ALL SELECT 1, split_part(selector, ':', 2)::BIGINT, deal_id, contact_deals.contact_id"
    " FROM deals JOIN contact_deals USING (deal_id) WHERE selector LIKE 'deals-where:%'"
    " UNION ALL SELECT 2, split_part(selector, ':', 2)::BIGINT, contact_id, contact_id FROM log"
    " WHERE event = 'selected' AND selector LIKE 'contacts-where:%'",
    "CREATE TABLE contacts AS SELECT row_number() OVER"
    " (ORDER BY clause, position, length(record), record, contact_id) - 1 AS n, contact_id"
    " FROM (SELECT * FROM found QUALIFY row_number() OVER (PARTITION BY contact_id"
    " ORDER BY clause, position, length(record), record) = 1)",
)
_ORDER = """
SELECT concat(n, ' ', contact_id) FROM contacts LEFT JOIN (
    SELECT contact_id, count(*) AS deals FROM contact_deals GROUP BY contact_id
) USING (contact_id) ORDER BY coalesce(deals, 0) DESC, n
"""
_ROLE_DEALS = """
SELECT to_json({'event': 'role', 'n': n, 'deal_id': deal_id, 'deal_name': any_value(deal_name),
    'stage': any_value(stage), 'by_role': true})
FROM (SELECT DISTINCT contact_id, deal_id FROM log WHERE event = 'role') AS roles
JOIN contacts USING (contact_id)
JOIN (SELECT deal_id, deal_name, stage FROM log WHERE event = 'deal') AS deals USING (deal_id)
GROUP BY n, deal_id ORDER BY n, length(deal_id), deal_id
"""
_UNRESOLVED = """
WITH answered AS (
    SELECT DISTINCT selector AS kind, lower(value) AS value FROM log WHERE event = 'selected'
), named_deals AS (
    SELECT value, min(position) AS position, arg_min(place, position) AS place FROM requests
    WHERE kind IN ('deal', 'emails-on') GROUP BY value
), known_deals AS (SELECT DISTINCT deal_id AS value FROM deals),
populated AS (SELECT DISTINCT deal_id AS value FROM contact_deals),
problems AS (
    SELECT position, value, place, concat('No contact has this ', kind, '.') AS message
    FROM requests ANTI JOIN answered
    ON answered.kind = requests.kind AND answered.value = lower(requests.value)
    WHERE requests.kind IN ('address', 'name')
    UNION ALL SELECT position, value, place, 'The CRM shows no such deal.'
    FROM named_deals ANTI JOIN known_deals USING (value)
    UNION ALL SELECT position, value, place, 'The deal has no contact.'
    FROM named_deals SEMI JOIN known_deals USING (value) ANTI JOIN populated USING (value)
    UNION ALL SELECT coalesce(position, 1e15), unread.deal_id, coalesce(place, ''),
        concat('Its contact roles could not be read: ', code, '.')
    FROM (SELECT DISTINCT deal_id, code FROM log WHERE event = 'roles' AND code IS NOT NULL)
        AS unread
    LEFT JOIN named_deals ON named_deals.value = unread.deal_id
)
SELECT value, place, message FROM problems ORDER BY position, value
"""
_SHARED_NAMES = f"""
SELECT any_value(requests.value), count(DISTINCT contact_id) AS contacts
FROM requests JOIN log ON event = 'selected' AND selector = kind
    AND lower(log.value) = lower(requests.value)
WHERE kind = 'name' GROUP BY lower(requests.value) HAVING contacts > 1
ORDER BY 1 LIMIT {_MAX_SHARED_NAMES}
"""
