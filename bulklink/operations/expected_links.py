"""Expected links: where the ledger says each email is."""
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.index import LedgerIndex, RecordedResult
from bulklink.ledger.records import json_line
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import NEVER_SENT, Op, Status

MAX_LINKS_PER_BATCH = 20_000
"""Expected links of one contact in memory at once; a contact with more is read in parts."""
_MEMORY = "96MB"
#: Whether a result shows the deal of its email; after PERHAPS the email may have moved.
_YES, _NO, _PERHAPS = "yes", "no", "perhaps"


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


class ExpectedLinks:
    """Expected links of a ledger, in a private database until closed.

    Args:
        ledger: path of the ledger.
        checkpoint: start that the ledger must have, and the rows that it may contain.
        in_doubt: whether to load the emails in doubt with their intended deals, instead of those
            whose deal the ledger knows.
        folder: folder for data that does not fit into memory.
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
        self._database = Database(folder / "spill", stop, threads=1, memory=_MEMORY)
        self._stop = stop
        try:
            self._load(ledger, checkpoint, folder / "results.jsonl", in_doubt=in_doubt)
            total, last_ts = self._database.fetch_one("SELECT count(*), max(ts) FROM expected")
            self.total = int(total)
            self.last_result_at = _seconds_of(last_ts) if last_ts else 0.0
        except BaseException:
            self._database.close()
            raise

    def _load(
        self, ledger: Path, checkpoint: LedgerCheckpoint, staged_path: Path, *, in_doubt: bool
    ) -> None:
        deal_id_of = in_doubt_deal_id if in_doubt else recorded_deal_id
        with (
            LedgerIndex(ledger, self._stop.check, checkpoint) as outcomes,
            staged_path.open("wb") as staged,
        ):
            open_rows = outcomes.state.open_rows  # in flight after their last result: unknown
            for row in outcomes.rows(1):
                outcome = outcomes.result(row)
                if outcome is None or outcome.status in NEVER_SENT:
                    continue
                cells = _result_cells(outcome, deal_id_of(outcome), is_open=row in open_rows)
                staged.write(json_line(dict(zip(_RESULT_TYPES, cells, strict=True))))
        results = self._database.files.read_json(staged_path, _RESULT_TYPES)
        self._database.execute(_CREATE_EXPECTED.format(results=results))
        staged_path.unlink()

    def contacts(self, sampled: frozenset[int] | None = None) -> Iterator[ContactExpectations]:
        """Stream the expected links by contact, in an order that depends only on the ledger.

        Args:
            sampled: positions of the expected links to look for, from 0; None for all. Contacts
                without any are left out.
        """
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
    return msgspec.convert(ts, datetime).timestamp()


def _result_cells(
    outcome: RecordedResult, deal_id: str | msgspec.UnsetType | None, *, is_open: bool
) -> tuple[str | int | None, ...]:
    known = _NO if deal_id is msgspec.UNSET else _YES
    if is_open or (known is _NO and outcome.status is Status.IN_DOUBT):
        known = _PERHAPS
    return (
        outcome.row,
        outcome.contact_id,
        outcome.message_id,
        deal_id if isinstance(deal_id, str) else None,
        outcome.status,
        outcome.code,
        outcome.ts,
        known,
    )


_RESULT_TYPES = {"row": "BIGINT"} | dict.fromkeys(
    ("contact_id", "message_id", "deal_id", "status", "code", "ts", "known"), "VARCHAR"
)
#: Two mailboxes can have the same email of a contact; of its rows, the last one that may have moved
#: it counts.
_CREATE_EXPECTED = f"""
CREATE TABLE expected AS
SELECT row, contact_id, message_id, deal_id, status, code, ts FROM (
    SELECT * FROM {{results}} WHERE known <> '{_NO}'
    QUALIFY row_number() OVER (PARTITION BY contact_id, message_id ORDER BY ts DESC, row DESC) = 1
) WHERE known = '{_YES}' ORDER BY contact_id, row
"""
_SELECT_EXPECTED = "SELECT * FROM expected"
