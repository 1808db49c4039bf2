"""Links that the rule and the pages of deals made when emails came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.mail import Mail
from bulklink.emulator.conversations.moments import MINUTE
from bulklink.emulator.conversations.org import OrgPlan, OrgUser
from bulklink.emulator.conversations.people import Correspondent
from bulklink.emulator.conversations.randomness import Draws
from bulklink.emulator.prediction import DealCandidate, predict_deal

LinkedBy = Literal["rule", "hand", "sent", "none"]


@dataclass(slots=True)
class Listing:
    """An email as the CRM lists it under a contact.

    Args:
        mail: the email.
        contact: the contact.
        owner: the user whose mailbox holds it.
        right: the deal that it should be on, or None.
        link: the deal that it is on, or None.
        linked_by: what made the link.
        is_copy: whether the contact only got a copy.
        is_second: whether it is the copy of a received email in a second mailbox.
    """

    mail: Mail
    contact: Correspondent
    owner: OrgUser
    right: DealLife | None
    link: DealLife | None = None
    linked_by: LinkedBy = "none"
    is_copy: bool = False
    is_second: bool = False

    @property
    def at_duplicate(self) -> bool:
        """Whether it was listed under the record that was merged into the contact's later."""
        duplicate = self.contact.duplicate
        return (
            duplicate is not None
            and not self.is_copy
            and self.mail.at_duplicate
            and self.mail.time < duplicate.merged
        )

    def set_link(self, deal: DealLife | None, linked_by: LinkedBy) -> None:
        """Put the email on a deal, or on none."""
        self.link, self.linked_by = deal, linked_by if deal else "none"


def list_mail(mails: Iterable[Mail]) -> list[Listing]:
    """Return what the CRM lists of emails, in order of time."""
    listings = []
    for mail in sorted(mails, key=lambda mail: mail.time):
        right = mail.deal if mail.deal and mail.deal.concerns(mail.person) else None
        listings.append(Listing(mail, mail.person, mail.user, right))
        other = mail.copy_contact
        if other:
            other_right = mail.deal if mail.deal and mail.deal.concerns(other) else None
            listings.append(Listing(mail, other, mail.user, other_right, is_copy=True))
        if mail.copy_user:
            second = Listing(mail, mail.person, mail.copy_user, right, is_second=True)
            listings.append(second)
    return listings


def link_on_arrival(
    org: OrgPlan, draws: Draws, listings: Sequence[Listing], deals: Sequence[DealLife]
) -> list[Listing]:
    """Link emails as the CRM does when they come, and return them.

    In a world in which everything is right, a workflow touches the right deal just before an
    email comes, if need be, and emails that the rule links wrongly even so never come.

    Args:
        org: the org.
        draws: where randomness comes from.
        listings: the emails of a company, in order of time.
        deals: its deals.
    """
    if org.recipe.kind != "all-right":
        for listing in listings:
            _link(org, listing, deals)
        return list(listings)
    right_listings = []
    last_time = org.start
    for listing in listings:
        _link(org, listing, deals)
        if listing.link not in {None, listing.right}:
            _touch_before(org, draws, listing, deals, last_time)
            _link(org, listing, deals)
        if listing.link in (None, listing.right):
            right_listings.append(listing)
            last_time = listing.mail.time
    return right_listings


def _link(org: OrgPlan, listing: Listing, deals: Sequence[DealLife]) -> None:
    mail = listing.mail
    if not mail.sent:
        listing.set_link(_predict(org, listing, deals), "rule")
    elif mail.page and mail.page.concerns(listing.contact):
        listing.set_link(mail.page, "sent")


def _predict(org: OrgPlan, listing: Listing, deals: Sequence[DealLife]) -> DealLife | None:
    """Return the deal that the rule links a received email to, or None."""
    moment = listing.mail.time
    candidates = _candidates(org, listing, deals)
    is_backlog = moment < listing.owner.connected
    if is_backlog and len(candidates) != 1:
        return None
    deal_id = predict_deal(
        (
            DealCandidate(deal.id, deal.forecast_at(moment), float(deal.modified_at(moment)))
            for deal in candidates
        ),
        org.recipe.reading,
    )
    return next((deal for deal in candidates if deal.id == deal_id), None)


def _candidates(org: OrgPlan, listing: Listing, deals: Sequence[DealLife]) -> list[DealLife]:
    """Return the deals that the contact's record had when an email came."""
    moment, contact = listing.mail.time, listing.contact
    duplicate = contact.duplicate
    is_merged = duplicate is None or moment >= duplicate.merged
    candidates = []
    for deal in deals:
        if deal.created > moment:
            break  # deals come in order of their creation
        if deal.person.id == contact.id:
            if is_merged or deal.from_duplicate == listing.at_duplicate:
                candidates.append(deal)
        elif org.knobs.roles_count and contact.id in deal.role_ids and not listing.at_duplicate:
            candidates.append(deal)
    return candidates


def _touch_before(
    org: OrgPlan, draws: Draws, listing: Listing, deals: Sequence[DealLife], last_time: int
) -> None:
    """Let a workflow touch the right deal after anything else, before an email comes."""
    candidates = _candidates(org, listing, deals)
    moment = listing.mail.time
    delay = draws.between(MINUTE, 90 * MINUTE)
    if listing.right in candidates:
        latest = max([last_time, *(deal.modified_at(moment) for deal in candidates)])
        touch = max(latest + 1, moment - delay)
        if touch < moment:
            listing.right.touch(touch, "workflow")
