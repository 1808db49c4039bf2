"""Table of the emails of a fetch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import msgspec

from bulklink.mapping.contact_requests import RequestKind
from bulklink.mapping.contact_selection import ContactRequests
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import NO_DEAL
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.log import FetchLine
from bulklink.operations.fetching.log_index import LogIndex
from bulklink.operations.fetching.selection import EmailFilter
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
_BATCH_ROWS = 2048


class _Candidate(msgspec.Struct, frozen=True):
    """A deal that the emails of a contact may belong to, as it is written to the table."""

    id: str | None
    name: str | None
    stage: str | None
    open: bool | None
    role: bool | None


class FetchTable:
    """Table of all fetched emails, contact by contact in the requested order, newest first.

    Args:
        folder: folder of the fetch.
        record: its record, with the filter and the stages.
        stop: ends the work from another thread.

    Attributes:
        counts: counts of its emails: `emails` in total, `on_no_deal`, `not_told` if unknown, and
            `filtered_out`, the emails that the filter leaves out, of which `undated` have no time.
    """

    def __init__(self, folder: FetchFolder, record: FetchRecord, stop: PlanningStop) -> None:
        self._folder = folder
        self._record = record
        self._stop = stop
        names = ("emails", "on_no_deal", "not_told", "filtered_out", "undated")
        self.counts: Counter[str] = Counter(dict.fromkeys(names, 0))

    @property
    def columns(self) -> tuple[TableColumn, ...]:
        """The columns of the table."""
        return (*FETCH_COLUMNS, CANDIDATES_COLUMN) if self._has_candidates else FETCH_COLUMNS

    @property
    def _has_candidates(self) -> bool:
        return self._record.candidates or self._record.role_candidates

    def rows(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Stream the rows, about two thousand at a time.

        Raises:
            RunDirError: if a file of the folder is damaged.
        """
        email_filter = _Filter(self._record.email_filter, self._named_deals())
        batch: list[tuple[Cell, ...]] = []
        for email, candidates in self._emails():
            if not email_filter.keeps(email):
                continue
            self.counts["emails"] += 1
            self.counts["on_no_deal"] += email.from_deal_id == NO_DEAL
            self.counts["not_told"] += email.from_deal_id is None
            batch.append(_row(email) + candidates)
            if len(batch) == _BATCH_ROWS:
                yield batch
                batch = []
        if batch:
            yield batch
        self.counts["filtered_out"] = email_filter.left_out
        self.counts["undated"] = email_filter.undated

    def _named_deals(self) -> frozenset[str]:
        """Return the deals on which emails are wanted."""
        if not self._record.email_filter.on_deals:
            return frozenset()
        requests = ContactRequests(self._folder.requests, self._stop)
        return frozenset(requests.values(RequestKind.EMAILS_ON))

    def _emails(self) -> Iterator[tuple[FetchLine, tuple[str | None, ...]]]:
        """Yield each email, and the cell of its contact's deals if there is one."""
        role_deals = _RoleDeals(self._folder)
        index = LogIndex(self._folder.log, self._record.contacts, self._stop)
        for number, lines in index.contacts():
            seen: set[tuple[str | None, str | None]] = set()
            deals: list[FetchLine] = []
            candidates: tuple[str | None, ...] | None = None
            for line in lines:
                if line.event == "candidate":
                    deals.append(line)
                    continue
                if candidates is None:
                    candidates = self._candidates(deals, role_deals.of_contact(number))
                # An email may be listed twice if new ones arrived while the pages were read.
                key = (line.message_id, line.owner_id)
                if key not in seen:
                    seen.add(key)
                    yield line, candidates

    def _candidates(
        self, listed: Sequence[FetchLine], by_role: Sequence[FetchLine]
    ) -> tuple[str | None, ...]:
        """Return the cell of a contact's deals; none without the column.

        Zoho may not list the deals on which a contact has a role; the selection knows some.
        """
        if not self._has_candidates:
            return ()
        ids = {deal.deal_id for deal in listed}
        others = [deal for deal in by_role if deal.deal_id not in ids]
        candidates = [self._candidate(deal) for deal in (*listed, *others)]
        return (msgspec.json.encode(candidates).decode() if candidates else None,)

    def _candidate(self, deal: FetchLine) -> _Candidate:
        state = (self._record.stages or {}).get(deal.stage or "")
        is_open = None if state is None else state == "open"
        return _Candidate(deal.deal_id, deal.deal_name, deal.stage, is_open, deal.by_role)


class _RoleDeals:
    """Deals on which contacts have a role, as the selection showed them, contact by contact."""

    def __init__(self, folder: FetchFolder) -> None:
        self._contacts = groupby(folder.read_role_deals(), key=lambda deal: deal.n)
        self._next = next(self._contacts, None)

    def of_contact(self, number: int) -> list[FetchLine]:
        """Return the deals of a contact; numbers are asked for in ascending order."""
        while self._next is not None and self._next[0] < number:
            self._next = next(self._contacts, None)
        if self._next is None or self._next[0] != number:
            return []
        return list(self._next[1])


class _Filter:
    """Filter of emails, which counts what it leaves out.

    Args:
        email_filter: emails to keep.
        deals: deals on which emails are wanted.

    Attributes:
        left_out: emails left out.
        undated: those of them that have no time, although it matters.
    """

    def __init__(self, email_filter: EmailFilter, deals: Collection[str]) -> None:
        self.left_out = self.undated = 0
        self._since, self._until = map(_parse_time, (email_filter.since, email_filter.until))
        by_deal = email_filter.on_no_deal or email_filter.on_deals
        self._deals = {*deals, *([NO_DEAL] if email_filter.on_no_deal else [])} if by_deal else None

    def keeps(self, email: FetchLine) -> bool:
        """Return whether an email passes; count it if it does not."""
        passes = self._deals is None or email.from_deal_id in self._deals
        if self._since is not None or self._until is not None:
            time = _parse_time(email.time)
            self.undated += time is None
            passes = passes and time is not None and self._is_within(time)
        self.left_out += not passes
        return passes

    def _is_within(self, time: datetime) -> bool:
        is_early = self._since is not None and time < self._since
        return not is_early and (self._until is None or time < self._until)


def _parse_time(text: str | None) -> datetime | None:
    """Return a time that has an offset; None for any other text."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return None if time.tzinfo is None else time


def _row(email: FetchLine) -> tuple[Cell, ...]:
    """Return the cells of an email, in the order of `FETCH_COLUMNS`."""
    return (
        email.contact_id,
        email.owner_id,
        email.owner_name,
        email.message_id,
        None,
        email.from_deal_id,
        email.from_deal_name,
        email.subject,
        email.time,
        email.direction,
        None,
        email.from_address,
        email.from_name,
        email.to_addresses,
        email.cc_addresses,
        email.source,
        email.summary,
        email.has_attachment,
        email.intent,
    )
