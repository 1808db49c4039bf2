"""State of a running emulator."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import msgspec

from bulklink.emulator.faults import Fault, FaultRegistry
from bulklink.emulator.limits import CreditWindow, Penalty
from bulklink.emulator.routing import Call, Endpoint, EndpointKind
from bulklink.emulator.settings import Settings
from bulklink.emulator.token_store import TokenStore
from bulklink.emulator.world import EMPTY_MAILBOX, Email, Mailbox, World, build_mailbox

_MAX_CHANGE_LOG = 20_000
_T = TypeVar("_T")


class Change(msgspec.Struct, frozen=True):
    """A change of one link.

    Args:
        message_id: the email.
        deal_id: the deal to link it to; None to unlink it.
    """

    message_id: str
    deal_id: str | None


class ChangeRecord(msgspec.Struct, frozen=True):
    """An applied change, with the previous deal and its author.

    Args:
        at: seconds since 1970.
        contact_id: the contact of the email.
        message_id: the email.
        previous_deal_id: the deal before, or None.
        deal_id: the deal after, or None.
        author: `call`, or `user` for an edit by another user.
    """

    at: float
    contact_id: str
    message_id: str
    previous_deal_id: str | None
    deal_id: str | None
    author: Literal["call", "user"]


class ContactView(msgspec.Struct, frozen=True):
    """The emails of one contact and their deals at a point in time.

    Args:
        contact_id: the contact.
        mailbox: its emails.
        changed_deals: the deal, or None, of each email changed since the world was loaded.
    """

    contact_id: str
    mailbox: Mailbox
    changed_deals: Mapping[str, str | None]

    def deal_of(self, email: Email) -> str | None:
        """Return the deal that `email` is on."""
        return self.changed_deals.get(email.message_id, email.deal_id)


@dataclass(slots=True)
class DelayQueue(Generic[_T]):
    """Queue of items that are due at a later time."""

    _heap: list[tuple[float, int, _T]] = field(default_factory=list, init=False)
    _sequence: int = field(default=0, init=False)

    def put(self, due: float, item: _T) -> None:
        """Add an item that is due at `due`."""
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, item))

    def pop_due(self, now: float) -> tuple[float, _T] | None:
        """Remove the next item that is due by `now`; return its time and the item, or None."""
        if not self._heap or self._heap[0][0] > now:
            return None
        due, _, item = heapq.heappop(self._heap)
        return due, item


class CrmState:
    """Links, tokens, limits, faults and counters of a running emulator.

    Args:
        world: the CRM before the first call.
        settings: behaviour of the emulator.
        faults: the faults active from the start.
        now: start time, in seconds since 1970.

    Attributes:
        started_at: start time, in seconds since 1970.
        mailboxes: all mailboxes, by contact id.
        change_log: the most recent changes, oldest first.
        change_count: number of changes since the start.
        faults: the active faults.
        credits: credits used in the current window.
        penalty: the most recent penalty.
        calls: number of calls received, by kind.
        endpoint_calls: number of calls received, by endpoint.
        in_flight: number of calls in flight, by kind.
        queries_in_flight: number of COQL queries in flight.
        peak_in_flight: highest number of calls in flight at once.
        answered_429: number of calls answered with 429.
        tokens: access and refresh tokens.
    """

    def __init__(
        self, world: World, settings: Settings, faults: Sequence[Fault], now: float
    ) -> None:
        self.started_at = now
        self.mailboxes = dict(world.mailboxes)
        self._changed_deals: dict[str, dict[str, str | None]] = {}
        self.change_log: deque[ChangeRecord] = deque(maxlen=_MAX_CHANGE_LOG)
        self.change_count = 0
        self.faults = FaultRegistry(faults)
        self.credits = CreditWindow(settings.credit_window, settings.background_credits, now)
        self.penalty = Penalty()
        self.calls: Counter[str] = Counter()
        self.endpoint_calls: Counter[str] = Counter()
        self.in_flight: Counter[EndpointKind] = Counter()
        self.queries_in_flight = 0
        self.peak_in_flight = 0
        self.answered_429 = 0
        self.tokens = TokenStore(settings)
        self._shares_links = settings.shared_emails == "shared"

    def view(self, contact_id: str) -> ContactView:
        """Return a contact's emails and their current deals."""
        mailbox = self.mailboxes.get(contact_id, EMPTY_MAILBOX)
        return ContactView(contact_id, mailbox, self._changed_deals.get(contact_id, {}))

    def view_at(self, contact_id: str, at: float) -> ContactView:
        """Return a contact's emails and their deals at an earlier time."""
        view = self.view(contact_id)
        changed_deals = dict(view.changed_deals)
        for record in reversed(self.change_log):
            if record.at <= at:
                break
            if record.contact_id == contact_id:
                changed_deals[record.message_id] = record.previous_deal_id
        return ContactView(contact_id, view.mailbox, changed_deals)

    def apply(
        self,
        contact_id: str,
        changes: Sequence[Change],
        at: float,
        author: Literal["call", "user"] = "call",
    ) -> list[ChangeRecord]:
        """Apply the changes of one call, and return them with the previous deals."""
        if not changes:
            return []
        by_id = self.view(contact_id).mailbox.by_id
        changed_deals = self._changed_deals.setdefault(contact_id, {})
        records = []
        for message_id, deal_id in ((change.message_id, change.deal_id) for change in changes):
            previous_deal_id = changed_deals.get(message_id, by_id[message_id].deal_id)
            changed_deals[message_id] = deal_id
            records.append(
                ChangeRecord(at, contact_id, message_id, previous_deal_id, deal_id, author)
            )
        self.change_log.extend(records)
        self.change_count += len(changes)
        if self._shares_links:
            for change in changes:
                self._apply_to_other_contacts(contact_id, change)
        return records

    def _apply_to_other_contacts(self, contact_id: str, change: Change) -> None:
        """Apply the change of an email to the other contacts that have it."""
        for other_id, mailbox in self.mailboxes.items():
            if other_id != contact_id and change.message_id in mailbox.by_id:
                self._changed_deals.setdefault(other_id, {})[change.message_id] = change.deal_id

    def add_email(self, email: Email) -> None:
        """Add a new email to its contact's mailbox."""
        emails = self.view(email.contact_id).mailbox.emails
        self.mailboxes[email.contact_id] = build_mailbox([email, *emails])

    def count_call(self, call: Call) -> None:
        """Count a call as received."""
        self.calls[call.kind.value] += 1
        self.endpoint_calls[call.endpoint.value] += 1

    def begin_call(self, call: Call) -> None:
        """Count a call as in flight."""
        self.in_flight[call.kind] += 1
        self.queries_in_flight += call.endpoint is Endpoint.COQL
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight.total())

    def end_call(self, call: Call) -> None:
        """Count a call as answered."""
        self.in_flight[call.kind] -= 1
        self.queries_in_flight -= call.endpoint is Endpoint.COQL
