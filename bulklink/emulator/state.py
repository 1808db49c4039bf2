"""The one place of what changes while an emulator runs."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from bulklink.emulator.faults import Fault, FaultRegistry
from bulklink.emulator.limits import CreditWindow, Penalty
from bulklink.emulator.routing import EndpointKind
from bulklink.emulator.settings import Settings
from bulklink.emulator.world import EMPTY_MAILBOX, Email, Mailbox, World, build_mailbox

_MAX_CHANGE_LOG = 20_000
_T = TypeVar("_T")
DEMO_CREDENTIAL = "demo"
"""Client id, client secret, code, and the refresh token that is there from the start."""


class Change(msgspec.Struct, frozen=True):
    """An email goes onto a deal, or off it where `deal_id` is None."""

    message_id: str
    deal_id: str | None


class ChangeRecord(msgspec.Struct, frozen=True):
    """A change that was applied, what was before it, and whose it was."""

    at: float
    contact_id: str
    message_id: str
    previous_deal_id: str | None
    deal_id: str | None
    author: Literal["call", "somebody"]


class IssuedToken(msgspec.Struct, frozen=True):
    """When an access token ends, and the refresh token that it was made by."""

    expires_at: float
    refresh_token: str


class ContactView(msgspec.Struct, frozen=True):
    """What the rules may see of one contact's emails.

    Args:
        contact_id: the contact.
        mailbox: its emails.
        changed_deals: the deal (or none) of each email that changed since the world was loaded.
    """

    contact_id: str
    mailbox: Mailbox
    changed_deals: Mapping[str, str | None]

    def deal_of(self, email: Email) -> str | None:
        """Return the deal that `email` is on."""
        return self.changed_deals.get(email.message_id, email.deal_id)


class DelayQueue(Generic[_T]):
    """What lands at a later time, in the order of those times."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, _T]] = []
        self._sequence = 0

    def put(self, due: float, item: _T) -> None:
        """Let `item` land at `due`."""
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, item))

    def pop_due(self, now: float) -> tuple[float, _T] | None:
        """Return the next thing that has landed by now and when it did, or None."""
        if not self._heap or self._heap[0][0] > now:
            return None
        due, _, item = heapq.heappop(self._heap)
        return due, item


class CrmState:
    """Links, tokens, limits, faults and counters of a running emulator.

    Args:
        world: what was there before the first call.
        settings: how the emulator behaves.
        faults: those on order at the start.
        now: the time of the start.
    """

    def __init__(
        self, world: World, settings: Settings, faults: Sequence[Fault], now: float
    ) -> None:
        self.started_at = now
        self._mailboxes = dict(world.mailboxes)
        self._changed_deals: dict[str, dict[str, str | None]] = {}
        self.change_log: deque[ChangeRecord] = deque(maxlen=_MAX_CHANGE_LOG)
        self.change_count = 0
        self.faults = FaultRegistry(faults)
        self.credits = CreditWindow(settings.credit_window, settings.background_credits, now)
        self.penalty = Penalty()
        self.calls: Counter[str] = Counter()
        self.in_flight: Counter[EndpointKind] = Counter()
        self.peak_in_flight = 0
        self.answered_429 = 0
        self.access_tokens: dict[str, IssuedToken] = {}
        self.tokens_issued = 0
        self.token_issue_times: deque[float] = deque()
        self.tokens_refused_until = 0.0
        self.refresh_tokens = {DEMO_CREDENTIAL}

    def view(self, contact_id: str) -> ContactView:
        """Return what is known of a contact's emails now."""
        mailbox = self._mailboxes.get(contact_id, EMPTY_MAILBOX)
        return ContactView(contact_id, mailbox, self._changed_deals.get(contact_id, {}))

    def view_at(self, contact_id: str, at: float) -> ContactView:
        """Return what was known of a contact's emails at an earlier time."""
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
        author: Literal["call", "somebody"] = "call",
    ) -> None:
        """Make the changes of one call."""
        if not changes:
            return
        by_id = self.view(contact_id).mailbox.by_id
        changed_deals = self._changed_deals.setdefault(contact_id, {})
        for message_id, deal_id in ((change.message_id, change.deal_id) for change in changes):
            previous_deal_id = changed_deals.get(message_id, by_id[message_id].deal_id)
            changed_deals[message_id] = deal_id
            self.change_log.append(
                ChangeRecord(at, contact_id, message_id, previous_deal_id, deal_id, author)
            )
        self.change_count += len(changes)

    def add_email(self, email: Email) -> None:
        """Put a new email into its contact's mailbox."""
        emails = self.view(email.contact_id).mailbox.emails
        self._mailboxes[email.contact_id] = build_mailbox([email, *emails])

    def mailboxes(self) -> Mapping[str, Mailbox]:
        """Return all mailboxes by contact."""
        return self._mailboxes

    def begin_call(self, kind: EndpointKind) -> None:
        """Count a call as in flight."""
        self.in_flight[kind] += 1
        self.peak_in_flight = max(self.peak_in_flight, self.in_flight.total())

    def end_call(self, kind: EndpointKind) -> None:
        """Count a call as answered."""
        self.in_flight[kind] -= 1
