"""Choice of the records that a probe works with."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.errors import UsageError
from bulklink.operations.probing.folder import is_message_id, is_record_id
from bulklink.operations.probing.probed_org import MAX_PAGES, ProbedOrg
from bulklink.operations.probing.values import Materials, ProbeDeal, ProbeEmail
from bulklink.zoho.coql import DealRow
from bulklink.zoho.email_pages import EmailListPage, ListedEmail, parse_email_list
from bulklink.zoho.lookup_responses import parse_user_names
from bulklink.zoho.related_records import parse_contact_deals, parse_contact_roles
from bulklink.zoho.requests import (
    contact_deals_request,
    contact_roles_request,
    deal_records_request,
    users_request,
)

T = TypeVar("T")
_MAX_FOREIGN_DEALS = 3


class ProbeRequest(msgspec.Struct, frozen=True):
    """The records that the user names.

    Args:
        contact_id: contact whose emails are changed.
        message_ids: its emails; empty to choose among the first ones of its list.
        other_contact_id: a contact with other deals, perhaps with an email that both have.
        role_deal_id: a deal that has the contact by a contact role only.
        private_email: an email of the contact in a mailbox that is not shared.
    """

    contact_id: str
    message_ids: tuple[str, ...] = ()
    other_contact_id: str | None = None
    role_deal_id: str | None = None
    private_email: str | None = None

    @property
    def named_emails(self) -> tuple[str, ...]:
        """All emails that are named."""
        return (*self.message_ids, *([self.private_email] if self.private_email else []))

    def check(self) -> None:
        """Check the ids, which become parts of addresses.

        Raises:
            UsageError: if one is not an id.
        """
        record_ids = (self.contact_id, self.other_contact_id, self.role_deal_id)
        for text, is_valid in (
            *((text, is_record_id) for text in record_ids if text is not None),
            *((text, is_message_id) for text in self.named_emails),
        ):
            if not is_valid(text):
                raise UsageError(
                    f"{text!r} is not an id.",
                    where="CONTACT",
                    advice="Ids of contacts and deals are digits; those of emails are longer.",
                )


class _Listed(msgspec.Struct, frozen=True):
    """Emails of a contact, and the pages that were read to find them."""

    emails: tuple[ListedEmail, ...]
    pages: int


async def gather_materials(org: ProbedOrg, request: ProbeRequest) -> Materials:
    """Look up the records that the user names, and choose what the experiments work with.

    Raises:
        UsageError: if the records are not enough, or do not fit.
        ExperimentError: if they cannot be read.
    """
    contact_id = request.contact_id
    deals = await _deals_of(org, contact_id)
    users = (await org.look_up(users_request(1), parse_user_names, "Users")).names
    listed = await _list_emails(org, contact_id, request.named_emails)
    own_deals = {d.id: d for d in deals if d.contact_id == contact_id and d.name}
    if not own_deals:
        raise UsageError(
            "The contact has no deal of its own to link an email to.",
            where=f"contact {contact_id}",
            advice="Name another contact, or create a deal of this contact first.",
        )
    _check_listed(request, listed.emails)
    usable = usable_emails(contact_id, listed.emails, own_deals, users)
    private = _first(email for email in usable if email.message_id == request.private_email)
    named = set(request.message_ids) or {email.message_id for email in usable}
    emails = [e for e in usable if e.message_id in named and e is not private]
    _check_usable(request, listed.emails, emails, private)
    email = emails[0]
    deal = next(iter(own_deals.values()))
    materials = Materials(
        email,
        _deal(deal),
        deal.modified_time,
        second=_first(e for e in emails[1:] if e.owner_id == email.owner_id),
        of_other_owner=_first(e for e in emails[1:] if e.owner_id != email.owner_id),
        other_owner=_first(
            (user_id, name) for user_id, name in users.items() if name and user_id != email.owner_id
        ),
        private=private,
        pages=listed.pages,
    )
    materials = await _with_role_deal(org, request, deals, materials)
    return await _with_other_contact(org, request, emails, materials)


async def _deals_of(org: ProbedOrg, contact_id: str) -> Sequence[DealRow]:
    page = await org.look_up(
        contact_deals_request(contact_id, 1), parse_contact_deals, "The deals of a contact"
    )
    return tuple(page.items.values())


async def _list_emails(org: ProbedOrg, contact_id: str, message_ids: Collection[str]) -> _Listed:
    """Read the first page of a contact's emails, and more until all named ones are listed."""
    pages = PageReader[EmailListPage](
        contact_id, parse_email_list, org.caller, ReadBreaker(), max_pages=MAX_PAGES
    )
    emails: dict[str, ListedEmail] = {}
    while (page := await pages.next_page()) is not None:
        emails |= {email.message_id: email for email in page.emails}
        if emails.keys() >= set(message_ids):
            break
    if pages.failed:
        reason = f": {pages.refusal.shown_code}" if pages.refusal else ""
        raise UsageError(
            f"The emails of the contact cannot be read{reason}.",
            where=f"contact {contact_id}",
            advice="Check the id of the contact, and that the token may read its emails.",
        )
    return _Listed(tuple(emails.values()), pages.pages_read)


def usable_emails(
    contact_id: str,
    listed: Iterable[ListedEmail],
    own_deals: Mapping[str, DealRow],
    users: Mapping[str, str | None],
) -> list[ProbeEmail]:
    """Return the emails that can certainly be put back, those on no deal first.

    An email on a deal that is not its contact's own might be refused when it is linked again.

    Args:
        contact_id: the contact.
        listed: its emails as listed.
        own_deals: its own deals by id.
        users: names of users by id.
    """
    emails = []
    for email in listed:
        owner_name = email.owner_name or users.get(email.owner_id or "")
        if not email.owner_id or not owner_name or isinstance(email.deal, msgspec.UnsetType):
            continue
        if email.deal is None or email.deal.id in own_deals:
            emails.append(
                ProbeEmail(
                    contact_id,
                    email.message_id,
                    email.owner_id,
                    owner_name,
                    _deal(own_deals[email.deal.id]) if email.deal else None,
                    email.subject,
                )
            )
    return sorted(emails, key=lambda email: email.deal is not None)


def _check_listed(request: ProbeRequest, listed: Sequence[ListedEmail]) -> None:
    listed_ids = {email.message_id for email in listed}
    missing = [key for key in request.named_emails if key not in listed_ids]
    if missing:
        raise UsageError(
            f"The contact has no email {missing[0]} on its first {count_of(MAX_PAGES, 'page')}.",
            where=f"contact {request.contact_id}",
            advice="Name an email that the CRM lists under this contact, not too far down.",
        )


def _check_usable(
    request: ProbeRequest,
    listed: Sequence[ListedEmail],
    usable: Sequence[ProbeEmail],
    private: ProbeEmail | None,
) -> None:
    where = f"contact {request.contact_id}"
    usable_ids = {email.message_id for email in usable}
    unusable = [key for key in request.message_ids if key not in usable_ids]
    if unusable:
        raise UsageError(
            f"The email {unusable[0]} is on a deal that is not the contact's own, or has no owner"
            " who can be named: it might not be possible to put it back.",
            where=where,
            advice="Name an email on no deal, or on a deal of this contact.",
        )
    if request.private_email and (private is None or private.deal is not None):
        raise UsageError(
            f"The email {request.private_email} is on a deal: it might not be possible to put it"
            " back.",
            where=where,
            advice="Name an email of a private mailbox that is on no deal.",
        )
    if not usable:
        raise UsageError(
            "The contact has no email to probe with: none on its first page is on no deal or on a"
            " deal of its own."
            if listed
            else "The CRM lists no emails of the contact.",
            where=where,
            advice=Advice(
                "Name another contact, or an email further down with {}.", Keyword("emails")
            ),
        )


async def _with_role_deal(
    org: ProbedOrg, request: ProbeRequest, deals: Sequence[DealRow], materials: Materials
) -> Materials:
    """Add the deal by a contact role: the one that the user names, or one that is listed."""
    contact_id, deal_id = request.contact_id, request.role_deal_id
    listed = [deal for deal in deals if deal.contact_id not in (None, contact_id) and deal.name]
    if deal_id is None:
        if not listed:
            return materials
        return msgspec.structs.replace(materials, role_deal=_deal(listed[0]), role_deal_listed=True)
    records = await org.look_up(deal_records_request([deal_id]), parse_contact_deals, "A deal")
    deal = records.items.get(deal_id)
    if deal is None or not deal.name:
        problem = "does not exist"
    elif deal.contact_id == contact_id:
        problem = "is the contact's own"
    elif not await _has_role(org, contact_id, deal_id):
        problem = "does not have the contact by a contact role"
    else:
        is_listed = deal_id in {deal.id for deal in deals}
        return msgspec.structs.replace(materials, role_deal=_deal(deal), role_deal_listed=is_listed)
    raise UsageError(
        f"The deal {problem}.",
        where=Advice("{} {}", Keyword("role_deal"), deal_id),
        advice="Name a deal of another contact on which this one has a role.",
    )


async def _with_other_contact(
    org: ProbedOrg, request: ProbeRequest, emails: Sequence[ProbeEmail], materials: Materials
) -> Materials:
    """Add a deal of the other contact, and an email that both contacts have."""
    other_id = request.other_contact_id
    if other_id is None:
        return materials
    deals = [d for d in await _deals_of(org, other_id) if d.contact_id == other_id and d.name]
    by_id = {deal.id: deal for deal in deals}
    foreign_deal = await _first_without_role(org, request.contact_id, deals, materials.role_deal)
    listed = await _list_emails(org, other_id, ())
    twins = usable_emails(other_id, listed.emails, by_id, {})
    pairs = [
        (email, twin) for email in emails for twin in twins if email.message_id == twin.message_id
    ]
    shared, shared_with = pairs[0] if pairs else (None, None)
    return msgspec.structs.replace(
        materials,
        foreign_deal=foreign_deal,
        shared=shared,
        shared_with=shared_with,
        pages=max(materials.pages, listed.pages),
    )


async def _first_without_role(
    org: ProbedOrg, contact_id: str, deals: Sequence[DealRow], role_deal: ProbeDeal | None
) -> ProbeDeal | None:
    """Return the first of these deals on which the contact has no role; a few are tried."""
    candidates = [deal for deal in deals if role_deal is None or deal.id != role_deal.id]
    for deal in candidates[:_MAX_FOREIGN_DEALS]:
        if not await _has_role(org, contact_id, deal.id):
            return _deal(deal)
    return None


async def _has_role(org: ProbedOrg, contact_id: str, deal_id: str) -> bool:
    request = contact_roles_request(deal_id, 1)
    roles = await org.look_up(request, parse_contact_roles, "The contact roles of a deal")
    return contact_id in roles.items


def _deal(row: DealRow) -> ProbeDeal:
    return ProbeDeal(row.id, row.name or "")


def _first(items: Iterable[T]) -> T | None:
    return next(iter(items), None)
