"""Contacts with their emails and deals, as the judge takes them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, Person
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails import stream_emails
from bulklink.models import NO_DEAL
from bulklink.operations.auditing.deals_file import ContactDeals

MAX_CONTACT_EMAILS = 100_000
"""Emails of one contact that are judged; a contact with more is left out, and named."""
_MAX_KEPT_PEOPLE = 20_000
"""Texts of people that are kept, so that equal ones are parsed once."""
_SEPARATOR = "; "


def stream_facts(
    emails: Path,
    deals: Iterator[ContactDeals],
    stop: PlanningStop,
    *,
    on_crowded: Callable[[str], None] = lambda contact_id: None,
) -> Iterator[ContactFacts]:
    """Yield each contact that has emails and whose deals were read, in the order of the ids.

    Memory: the emails of one contact.

    Args:
        emails: file that `write_sorted_emails` wrote.
        deals: the contacts of a file of deals.
        stop: interrupts the reading.
        on_crowded: called with a contact that has more than 100,000 emails and is left out.
    """
    none = ContactDeals("")
    known = next(deals, none)
    for contact_id, contact_emails in stream_contact_emails(emails, stop):
        while known is not none and known.contact_id < contact_id:
            known = next(deals, none)
        if contact_emails is None:
            on_crowded(contact_id)
        elif known.contact_id == contact_id and known.code is None:
            yield ContactFacts(contact_id, contact_emails, _unique(known.deals))


def _unique(deals: tuple[DealFacts, ...]) -> tuple[DealFacts, ...]:
    """Return the deals, each once."""
    by_id = {deal.id: deal for deal in deals}
    return deals if len(by_id) == len(deals) else tuple(by_id.values())


def stream_contact_emails(
    path: Path, stop: PlanningStop
) -> Iterator[tuple[str, tuple[EmailFacts, ...] | None]]:
    """Yield each contact with its emails, each email once; None in place of too many.

    Args:
        path: file that `write_sorted_emails` wrote.
        stop: interrupts the reading.
    """
    parse = _EmailParser()
    contact_id: str | None = None
    emails: dict[tuple[str, str | None], EmailFacts] = {}
    count = 0
    for batch in stream_emails(path, stop):
        parse.trim()
        for row in batch:
            if row[0] != contact_id:
                if contact_id is not None:
                    yield contact_id, _all(emails, count)
                contact_id, emails, count = row[0], {}, 0
            count += 1
            if count <= MAX_CONTACT_EMAILS:
                emails[row[1], row[2]] = parse(row)
    if contact_id is not None:
        yield contact_id, _all(emails, count)


def _all(
    emails: dict[tuple[str, str | None], EmailFacts], count: int
) -> tuple[EmailFacts, ...] | None:
    return tuple(emails.values()) if count <= MAX_CONTACT_EMAILS else None


class _EmailParser:
    """Parser of the rows of sorted emails, which keeps what many of them share."""

    def __init__(self) -> None:
        self._senders: dict[tuple[str, str | None], Person] = {}
        self._people: dict[str | None, tuple[Person, ...]] = {None: ()}

    def trim(self) -> None:
        """Forget the people if they are many."""
        if len(self._senders) > _MAX_KEPT_PEOPLE:
            self._senders = {}
        if len(self._people) > _MAX_KEPT_PEOPLE:
            self._people = {None: ()}

    def __call__(self, row: tuple[Any, ...]) -> EmailFacts:
        """Return an email."""
        _, message_id, owner_id, subject, time, direction, deal_id = row[:7]
        address, name, to, cc, source, intent = row[7:]
        sender = None
        if address is not None:
            sender = self._senders.get((address, name)) or self._add_sender(address, name)
        return EmailFacts(
            message_id,
            owner_id,
            subject,
            time,
            direction,
            deal_id is not None,
            None if deal_id == NO_DEAL else deal_id,
            sender,
            self._people[to] if to in self._people else self._add_people(to),
            self._people[cc] if cc in self._people else self._add_people(cc),
            source,
            intent,
        )

    def _add_sender(self, address: str, name: str | None) -> Person:
        sender = self._senders[address, name] = Person(address, name)
        return sender

    def _add_people(self, text: str) -> tuple[Person, ...]:
        people = tuple(Person(part) for part in text.split(_SEPARATOR) if part)
        self._people[text] = people
        return people
