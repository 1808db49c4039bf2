"""Emails of a synthetic org before anything links them."""

from __future__ import annotations

from dataclasses import dataclass

from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.org import OrgUser
from bulklink.emulator.conversations.people import Correspondent


@dataclass(slots=True, kw_only=True)
class Mail:
    """An email.

    Args:
        time: when it was sent or received.
        sent: whether a user sent it.
        user: the user whose mailbox holds it.
        person: the contact who wrote it or got it.
        subject: its subject.
        summary: its summary, or None.
        thread: number of its conversation in its company.
        has_thread_id: whether the CRM knows its conversation.
        deal: the deal that it is about, or None.
        kind: what it is: `deal`, `hijacked`, `bulk`, `invitation`, `private` or `office`.
        page: the deal from whose page it was sent, or None.
        in_crm: whether a user wrote it in the CRM.
        at_duplicate: whether the address of the contact's duplicate record was used.
        writer_name: the name of the user who wrote it.
        copy_people: names and addresses of people without a record who got a copy.
        copy_contact: another contact who got a copy, or None.
        copy_user: another user who got a copy in a mailbox of their own, or None.
    """

    time: int
    sent: bool
    user: OrgUser
    person: Correspondent
    subject: str
    summary: str | None
    thread: int
    has_thread_id: bool
    deal: DealLife | None
    kind: str
    page: DealLife | None = None
    in_crm: bool = False
    at_duplicate: bool = False
    writer_name: str = ""
    copy_people: tuple[tuple[str, str], ...] = ()
    copy_contact: Correspondent | None = None
    copy_user: OrgUser | None = None

    @property
    def contact_address(self) -> str:
        """The address of the contact that was used."""
        duplicate = self.person.duplicate
        return duplicate.email if duplicate and self.at_duplicate else self.person.email

    @property
    def contact_name(self) -> str:
        """The name of the contact at that address."""
        duplicate = self.person.duplicate
        return duplicate.name if duplicate and self.at_duplicate else self.person.name
