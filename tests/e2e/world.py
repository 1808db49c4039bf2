"""World of a small CRM, for the emulator and for scripted servers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

MODULE = "5843104000000003735"
PAT, JACOB = "5843104000000424672", "5843104000000424673"
USERS = {PAT: "Patricia Boyle", JACOB: "Jacob Lindner"}
UNKNOWN_ID = "5843104000000999999"
"""An id that nobody and nothing in any world has."""

FREE, LINKED, OTHER_OWNER = 45, 25, 5
"""Emails of a contact in a stocked world: Patricia's on no deal, hers on deal a, Jacob's."""


def message_id(*parts: object, length: int = 64) -> str:
    """Return a message id of hex digits, determined by `parts`."""
    text = hashlib.sha512("/".join(map(str, parts)).encode()).hexdigest()
    return (text * (length // len(text) + 1))[:length]


@dataclass(frozen=True, slots=True)
class Email:
    """An email of a contact in a user's mailbox.

    Args:
        contact: id of the contact.
        message: id of the message.
        owner: id of the user.
        deal: the deal that it is on, or None.
    """

    contact: str
    message: str
    owner: str
    deal: str | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact with two deals.

    Args:
        id: id of the contact.
        a: its first deal.
        b: its second deal.
        free: emails on no deal.
        linked: emails on deal a.
        other_owner: emails on no deal, in Jacob's mailbox.
    """

    id: str
    a: str
    b: str
    free: tuple[Email, ...] = ()
    linked: tuple[Email, ...] = ()
    other_owner: tuple[Email, ...] = ()

    @property
    def emails(self) -> tuple[Email, ...]:
        """Return all emails of the contact."""
        return self.free + self.linked + self.other_owner


@dataclass(slots=True)
class World:
    """A CRM.

    Args:
        contacts: its contacts.
    """

    contacts: list[Contact] = field(default_factory=list)

    def add(
        self,
        free: int = 0,
        linked: int = 0,
        other_owner: int = 0,
        length: int = 64,
        owner: str = PAT,
    ) -> Contact:
        """Add a contact and return it.

        Args:
            free: number of emails on no deal.
            linked: number of emails on deal a.
            other_owner: number of emails in Jacob's mailbox.
            length: characters of a message id.
            owner: owner of the free and the linked emails.
        """
        number = len(self.contacts) + 1
        bare = Contact(
            id=f"584310400001{number:06}7",
            a=f"584310400002{number:06}1",
            b=f"584310400002{number:06}2",
        )

        def emails(kind: str, count: int, owner_id: str, deal: str | None) -> tuple[Email, ...]:
            return tuple(
                Email(
                    bare.id, message_id(number, kind, number_of_kind, length=length), owner_id, deal
                )
                for number_of_kind in range(count)
            )

        contact = replace(
            bare,
            free=emails("free", free, owner, None),
            linked=emails("linked", linked, owner, bare.a),
            other_owner=emails("others", other_owner, JACOB, None),
        )
        self.contacts.append(contact)
        return contact

    def deal_names(self) -> dict[str, str]:
        """Return the name of each deal."""
        return {
            deal: f"Deal {letter} of contact {number}"
            for number, contact in enumerate(self.contacts, 1)
            for letter, deal in (("A", contact.a), ("B", contact.b))
        }

    def links(self) -> dict[str, str | None]:
        """Return the deal that each message is on."""
        return {email.message: email.deal for contact in self.contacts for email in contact.emails}

    def as_file(self) -> dict[str, object]:
        """Return the object of a world file."""
        names = self.deal_names()
        return {
            "module_id": MODULE,
            "users": [
                {"id": user, "full_name": name, "email": f"{user}@bulklink.example"}
                for user, name in USERS.items()
            ],
            "contacts": [
                {
                    "id": contact.id,
                    "name": f"Contact {number}",
                    "email": f"{number}@customer.example",
                }
                for number, contact in enumerate(self.contacts, 1)
            ],
            "deals": [
                {
                    "id": deal,
                    "name": names[deal],
                    "contact_id": contact.id,
                    "stage": "Qualification",
                    "created_time": "2026-01-05T09:00:00+00:00",
                    "modified_time": "2026-02-01T09:00:00+00:00",
                }
                for contact in self.contacts
                for deal in (contact.a, contact.b)
            ],
            "emails": [
                {
                    "contact_id": email.contact,
                    "message_id": email.message,
                    "owner_id": email.owner,
                    "subject": "Question",
                    "time": "2026-03-01T10:00:00+00:00",
                    "received": True,
                    "deal_id": email.deal,
                }
                for contact in self.contacts
                for email in contact.emails
            ],
        }


def make_stocked_world(contacts: int) -> World:
    """Return a world whose contacts have emails of every kind."""
    world = World()
    for _ in range(contacts):
        world.add(free=FREE, linked=LINKED, other_owner=OTHER_OWNER)
    return world
