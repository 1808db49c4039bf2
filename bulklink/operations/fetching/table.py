"""Table of the emails of a fetch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing

from bulklink.folder_files import check_folder_file
from bulklink.mapping.database import Database, spill_folder
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import NO_DEAL
from bulklink.operations.fetching.folder import FetchFolder
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
)
"""`deal_id` and `deal_name` are empty: the user fills them in, and the file is a mapping."""
_MEMORY = "160MB"


class FetchTable:
    """Table of all fetched emails, contact by contact in the requested order, newest first.

    Args:
        folder: folder of the fetch.
        stop: ends the work from another thread.

    Attributes:
        counts: counts of its emails: `emails` in total, `on_no_deal`, and `not_told` if unknown.
    """

    def __init__(self, folder: FetchFolder, stop: PlanningStop) -> None:
        self._folder = folder
        self._stop = stop
        self.counts: Counter[str] = Counter(emails=0, on_no_deal=0, not_told=0)

    def rows(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Stream the rows, about two thousand at a time."""
        check_folder_file(self._folder.log)
        spill = spill_folder(self._folder.log)
        with closing(Database(spill, self._stop, threads=1, memory=_MEMORY)) as database:
            lines = database.files.read_json(self._folder.log, _LINE_TYPES)
            query = _TABLE_QUERY.format(lines=lines)
            for batch in database.batches(query):
                for row in batch:
                    self.counts["emails"] += 1
                    self.counts["on_no_deal"] += row[5] == NO_DEAL
                    self.counts["not_told"] += row[5] is None
                yield batch


_LINE_TYPES = {"n": "BIGINT", "life": "BIGINT", "place": "BIGINT"} | dict.fromkeys(
    (
        *("event", "contact_id", "owner_id", "owner_name", "message_id", "from_deal_id"),
        *("from_deal_name", "subject", "time", "direction"),
    ),
    "VARCHAR",
)
#: An email may be listed twice if new ones arrived while the pages were read.
_TABLE_QUERY = """
WITH lines AS (SELECT * FROM {lines})
SELECT emails.contact_id, owner_id, owner_name, message_id, NULL, from_deal_id, from_deal_name,
    subject, time, direction, NULL
FROM (SELECT * FROM lines WHERE event = 'email') AS emails
JOIN (SELECT n, life FROM lines WHERE event = 'contact') AS finished USING (n, life)
QUALIFY row_number() OVER (PARTITION BY n, message_id, owner_id ORDER BY place) = 1
ORDER BY n, place
"""
