"""Links that users and programs made, changed or removed afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from bulklink.emulator.conversations.deals import DealLife
from bulklink.emulator.conversations.linking import Listing
from bulklink.emulator.conversations.moments import DAY, WORLD_END
from bulklink.emulator.conversations.org import OrgPlan
from bulklink.emulator.conversations.randomness import Draws

_BULK_ON_NO_DEAL = 200
"""Thousandths of the emails about no deal that a program links when it links in bulk."""


def correct_links(
    org: OrgPlan, draws: Draws, listings: Sequence[Listing], deals: Sequence[DealLife]
) -> None:
    """Let users correct, add and remove links of a company, and a program link what is left.

    People correct a conversation at a time, up to the emails that they see at that moment.
    """
    by_thread = sorted(listings, key=lambda listing: (listing.mail.thread, listing.mail.time))
    for _, group in groupby(by_thread, key=lambda listing: listing.mail.thread):
        _correct_thread(org, draws, list(group), deals)
    if draws.chance(org.knobs.bulk_companies):
        days = (WORLD_END - org.start) // DAY
        moment = org.start + draws.between(days // 2, days) * DAY
        earlier = [listing for listing in by_thread if listing.mail.time < moment]
        for _, group in groupby(earlier, key=lambda listing: listing.mail.thread):
            _link_in_bulk(org, draws, list(group), deals, moment)


def _correct_thread(
    org: OrgPlan, draws: Draws, listings: Sequence[Listing], deals: Sequence[DealLife]
) -> None:
    """Let a user go through the emails of a conversation."""
    is_corrected, is_attached = (
        draws.chance(org.knobs.corrected * 1_000 // max(1, org.knobs.correctors)),
        draws.chance(org.knobs.attached * 1_000 // max(1, org.knobs.correctors)),
    )
    seen_until = _seen_until(draws, listings)
    if not listings[0].owner.corrects:
        return
    for listing in listings:
        is_detached, is_wrong = (
            draws.chance(org.knobs.detached),
            draws.chance(org.knobs.hand_errors),
        )
        if listing.mail.time > seen_until:
            continue
        if listing.right is None:
            if listing.linked_by == "rule" and is_detached:
                listing.set_link(None, "none")
        elif _is_wanted(org, listing, is_corrected=is_corrected, is_attached=is_attached):
            deal = _other_deal(draws, listing, deals) if is_wrong else listing.right
            if deal is not listing.link:
                listing.set_link(deal, "hand")


def _seen_until(draws: Draws, listings: Sequence[Listing]) -> int:
    """Return the time up to which a user sees the emails: of one of them, mostly the last."""
    position = draws.below(len(listings)) if draws.chance(300) else len(listings) - 1
    return listings[position].mail.time


def _is_wanted(org: OrgPlan, listing: Listing, *, is_corrected: bool, is_attached: bool) -> bool:
    """Return whether a user gives an email another link."""
    if listing.link is listing.right or listing.linked_by == "sent":
        return False
    if listing.link is not None:
        return is_corrected
    is_left_out = org.recipe.kind == "no-linked-sent" and listing.mail.sent
    return is_attached and not is_left_out


def _other_deal(draws: Draws, listing: Listing, deals: Sequence[DealLife]) -> DealLife | None:
    """Return the deal that a user takes for the right one; the right one if it is the only one."""
    others = [d for d in deals if d.concerns(listing.contact) and d is not listing.right]
    return draws.pick(others) if others else listing.right


def _link_in_bulk(
    org: OrgPlan,
    draws: Draws,
    listings: Sequence[Listing],
    deals: Sequence[DealLife],
    moment: int,
) -> None:
    """Let a program link the unlinked emails of a conversation, all in the same way."""
    is_right, is_any = draws.chance(org.knobs.bulk_right), draws.chance(_BULK_ON_NO_DEAL)
    number = draws.below(1_000)
    for listing in listings:
        known = [d for d in deals if d.concerns(listing.contact) and d.created < moment]
        is_left_out = org.recipe.kind == "no-linked-sent" and listing.mail.sent
        if listing.link or not known or is_left_out:
            continue
        guess = known[number % len(known)]
        if listing.right is None:
            listing.set_link(guess if is_any else None, "hand")
        elif listing.right in known:
            listing.set_link(listing.right if is_right else guess, "hand")
