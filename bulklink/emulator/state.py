"""The one place of what changes while an emulator runs."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Generic, Literal, TypeVar

import msgspec

from bulklink.emulator.calls import Kind
from bulklink.emulator.faults import Fault, FaultBook
from bulklink.emulator.limits import CreditsUsed, Penalty
from bulklink.emulator.settings import Settings
from bulklink.emulator.world import EMPTY_MAILBOX, Email, Mailbox, World, mailbox_of

_REMEMBERED_CHANGES = 20_000
_T = TypeVar("_T")
DEMO = "demo"
"""Client id, client secret, code, and the refresh token that is there from the start."""


class Change(msgspec.Struct, frozen=True):
    """An email goes onto a deal, or off it where `deal_id` is None."""

    message_id: str
    deal_id: str | None


class Applied(msgspec.Struct, frozen=True):
    """A change that was applied, what was before it, and whose it was."""

    at: float
    contact_id: str
    message_id: str
    before: str | None
    after: str | None
    by: Literal["call", "somebody"]


class Issued(msgspec.Struct, frozen=True):
    """When an access token ends, and the refresh token that it was made by."""

    expires: float
    refresh_token: str


class ContactView(msgspec.Struct, frozen=True):
    """What the rules may see of one contact's emails.

    Args:
        contact_id: the contact.
        mailbox: its emails.
        moved: the deal (or none) of each email that changed since the world was loaded.
    """

    contact_id: str
    mailbox: Mailbox
    moved: Mapping[str, str | None]

    def deal_of(self, email: Email) -> str | None:
        """Return the deal that `email` is on."""
        return self.moved.get(email.message_id, email.deal_id)


class Later(Generic[_T]):
    """What lands at a later time, in the order of those times."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, _T]] = []
        self._count = 0

    def put(self, due: float, what: _T) -> None:
        """Let `what` land at `due`."""
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, what))

    def take(self, now: float) -> tuple[float, _T] | None:
        """Return the next thing that has landed by now and when it did, or None."""
        if not self._waiting or self._waiting[0][0] > now:
            return None
        due, _, what = heapq.heappop(self._waiting)
        return due, what


class State:
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
        self.began = now
        self._mailboxes = dict(world.mailboxes)
        self._moved: dict[str, dict[str, str | None]] = {}
        self.applied: deque[Applied] = deque(maxlen=_REMEMBERED_CHANGES)
        self.changes = 0
        self.faults = FaultBook(faults)
        self.credits = CreditsUsed(settings.credit_window, settings.background_credits, now)
        self.penalty = Penalty()
        self.calls: Counter[str] = Counter()
        self.in_flight: Counter[Kind] = Counter()
        self.most_in_flight = 0
        self.answered_429 = 0
        self.tokens: dict[str, Issued] = {}
        self.tokens_made = 0
        self.token_times: deque[float] = deque()
        self.tokens_refused_until = 0.0
        self.refresh_tokens = {DEMO}

    def view(self, contact_id: str) -> ContactView:
        """Return what is known of a contact's emails now."""
        mailbox = self._mailboxes.get(contact_id, EMPTY_MAILBOX)
        return ContactView(contact_id, mailbox, self._moved.get(contact_id, {}))

    def view_at(self, contact_id: str, at: float) -> ContactView:
        """Return what was known of a contact's emails at an earlier time."""
        view = self.view(contact_id)
        moved = dict(view.moved)
        for change in reversed(self.applied):
            if change.at <= at:
                break
            if change.contact_id == contact_id:
                moved[change.message_id] = change.before
        return ContactView(contact_id, view.mailbox, moved)

    def apply(
        self,
        contact_id: str,
        changes: Sequence[Change],
        at: float,
        by: Literal["call", "somebody"] = "call",
    ) -> None:
        """Make the changes of one call."""
        if not changes:
            return
        by_id = self.view(contact_id).mailbox.by_id
        moved = self._moved.setdefault(contact_id, {})
        for message_id, deal_id in ((one.message_id, one.deal_id) for one in changes):
            before = moved.get(message_id, by_id[message_id].deal_id)
            moved[message_id] = deal_id
            self.applied.append(Applied(at, contact_id, message_id, before, deal_id, by))
        self.changes += len(changes)

    def receive(self, email: Email) -> None:
        """Put a new email into its contact's mailbox."""
        known = self.view(email.contact_id).mailbox.emails
        self._mailboxes[email.contact_id] = mailbox_of([email, *known])

    def mailboxes(self) -> Mapping[str, Mailbox]:
        """Return all mailboxes by contact."""
        return self._mailboxes

    def enter(self, kind: Kind) -> None:
        """Count a call as in flight."""
        self.in_flight[kind] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight.total())

    def leave(self, kind: Kind) -> None:
        """Count a call as answered."""
        self.in_flight[kind] -= 1
