"""The one place of what changes while an emulator runs."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence

import msgspec

from bulklink.emulator.world import EMPTY_MAILBOX, Email, Mailbox, World

_REMEMBERED_CHANGES = 20_000


class Change(msgspec.Struct, frozen=True):
    """An email goes onto a deal, or off it where `deal_id` is None."""

    message_id: str
    deal_id: str | None


class Applied(msgspec.Struct, frozen=True):
    """A change that was applied, and what was before it."""

    at: float
    contact_id: str
    message_id: str
    before: str | None
    after: str | None


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


class State:
    """Links, tokens and counters of a running emulator."""

    def __init__(self, world: World) -> None:
        self._mailboxes = dict(world.mailboxes)
        self._moved: dict[str, dict[str, str | None]] = {}
        self.applied: deque[Applied] = deque(maxlen=_REMEMBERED_CHANGES)
        self.calls: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0
        self.answered_429 = 0
        self.tokens: dict[str, float] = {}
        self.tokens_made = 0
        self.revoked = False

    def view(self, contact_id: str) -> ContactView:
        """Return what is known of a contact's emails now."""
        mailbox = self._mailboxes.get(contact_id, EMPTY_MAILBOX)
        return ContactView(contact_id, mailbox, self._moved.get(contact_id, {}))

    def apply(self, contact_id: str, changes: Sequence[Change], at: float) -> None:
        """Make the changes of one call."""
        view = self.view(contact_id)
        moved = self._moved.setdefault(contact_id, {})
        for change in changes:
            email = view.mailbox.by_id[change.message_id]
            before = moved.get(change.message_id, email.deal_id)
            moved[change.message_id] = change.deal_id
            self.applied.append(Applied(at, contact_id, change.message_id, before, change.deal_id))

    def enter(self) -> None:
        """Count a call as in flight."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def leave(self) -> None:
        """Count a call as answered."""
        self.in_flight -= 1

    def mailboxes(self) -> Mapping[str, Mailbox]:
        """Return all mailboxes by contact."""
        return self._mailboxes
