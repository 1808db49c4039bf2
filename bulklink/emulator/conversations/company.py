"""One company of a synthetic world: its records, its emails, and the truth about them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bulklink.emulator.conversations.corrections import correct_links
from bulklink.emulator.conversations.deal_lives import plan_deals
from bulklink.emulator.conversations.deal_touches import add_reminders
from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.linking import Listing, link_on_arrival, list_mail
from bulklink.emulator.conversations.moments import iso_time
from bulklink.emulator.conversations.org import OrgPlan
from bulklink.emulator.conversations.people import Company, plan_company
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.conversations.small_talk import plan_small_talk
from bulklink.emulator.conversations.threads import add_notes, add_pages, plan_threads

_STREAM = 3
_Entry = dict[str, object]


@dataclass(frozen=True, slots=True)
class CompanyRecords:
    """The records of one company.

    Args:
        accounts: accounts, as in a world file.
        contacts: contacts, as in a world file.
        deals: deals, as in a world file.
        emails: emails, as in a world file, in order of time.
        truths: the truth about each of these emails.
    """

    accounts: Sequence[_Entry]
    contacts: Sequence[_Entry]
    deals: Sequence[_Entry]
    emails: Sequence[_Entry]
    truths: Sequence[_Entry]


def make_company(org: OrgPlan, number: int, limit: int) -> CompanyRecords:
    """Return the records of the nth company of a world.

    Args:
        org: the org.
        number: the number of the company; it alone determines the records.
        limit: most emails to return; the latest are left out.
    """
    seed = org.recipe.key
    company = plan_company(org, Draws(seed, _STREAM, number, 0), number)
    deals = plan_deals(org, company, Draws(seed, _STREAM, number, 1))
    listings = _make_listings(org, company, deals)[:limit]
    for deal in deals:
        deal.settle()
    return CompanyRecords(
        accounts=[
            {"id": account_id, "name": name}
            for account_id, name in zip(company.account_ids, company.names, strict=True)
        ],
        contacts=[person.as_entry() for person in company.people],
        deals=[deal.as_entry(org) for deal in deals],
        emails=[_email_entry(org, company, listing) for listing in listings],
        truths=[_truth_entry(org, company, listing) for listing in listings],
    )


def _make_listings(org: OrgPlan, company: Company, deals: Sequence[DealLife]) -> Sequence[Listing]:
    """Return the emails of a company with their links."""
    streams = [Draws(org.recipe.key, _STREAM, company.number, n) for n in range(2, 9)]
    mails = plan_threads(org, company, streams[0], deals)
    add_notes(org, streams[1], mails)
    for deal in deals:
        add_reminders(org, streams[2], deal)
    mails += plan_small_talk(org, company, streams[3], len(mails))
    add_pages(org, streams[4], mails, deals)
    listings = link_on_arrival(org, streams[5], list_mail(mails), deals)
    correct_links(org, streams[6], listings, deals)
    return listings


def _message_id(org: OrgPlan, company: Company, listing: Listing) -> str:
    """Return the id of an email: the same under each contact, but not in each mailbox."""
    mail = listing.mail
    parts = (org.recipe.key, company.number, mail.thread, mail.time, mail.sent, listing.is_second)
    return hashlib.sha256(":".join(map(str, map(int, parts))).encode()).hexdigest()


def _thread_id(org: OrgPlan, company: Company, listing: Listing) -> str:
    parts = f"{org.recipe.key}:{company.number}:{listing.mail.thread}:{listing.owner.id}"
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def _email_entry(org: OrgPlan, company: Company, listing: Listing) -> _Entry:
    mail = listing.mail
    user = {"user_name": _sender_name(listing), "email": mail.user.email}
    contact = {"user_name": mail.contact_name, "email": mail.contact_address}
    entry: _Entry = {
        "contact_id": listing.contact.id,
        "message_id": _message_id(org, company, listing),
        "owner_id": listing.owner.id,
        "subject": mail.subject,
        "time": iso_time(mail.time, _offset(org, listing)),
        "received": not mail.sent,
        "deal_id": listing.link.id if listing.link else None,
        "from": user if mail.sent else contact,
        "to": [contact] if mail.sent else [user],
        "source": "crm" if mail.in_crm else "imap",
    }
    copies = [{"user_name": name, "email": email} for name, email in mail.copy_people]
    if mail.copy_contact:
        person = mail.copy_contact
        copies.append({"user_name": person.name, "email": person.email})
    if mail.copy_user:
        copies.append({"user_name": mail.copy_user.name, "email": mail.copy_user.email})
    if copies:
        entry["cc"] = copies
    if mail.has_thread_id:
        entry["thread_id"] = _thread_id(org, company, listing)
    if mail.summary:
        entry["summary"] = mail.summary
    if listing.linked_by == "sent":
        entry["sent_from_deal"] = True
    return entry


def _sender_name(listing: Listing) -> str:
    """Return the name of the user: some write their own name in a shared mailbox."""
    mail = listing.mail
    is_own = mail.user.shared and mail.sent and mail.thread % 3 == 0
    return mail.writer_name if is_own else mail.user.name


def _offset(org: OrgPlan, listing: Listing) -> int:
    """Return the minutes ahead of UTC in which the CRM states the time of an email."""
    mail = listing.mail
    zones = (org.zone, None, mail.user.zone if mail.sent else mail.person.zone)
    zone = zones[org.knobs.offset_style]
    return zone.offset_at(mail.time) if zone else 0


def _truth_entry(org: OrgPlan, company: Company, listing: Listing) -> _Entry:
    is_foreign = listing.right is None and listing.mail.deal is not None
    return {
        "contact_id": listing.contact.id,
        "message_id": _message_id(org, company, listing),
        "deal_id": listing.right.id if listing.right else None,
        "linked_by": listing.linked_by,
        "kind": "copy" if is_foreign else listing.mail.kind,
    }
