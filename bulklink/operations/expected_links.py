"""Expected links: where the ledger says each email is."""
# ruff: noqa: S608

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from bulklink.decoding import convert
from bulklink.errors import RunDirError
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.index import RecordedResult
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Op, Status
from bulklink.operations.result_staging import (
    MAX_STAGED_BYTES,
    NEVER,
    PERHAPS,
    RESULT_TYPES,
    YES,
    ResultStager,
    stage_results,
)

MAX_LINKS_PER_BATCH = 20_000
"""Expected links of one contact in memory at once; a contact with more is read in parts."""
#: Memory to count the links, if the first suffices, or else the second; and to sort them.
_LITTLE_MEMORY, _MEMORY = "56MB", "128MB"


class ExpectedLink(msgspec.Struct, frozen=True):
    """Deal of an email by the last result of its row.

    Args:
        row: number of the row in the mapping.
        contact_id: contact of the email.
        message_id: message id of the email.
        deal_id: deal that the email is on, None for no deal; for an in-doubt email, the deal that
            it should be on.
        status: status of the result.
        code: code of the result, if any.
        ts: time of the result, as the ledger writes it.
    """

    row: int
    contact_id: str
    message_id: str
    deal_id: str | None
    status: str
    code: str | None
    ts: str


class ContactExpectations(msgspec.Struct, frozen=True):
    """Expected links of one contact.

    Args:
        contact_id: id of the contact.
        links: expected links by message id.
        to_check: message ids to look for.
    """

    contact_id: str
    links: dict[str, ExpectedLink]
    to_check: frozenset[str]


def recorded_deal_id(outcome: RecordedResult) -> str | msgspec.UnsetType | None:
    """Return the deal recorded for an email, None for no deal, UNSET if unknown.

    A failed email is on the deal that a read or put-back recorded. The deal of an email that was
    refused without either, is in doubt or was never sent is unknown.
    """
    match outcome.status:
        case Status.DONE | Status.UNCHANGED:
            return None if outcome.op is Op.UNLINK else outcome.deal_id
        case Status.FAILED:
            return outcome.current_deal_id
        case _:
            return msgspec.UNSET


def in_doubt_deal_id(outcome: RecordedResult) -> str | msgspec.UnsetType | None:
    """Return the deal an in-doubt email should be on, None for no deal; UNSET for any other."""
    if outcome.status is not Status.IN_DOUBT:
        return msgspec.UNSET
    return None if outcome.op is Op.UNLINK else outcome.deal_id


class ContactSize(NamedTuple):
    """Number of expected links of a contact, all of them or a part of at most 20,000.

    Args:
        listed: expected links.
        wanted: links among them to look for.
    """

    listed: int
    wanted: int


class ExpectedLinks:
    """Expected links of a ledger, in a private database until closed.

    Args:
        ledger: path of the ledger.
        checkpoint: start that the ledger must have, and the rows that it may contain.
        in_doubt: whether to load the emails in doubt with their intended deals, instead of those
            whose deal the ledger knows.
        folder: folder for temporary files, and for data that does not fit into memory.
        stop: interrupts the work from another thread.

    Attributes:
        total: number of expected links.
        last_result_at: time of the newest result, in seconds since 1970.

    Raises:
        LedgerError: if a line is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """

    def __init__(
        self,
        ledger: Path,
        checkpoint: LedgerCheckpoint,
        *,
        in_doubt: bool,
        folder: Path,
        stop: PlanningStop,
    ) -> None:
        self._staged = folder / "results.jsonl"
        self._sorted = False
        stager = stage_results(
            ledger,
            checkpoint,
            self._staged,
            in_doubt_deal_id if in_doubt else recorded_deal_id,
            stop.check,
        )
        self._database = Database(folder / "spill", stop, threads=1, memory=_LITTLE_MEMORY)
        try:
            self._database.execute("CREATE TABLE open_rows (row VARCHAR)")
            self._database.insert_all("open_rows", ((str(row),) for row in stager.open_rows))
            self._links = self._links_sql(stager)
            self._execute(_CREATE_SIZES.format(links=self._links))
            total, last_ts = self._database.fetch_one(_SELECT_TOTALS)
            self.total = int(total)
            self.last_result_at = _seconds_of(last_ts) if last_ts else 0.0
        except BaseException:
            self._database.close()
            raise

    def _links_sql(self, stager: ResultStager) -> str:
        """Build the relation of the expected links; what is not needed is left out of it."""
        results = self._database.files.read_json(
            self._staged, RESULT_TYPES, max_line_bytes=MAX_STAGED_BYTES
        )
        results = _UNNESTED.format(results=results)
        if stager.has_several:
            results = _LAST_OF_ROW.format(results=results)
        if stager.open_rows:
            results = _WITHOUT_OPEN.format(results=results)
        results = _MAY_HAVE_MOVED.format(results=results)
        if self._has_repeated(results):
            results = _LAST_OF_EMAIL.format(results=results)
        return f"(SELECT {_LINK_COLUMNS} FROM {results} WHERE known = '{YES}')"

    def _has_repeated(self, results: str) -> bool:
        """Return whether an email may occur in several rows."""
        self._execute(_CREATE_HASHES.format(results=results))
        (is_repeated,) = self._database.fetch_one(_HAS_REPEATED)
        self._database.execute("DROP TABLE hashes")
        return bool(is_repeated)

    def _execute(self, statement: str) -> None:
        """Run a statement in little memory; in more if it lacks some, as with very long ids."""
        try:
            self._database.execute(statement)
        except RunDirError:
            self._database.limit_memory(_MEMORY)
            self._database.execute(statement)

    def contact_sizes(self, sampled: frozenset[int] | None = None) -> Iterator[ContactSize]:
        """Stream the number of links of what `contacts` yields.

        Args:
            sampled: as for `contacts`.
        """
        positions = None if sampled is None else sorted(sampled)
        start = 0
        for (links,) in self._database.rows(_SELECT_SIZES):
            for first in range(start, start + links, MAX_LINKS_PER_BATCH):
                end = min(first + MAX_LINKS_PER_BATCH, start + links)
                wanted = end - first
                if positions is not None:
                    wanted = bisect_left(positions, end) - bisect_left(positions, first)
                if wanted:
                    yield ContactSize(end - first, wanted)
            start += links

    def contacts(self, sampled: frozenset[int] | None = None) -> Iterator[ContactExpectations]:
        """Stream the expected links by contact, in an order that depends only on the ledger.

        Args:
            sampled: positions of the expected links to look for, from 0; None for all. Contacts
                without any are left out.
        """
        if not self._sorted:
            self._database.limit_memory(_MEMORY)
            for statement in _CREATE_EXPECTED:
                self._database.execute(statement.format(links=self._links))
            self._sorted = True
        links: dict[str, ExpectedLink] = {}
        to_check: set[str] = set()
        contact_id = ""
        for position, cells in enumerate(self._database.rows(_SELECT_EXPECTED)):
            link = ExpectedLink(*cells)
            if link.contact_id != contact_id or len(links) == MAX_LINKS_PER_BATCH:
                if to_check:
                    yield ContactExpectations(contact_id, links, frozenset(to_check))
                contact_id, links, to_check = link.contact_id, {}, set()
            links[link.message_id] = link
            if sampled is None or position in sampled:
                to_check.add(link.message_id)
        if to_check:
            yield ContactExpectations(contact_id, links, frozenset(to_check))

    def close(self) -> None:
        """Drop the database."""
        self._database.close()


def _seconds_of(ts: str) -> float:
    """Return a time of a ledger in seconds since 1970."""
    return convert(ts, datetime).timestamp()


#: `seq` is the place of a result in the ledger.
_UNNESTED = """(
    SELECT unnest(rows) AS row, contact_id, unnest(message_ids) AS message_id, deal_id, status,
        code, ts, known, seq
    FROM {results}
)"""
_LAST_OF_ROW = """(
    SELECT * FROM {results} QUALIFY row_number() OVER (PARTITION BY row ORDER BY seq DESC) = 1
)"""
_WITHOUT_OPEN = f"""(
    SELECT * REPLACE (
        CASE WHEN known <> '{NEVER}' AND row IN (SELECT row::BIGINT FROM open_rows)
        THEN '{PERHAPS}' ELSE known END AS known
    ) FROM {{results}}
)"""
_MAY_HAVE_MOVED = f"(SELECT * FROM {{results}} WHERE known IN ('{YES}', '{PERHAPS}'))"
#: Few emails occur in several rows; hashes find them in eight bytes per row. They are stored, so
#: that the memory of reading the file is free before they are grouped.
_CREATE_HASHES = "CREATE TABLE hashes AS SELECT hash(contact_id, message_id) AS key FROM {results}"
_HAS_REPEATED = """
SELECT count(*) > 0 FROM (SELECT key FROM hashes GROUP BY key HAVING count(*) > 1)
"""
#: Two mailboxes can have the same email of a contact; of its rows, the last one that may have moved
#: it counts.
_LAST_OF_EMAIL = """(
    SELECT * FROM {results}
    QUALIFY row_number() OVER (PARTITION BY contact_id, message_id ORDER BY ts DESC, row DESC) = 1
)"""
_LINK_COLUMNS = "row, contact_id, message_id, deal_id, status, code, ts"
_CREATE_SIZES = """
CREATE TABLE sizes AS
SELECT contact_id, count(*) AS links, max(ts) AS last_ts FROM {links} GROUP BY contact_id
ORDER BY contact_id
"""
_SELECT_TOTALS = "SELECT coalesce(sum(links), 0), max(last_ts) FROM sizes"
_SELECT_SIZES = "SELECT links FROM sizes"
#: They are loaded first: a sort of rows that are still read from JSON does not spill enough.
_CREATE_EXPECTED = (
    "CREATE TABLE unsorted AS FROM {links}",
    "CREATE TABLE expected AS FROM unsorted ORDER BY contact_id, row",
    "DROP TABLE unsorted",
)
_SELECT_EXPECTED = "SELECT * FROM expected"
