"""Where a ledger says that emails are: what can be held against the CRM."""
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from bulklink.ledger.index import Outcome, Outcomes
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import Stop
from bulklink.models import Op, Status

MOST_CLAIMS = 20_000
"""Claims of one contact that are held at once; a contact with more is read piece by piece."""
_MEMORY = "256MB"
_ROWS = 2048
#: Whether a result says where its email is; after PERHAPS it may have been moved.
_YES, _NO, _PERHAPS = "yes", "no", "perhaps"
_NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)


class Claim(msgspec.Struct, frozen=True):
    """What the last result of a row says of its email.

    `deal_id` is the deal that the email is on by it, None for no deal; of an email in doubt the
    one that it was to be on.
    """

    row: int
    contact_id: str
    message_id: str
    deal_id: str | None
    status: str
    code: str | None
    ts: str


class ContactClaims(msgspec.Struct, frozen=True):
    """Claims about emails of one contact; `wanted` are the ids of those to be looked for."""

    contact_id: str
    claims: dict[str, Claim]
    wanted: frozenset[str]


def claimed(outcome: Outcome) -> str | msgspec.UnsetType | None:
    """Return the deal that a result says an email is on, None for no deal, UNSET if it says none.

    A failed email is where a read or a putting back left it. One that Zoho refused without
    either, one in doubt, and what was never sent may be anywhere.
    """
    match outcome.status:
        case Status.DONE | Status.UNCHANGED:
            return None if outcome.op is Op.UNLINK else outcome.deal_id
        case Status.FAILED:
            return outcome.current_deal_id
        case _:
            return msgspec.UNSET


def wanted_of_doubt(outcome: Outcome) -> str | msgspec.UnsetType | None:
    """Return the deal that an email in doubt was to be on; UNSET for one that is in no doubt."""
    if outcome.status is not Status.IN_DOUBT:
        return msgspec.UNSET
    return None if outcome.op is Op.UNLINK else outcome.deal_id


class Claims:
    """The claims of a ledger, in a private database until it is closed.

    Args:
        ledger: its path.
        open_rows: rows that were in flight after their last result: nothing is claimed of them.
        in_doubt: take the emails in doubt, and where they were to be, in place of those that the
            ledger says something of.
        folder: where data that does not fit into memory goes.
        stop: ends the work from another thread.

    Attributes:
        total: how many there are.
        newest: when the newest result came, seconds since 1970.

    Raises:
        LedgerError: if a line is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """

    def __init__(
        self,
        ledger: Path,
        open_rows: frozenset[int],
        *,
        in_doubt: bool,
        folder: Path,
        stop: Stop,
    ) -> None:
        self._database = Database(folder / "spill", stop, threads=1, memory=_MEMORY)
        self._stop = stop
        try:
            self._load(ledger, open_rows, in_doubt=in_doubt)
            total, newest = self._database.one("SELECT count(*), max(ts) FROM claims")
            self.total = int(total)
            self.newest = datetime.fromisoformat(newest).timestamp() if newest else 0.0
        except BaseException:
            self._database.close()
            raise

    def _load(self, ledger: Path, open_rows: frozenset[int], *, in_doubt: bool) -> None:
        self._database.run(_TOLD)
        says = wanted_of_doubt if in_doubt else claimed
        batch: list[tuple[str | None, ...]] = []
        with Outcomes(ledger) as outcomes:
            for row in outcomes.rows(1):
                outcome = outcomes.of(row)
                if outcome is None or outcome.status in _NEVER_SENT:
                    continue
                batch.append(_told(outcome, says(outcome), is_open=row in open_rows))
                if len(batch) == _ROWS:
                    self._database.insert("told", batch)
                    batch.clear()
        if batch:
            self._database.insert("told", batch)
        self._database.run(_CLAIMS)
        self._database.run("DROP TABLE told")

    def contacts(self, drawn: frozenset[int] | None = None) -> Iterator[ContactClaims]:
        """Stream the claims, contact by contact, in an order that depends on the ledger alone.

        Args:
            drawn: places of the claims that are looked for, from 0; None looks for all. Contacts
                without any are left out.
        """
        claims: dict[str, Claim] = {}
        wanted: set[str] = set()
        contact_id = ""
        for place, found in enumerate(self._database.rows(_IN_ORDER)):
            claim = Claim(*found)
            if claim.contact_id != contact_id or len(claims) == MOST_CLAIMS:
                if wanted:
                    yield ContactClaims(contact_id, claims, frozenset(wanted))
                contact_id, claims, wanted = claim.contact_id, {}, set()
            claims[claim.message_id] = claim
            if drawn is None or place in drawn:
                wanted.add(claim.message_id)
        if wanted:
            yield ContactClaims(contact_id, claims, frozenset(wanted))

    def close(self) -> None:
        """Drop the database."""
        self._database.close()


def _told(
    outcome: Outcome, deal_id: str | msgspec.UnsetType | None, *, is_open: bool
) -> tuple[str | None, ...]:
    known = _NO if deal_id is msgspec.UNSET else _YES
    if is_open or (known is _NO and outcome.status is Status.IN_DOUBT):
        known = _PERHAPS
    return (
        str(outcome.row),
        outcome.contact_id,
        outcome.message_id,
        deal_id if isinstance(deal_id, str) else None,
        outcome.status,
        outcome.code,
        outcome.ts,
        known,
    )


_TOLD = """
CREATE TABLE told (
    row BIGINT, contact_id VARCHAR, message_id VARCHAR, deal_id VARCHAR, status VARCHAR,
    code VARCHAR, ts VARCHAR, known VARCHAR
)
"""
#: Of several rows about one email of a contact, as two mailboxes can have them, the last that may
#: have moved it counts: the others were true before.
_CLAIMS = f"""
CREATE TABLE claims AS
SELECT row, contact_id, message_id, deal_id, status, code, ts FROM (
    SELECT * FROM told WHERE known <> '{_NO}'
    QUALIFY row_number() OVER (PARTITION BY contact_id, message_id ORDER BY ts DESC, row DESC) = 1
) WHERE known = '{_YES}' ORDER BY contact_id, row
"""
_IN_ORDER = "SELECT * FROM claims"
