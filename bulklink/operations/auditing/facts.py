"""Contacts with their emails and deals, as the judge takes them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bulklink.decoding import json_decoder
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails_reader import stream_emails
from bulklink.operations.auditing.deals_file import ContactDeals

MAX_CONTACT_EMAILS = 100_000
"""Emails of one contact that are judged; a contact with more is left out, and named."""


def stream_facts(
    emails: Path,
    deals: Iterator[ContactDeals],
    stop: PlanningStop,
    *,
    first: str = "",
    end: str | None = None,
    on_crowded: Callable[[str], None] = lambda contact_id: None,
) -> Iterator[ContactFacts]:
    """Yield each contact that has emails and whose deals were read, in the order of the ids.

    Memory: the emails of one contact.

    Args:
        emails: file that `write_sorted_emails` wrote.
        deals: the contacts of a file of deals.
        stop: interrupts the reading.
        first: id of the first contact.
        end: id of the contact before which it ends; None for all from the first one on.
        on_crowded: called with a contact that has more than 100,000 emails and is left out.
    """
    none = ContactDeals("")
    known = next(deals, none)
    for contact_id, contact_emails in stream_contact_emails(emails, stop, first, end):
        while known is not none and known.contact_id < contact_id:
            known = next(deals, none)
        if contact_emails is None:
            on_crowded(contact_id)
        elif known.contact_id == contact_id and known.code is None:
            yield ContactFacts(contact_id, contact_emails, _unique(known.deals), known.addresses)


def _unique(deals: tuple[DealFacts, ...]) -> tuple[DealFacts, ...]:
    """Return the deals, each once."""
    by_id = {deal.id: deal for deal in deals}
    return deals if len(by_id) == len(deals) else tuple(by_id.values())


def stream_contact_emails(
    path: Path, stop: PlanningStop, first: str = "", end: str | None = None
) -> Iterator[tuple[str, tuple[EmailFacts, ...] | None]]:
    """Yield each contact with its emails, each email once; None in place of too many.

    If rows of an email name different deals, the one that it is on is unknown.

    Args:
        path: file that `write_sorted_emails` wrote.
        stop: interrupts the reading.
        first: id of the first contact.
        end: id of the contact before which it ends; None for all from the first one on.
    """
    decode_lines = json_decoder(_EmailLine).decode_lines
    contact_id: str | None = None
    emails: dict[tuple[str, str | None], EmailFacts] = {}
    for lines in stream_emails(path, stop, first, end):
        for line in decode_lines(lines):
            if line.contact_id != contact_id:
                if contact_id is not None:
                    yield contact_id, _all(emails)
                contact_id, emails = line.contact_id, {}
            if len(emails) <= MAX_CONTACT_EMAILS:
                email = line.email
                key = email.message_id, email.owner_id
                before = emails.get(key)
                emails[key] = email if before is None else _joined(before, email)
    if contact_id is not None:
        yield contact_id, _all(emails)


def _joined(before: EmailFacts, email: EmailFacts) -> EmailFacts:
    """Return an email that is in two rows, by what both say of its link."""
    if before.link_contradicted or not email.link_known:
        return before
    if before.link_known and before.deal_id != email.deal_id:
        return msgspec.structs.replace(
            email, link_known=False, deal_id=None, link_contradicted=True
        )
    return email


def _all(emails: dict[tuple[str, str | None], EmailFacts]) -> tuple[EmailFacts, ...] | None:
    return tuple(emails.values()) if len(emails) <= MAX_CONTACT_EMAILS else None


class _EmailLine(msgspec.Struct, gc=False):
    contact_id: str
    email: EmailFacts
