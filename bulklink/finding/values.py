"""Values that finding judges: the emails and deals of one contact.

Times are seconds since 1970, in UTC. What the CRM does not show is None.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["received", "sent"]
DAY = 86_400.0
"""Seconds of a day."""


class FieldChange(msgspec.Struct, frozen=True, gc=False):
    """An entry in the history of a deal.

    Args:
        time: when it happened.
        field: API name of the field that changed, such as `Stage`; None for a touch: only the
            modified time changed.
        old: value before.
        new: value after.
        source: what made the change, such as `crm_ui` or `workflow`.
    """

    time: float
    field: str | None = None
    old: str | None = None
    new: str | None = None
    source: str | None = None


class DealFacts(msgspec.Struct, frozen=True, gc=False):
    """A deal that a contact is on.

    Args:
        id: id of the deal.
        name: name of the deal today.
        stage: stage today, by its display or actual value.
        created: when it was created.
        modified: when it was last modified.
        owner_id: the user who owns it today.
        account_id: its account.
        closing_date: when it is or was expected to close.
        by_role: whether the contact is on it by a contact role only.
        number: the deal's own number, from the field that the user names.
        history: its changes, oldest first; None if they were not read.
        history_since: the time from which its history is complete; None for all of it.
    """

    id: str
    name: str | None = None
    stage: str | None = None
    created: float | None = None
    modified: float | None = None
    owner_id: str | None = None
    account_id: str | None = None
    closing_date: str | None = None
    by_role: bool | None = None
    number: str | None = None
    history: tuple[FieldChange, ...] | None = None
    history_since: float | None = None


class Person(msgspec.Struct, frozen=True, gc=False):
    """A sender or recipient.

    Args:
        address: the email address, in lower case.
        name: the name.
    """

    address: str
    name: str | None = None


class EmailFacts(msgspec.Struct, frozen=True, gc=False):
    """An email of a contact.

    Args:
        message_id: id of the email.
        owner_id: the user whose mailbox holds it.
        subject: its subject.
        time: when it was sent.
        direction: whether the mailbox received or sent it.
        link_known: whether the CRM shows which deal it is on, or that it is on none.
        deal_id: the deal that it is on; None for none.
        sender: who sent it.
        to: the recipients.
        cc: further recipients.
        source: where it came from, such as `imap`.
        intent: the intent that Zoho recognised.
        summary: Zoho's summary of it.
        thread_id: id of its conversation.
        owner_name: name of the user whose mailbox holds it.
        link_contradicted: whether the link is unknown because it was stated in several ways.
    """

    message_id: str
    owner_id: str | None = None
    subject: str | None = None
    time: float | None = None
    direction: Direction | None = None
    link_known: bool = True
    deal_id: str | None = None
    sender: Person | None = None
    to: tuple[Person, ...] = ()
    cc: tuple[Person, ...] = ()
    source: str | None = None
    intent: str | None = None
    summary: str | None = None
    thread_id: str | None = None
    owner_name: str | None = None
    link_contradicted: bool = False


class ContactFacts(msgspec.Struct, frozen=True, gc=False):
    """A contact with its emails and deals.

    Args:
        id: id of the contact.
        emails: its emails, in any order.
        deals: the deals that it is on, in any order.
        addresses: its email addresses today, in lower case; empty if they are unknown.
    """

    id: str
    emails: tuple[EmailFacts, ...]
    deals: tuple[DealFacts, ...]
    addresses: tuple[str, ...] = ()
