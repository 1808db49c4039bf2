"""Log of an audit: the deals of contacts and the timelines of deals, as they were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from bulklink.decoding import json_decoder
from bulklink.finding.values import DealFacts, FieldChange
from bulklink.folder_files import line_blocks, split_lines
from bulklink.ledger.records import Count, json_line
from bulklink.ledger.state import repair_torn_line
from bulklink.operations.auditing.folder import AuditFolder
from bulklink.operations.fetching.folder import is_id
from bulklink.operations.work_folder import damaged_error
from bulklink.zoho.coql import MAX_IN_VALUES, DealRow
from bulklink.zoho.link_response import AnswerVerdict
from bulklink.zoho.requests import MAX_DEAL_IDS_LENGTH
from bulklink.zoho.timeline import Timeline, TimelineEntry

MAX_HISTORY_CHANGES = 5_000
"""Changes of one deal that are kept; a deal with more is judged without its history."""
UNREADABLE = "unreadable"
"""Code of a timeline with an entry that cannot be read."""
TOO_LONG_HISTORY = "too-long"
"""Code of a timeline with more changes than are kept."""
_FIELDS_WITH_VALUES = frozenset(
    {"Stage", "Owner", "Contact_Name", "Account_Name", "Deal_Name", "Closing_Date", "Pipeline"}
)
"""Fields whose values matter; of others it is kept that they changed."""
_MAX_VALUE_CHARACTERS = 255
_CHANGES_PER_LINE = 200
_MAX_SECONDS = 32_503_680_000
"""The year 3000, in seconds since 1970."""


def deal_facts(deal: DealRow, contact_id: str, *, by_role: bool | None = None) -> DealFacts:
    """Return a deal as it is judged, without its history.

    Args:
        deal: the deal as it was listed.
        contact_id: the contact for which it was listed.
        by_role: whether the contact has a role on it; None to infer it from the deal's contact.
    """
    if by_role is None and deal.contact_id is not None:
        by_role = deal.contact_id != contact_id
    return DealFacts(
        deal.id,
        name=deal.name,
        stage=deal.stage,
        created=_seconds(deal.created_time),
        modified=_seconds(deal.modified_time),
        owner_id=deal.owner_id,
        account_id=deal.account_id,
        closing_date=deal.closing_date,
        by_role=by_role,
        number=None if deal.number is None else deal.number[:_MAX_VALUE_CHARACTERS],
    )


def _seconds(text: str | None) -> float | None:
    """Return a time of the CRM in seconds since 1970; None if it is none, or has no offset."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return None if time.tzinfo is None else _seconds_of(time)


def _seconds_of(time: datetime) -> float | None:
    try:
        seconds = time.timestamp()
    except (ValueError, OverflowError):
        return None
    return seconds if is_possible_time(seconds) else None


def is_possible_time(seconds: float | None) -> bool:
    """Return whether a time, in seconds since 1970, is one of a CRM, or unknown."""
    return seconds is None or -_MAX_SECONDS < seconds < _MAX_SECONDS


def history_of(timeline: Timeline) -> tuple[FieldChange, ...]:
    """Return the history of a deal: a change for each field of an entry, or a touch."""
    return tuple(change for entry in timeline.entries for change in _changes_of(entry))


def history_since(timeline: Timeline) -> float | None:
    """Return the time from which a timeline is complete; None for all of it."""
    return None if timeline.since is None else _seconds_of(timeline.since)


def _changes_of(entry: TimelineEntry) -> Iterator[FieldChange]:
    time = _seconds_of(entry.audited_time)
    if time is None:
        return
    if not entry.changes:
        yield FieldChange(time, source=entry.source)
    for field, old, new in entry.changes:
        if field in _FIELDS_WITH_VALUES:
            yield FieldChange(time, field, _cut(old), _cut(new), entry.source)
        else:
            yield FieldChange(time, field, source=entry.source)


def _cut(value: str | None) -> str | None:
    return None if value is None else value[:_MAX_VALUE_CHARACTERS]


def without_nulls(value: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a value that are known."""
    return {name: item for name, item in msgspec.structs.asdict(value).items() if item is not None}


def listed_deal_line(contact_id: str, deal: DealFacts) -> bytes:
    """Return the line of a deal that a contact is on."""
    return json_line(
        {
            "event": "deal",
            "contact_id": contact_id,
            "deal_id": deal.id,
            "deal": without_nulls(deal),
        }
    )


def batch_line(contact_ids: Sequence[str], after: str, *, done: bool) -> bytes:
    """Return the line that follows a page with the deals of several contacts.

    Args:
        contact_ids: the contacts.
        after: last id of the page.
        done: whether there is no further page.
    """
    return json_line({"event": "batch", "contacts": contact_ids, "after": after, "done": done})


def read_contact_line(contact_id: str) -> bytes:
    """Return the line that ends the deals of one contact."""
    return json_line({"event": "contact", "contact_id": contact_id})


def unread_contact_line(contact_id: str, verdict: AnswerVerdict) -> bytes:
    """Return the line of a contact whose deals could not be read."""
    fields = {"contact_id": contact_id, "code": verdict.shown_code, "message": verdict.text}
    return json_line({"event": "unread", **fields})


def role_deals_line(deal_ids: Sequence[str]) -> bytes:
    """Return the line that ends a look-up of deals that contacts have a role on."""
    return json_line({"event": "role_deals", "deals": deal_ids})


def addresses_lines(
    contact_ids: Sequence[str], addresses: Mapping[str, Sequence[str]]
) -> list[bytes]:
    """Return the lines of a look-up of addresses.

    Args:
        contact_ids: the contacts that were looked up.
        addresses: addresses of those that the CRM shows.
    """
    known = [
        json_line(
            {"event": "address", "contact_id": contact_id, "addresses": addresses[contact_id]}
        )
        for contact_id in contact_ids
        if contact_id in addresses
    ]
    return [*known, json_line({"event": "addresses", "contacts": contact_ids})]


def history_lines(deal_id: str, invocation: int, changes: Sequence[FieldChange]) -> list[bytes]:
    """Return the lines of a deal's history; `timeline_line` ends them.

    Args:
        deal_id: id of the deal.
        invocation: number of the command; lines of a command killed amid them do not count.
        changes: the changes, oldest first.
    """
    starts = range(0, len(changes), _CHANGES_PER_LINE)
    return [
        json_line(
            {
                "event": "history",
                "deal_id": deal_id,
                "life": invocation,
                "part": part,
                "changes": list(map(without_nulls, changes[start : start + _CHANGES_PER_LINE])),
            }
        )
        for part, start in enumerate(starts)
    ]


def timeline_line(
    deal_id: str, invocation: int, code: str | None, since: float | None = None
) -> bytes:
    """Return the line that ends a timeline.

    Args:
        deal_id: id of the deal.
        invocation: number of the command.
        code: why its history is not known; None if it is.
        since: time from which it is complete, in seconds since 1970; None for all of it.
    """
    fields = {"deal_id": deal_id, "life": invocation, "code": code, "since": since}
    return json_line({"event": "timeline", **fields})


class AuditLine(msgspec.Struct):
    """Types of the fields of a line that progress depends on."""

    event: str
    contact_id: str | None = None
    contacts: list[str] = []
    deals: list[str] = []
    deal_id: str | None = None
    after: str = "0"
    done: bool = False
    life: Count = 0
    part: Count = 0
    code: str | None = None

    def check(self) -> None:
        """Check the ids.

        Raises:
            ValueError: if something is not an id, or there are too many.
        """
        ids = [*self.contacts, *self.deals, self.after]
        ids += [one for one in (self.contact_id, self.deal_id) if one is not None]
        most = MAX_IN_VALUES if self.event == "batch" else MAX_DEAL_IDS_LENGTH
        if len(self.contacts) > most or not all(map(is_id, ids)):
            raise ValueError("not the ids of a line")


class AuditProgress:
    """Progress of an audit's reading, rebuilt from its log, whose torn last line is cut.

    Args:
        folder: folder of the audit.

    Raises:
        RunDirError: if a line of the log is damaged.

    Attributes:
        invocation: number of this command.
        unfinished: last id of each batch of contacts whose pages were not all read.
        empty: whether nothing was read.
    """

    def __init__(self, folder: AuditFolder) -> None:
        self.invocation = 1
        self.unfinished: dict[tuple[str, ...], str] = {}
        self.empty = True
        decode = json_decoder(AuditLine).decode
        folder.create_log()
        number = 0
        for block in line_blocks(folder.log):
            for line in split_lines(block):
                number += 1
                try:
                    self._add(decode(line))
                except (ValueError, RecursionError):
                    raise damaged_error(f"{folder.log}:{number}") from None
        repair_torn_line(folder.log, folder.log_torn)

    def _add(self, line: AuditLine) -> None:
        line.check()
        self.invocation = max(self.invocation, line.life + 1)
        if line.event in ("batch", "contact", "role_deals", "addresses", "timeline"):
            self.empty = False
        if line.event == "batch":
            contacts = tuple(line.contacts)
            self.unfinished.pop(contacts, None)
            if not line.done:
                self.unfinished[contacts] = line.after
