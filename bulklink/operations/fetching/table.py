"""Table of the emails of a fetch."""
# ruff: noqa: S608

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

from bulklink.folder_files import check_folder_file
from bulklink.mapping.contact_requests import RequestKind
from bulklink.mapping.database import Database, spill_folder
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import NO_DEAL
from bulklink.operations.fetching.folder import FetchFolder
from bulklink.operations.fetching.selection import NO_FILTER, EmailFilter
from bulklink.tables import Cell, TableColumn

FETCH_COLUMNS = (
    TableColumn("contact_id", is_id=True),
    TableColumn("owner_id", is_id=True),
    TableColumn("owner_name"),
    TableColumn("message_id", is_id=True),
    TableColumn("deal_id", is_id=True),
    TableColumn("from_deal_id", is_id=True),
    TableColumn("from_deal_name"),
    TableColumn("subject"),
    TableColumn("time"),
    TableColumn("direction"),
    TableColumn("deal_name"),
    TableColumn("from_address"),
    TableColumn("from_name"),
    TableColumn("to_addresses"),
    TableColumn("cc_addresses"),
    TableColumn("source"),
    TableColumn("summary"),
    TableColumn("has_attachment"),
    TableColumn("intent"),
)
"""`deal_id` and `deal_name` are empty: the user fills them in, and the file is a mapping."""
CANDIDATES_COLUMN = TableColumn("candidates")
"""The deals of the contact, as JSON: a list of objects id, name, stage, open, role."""
_MEMORY = "160MB"


class FetchTable:
    """Table of all fetched emails, contact by contact in the requested order, newest first.

    Args:
        folder: folder of the fetch.
        stop: ends the work from another thread.
        email_filter: emails to keep.
        candidates: whether there is a column with the deals of each contact.

    Attributes:
        counts: counts of its emails: `emails` in total, `on_no_deal`, `not_told` if unknown, and
            `filtered_out`, the emails that the filter leaves out, of which `undated` have no time.
    """

    def __init__(
        self,
        folder: FetchFolder,
        stop: PlanningStop,
        email_filter: EmailFilter = NO_FILTER,
        *,
        candidates: bool = False,
    ) -> None:
        self._folder = folder
        self._stop = stop
        self._filter = email_filter
        self._candidates = candidates
        names = ("emails", "on_no_deal", "not_told", "filtered_out", "undated")
        self.counts: Counter[str] = Counter(dict.fromkeys(names, 0))

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """The columns of the table."""
        return (*FETCH_COLUMNS, CANDIDATES_COLUMN) if self._candidates else FETCH_COLUMNS

    def rows(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Stream the rows, about two thousand at a time."""
        check_folder_file(self._folder.log)
        spill = spill_folder(self._folder.log)
        with closing(Database(spill, self._stop, threads=1, memory=_MEMORY)) as database:
            lines = database.files.read_json(self._folder.log, _LINE_TYPES)
            if self._candidates:
                database.execute(_CANDIDATES.format(lines=lines))
            kept = self._kept(database)
            if self._filter:
                self._count_filtered(database, lines, kept)
            query = _TABLE.format(
                lines=lines,
                kept=kept,
                candidates=", candidates" if self._candidates else "",
                joined="LEFT JOIN candidates USING (n)" if self._candidates else "",
            )
            for batch in database.batches(query):
                for row in batch:
                    self.counts["emails"] += 1
                    self.counts["on_no_deal"] += row[5] == NO_DEAL
                    self.counts["not_told"] += row[5] is None
                yield batch

    def _kept(self, database: Database) -> str:
        """Return the SQL condition that an email must fulfil."""
        conditions = ["true"]
        if self._filter.since is not None:
            conditions.append(f"{_EPOCH} >= {_seconds(self._filter.since)}")
        if self._filter.until is not None:
            conditions.append(f"{_EPOCH} < {_seconds(self._filter.until)}")
        deals = []
        if self._filter.on_no_deal:
            deals.append(f"from_deal_id = '{NO_DEAL}'")
        if self._filter.on_deals:
            requests = database.files.read_parquet(self._folder.requests)
            deals.append(
                f"from_deal_id IN (SELECT value FROM {requests}"
                f" WHERE kind = '{RequestKind.EMAILS_ON}')"
            )
        if deals:
            conditions.append(f"({' OR '.join(deals)})")
        return " AND ".join(conditions)

    def _count_filtered(self, database: Database, lines: str, kept: str) -> None:
        by_time = self._filter.since is not None or self._filter.until is not None
        query = _FILTERED.format(lines=lines, kept=kept, epoch=_EPOCH)
        filtered_out, undated = database.fetch_one(query)
        self.counts["filtered_out"] = filtered_out
        self.counts["undated"] = undated if by_time else 0


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


_EPOCH = "epoch(try_cast(time AS TIMESTAMPTZ))"
_LINE_TYPES = {"n": "BIGINT", "life": "BIGINT", "place": "BIGINT"} | dict.fromkeys(
    (
        *("event", "contact_id", "owner_id", "owner_name", "message_id", "from_deal_id"),
        *("from_deal_name", "subject", "time", "direction", "from_address", "from_name"),
        *("to_addresses", "cc_addresses", "source", "summary", "has_attachment", "intent"),
        *("deal_id", "deal_name", "stage", "open", "role"),
    ),
    "VARCHAR",
)
_EMAILS = """
FROM (SELECT * FROM {lines} WHERE event = 'email') AS emails
JOIN (SELECT n, life FROM {lines} WHERE event = 'contact') AS finished USING (n, life)
"""
#: An email may be listed twice if new ones arrived while the pages were read.
_TABLE = f"""
SELECT emails.contact_id, owner_id, owner_name, message_id, NULL, from_deal_id, from_deal_name,
    subject, time, direction, NULL, from_address, from_name, to_addresses, cc_addresses, source,
    summary, has_attachment, intent{{candidates}}
{_EMAILS} {{joined}}
WHERE {{kept}}
QUALIFY row_number() OVER (PARTITION BY n, message_id, owner_id ORDER BY place) = 1
ORDER BY n, place
"""
_FILTERED = f"""
SELECT count(*) FILTER (NOT coalesce(kept, false)), count(*) FILTER (seconds IS NULL) FROM (
    SELECT {{kept}} AS kept, {{epoch}} AS seconds {_EMAILS}
    QUALIFY row_number() OVER (PARTITION BY n, message_id, owner_id ORDER BY place) = 1
)
"""
#: Zoho may not list the deals on which a contact has a role; a selection by deals knows some.
_CANDIDATES = """
CREATE TABLE candidates AS
WITH lines AS (SELECT * FROM {lines} WHERE event <> 'call'),
listed AS (
    SELECT n, place, deal_id, deal_name, stage, open::BOOLEAN AS open, role::BOOLEAN AS role
    FROM (SELECT * FROM lines WHERE event = 'candidate') AS read
    JOIN (SELECT n, life FROM lines WHERE event = 'contact') AS finished USING (n, life)
), known_by_role AS (
    SELECT n, deal_id, any_value(deal_name) AS deal_name, any_value(stage) AS stage
    FROM (SELECT DISTINCT contact_id, deal_id FROM lines WHERE event = 'role') AS roles
    JOIN (SELECT DISTINCT n, contact_id FROM lines WHERE event = 'email') AS contacts
        USING (contact_id)
    JOIN (SELECT deal_id, deal_name, stage FROM lines WHERE event = 'deal') AS named
        USING (deal_id)
    GROUP BY n, deal_id
), deals AS (
    FROM listed UNION ALL
    SELECT n, 1e9 AS place, deal_id, deal_name, stage, open, true AS role
    FROM known_by_role
    ANTI JOIN listed USING (n, deal_id)
    LEFT JOIN (SELECT stage, any_value(open) AS open FROM listed GROUP BY stage) AS stages
        USING (stage)
)
SELECT n, to_json(list({{
    'id': deal_id, 'name': deal_name, 'stage': stage, 'open': open, 'role': role
}} ORDER BY place, deal_id))::VARCHAR AS candidates
FROM deals GROUP BY n
"""
