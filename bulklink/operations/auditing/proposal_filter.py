"""Filter of the emails for which an audit may propose a change; the others are evidence still."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import msgspec

from bulklink.finding.values import EmailFacts
from bulklink.operations.fetching.selection import Selection, check_filter_times, parse_filter_time


class ProposalFilter(msgspec.Struct, frozen=True):
    """Emails for which a change may be proposed: those that pass every condition that is set.

    Args:
        since: earliest time, in seconds since 1970; None for none.
        until: time before which emails pass, in seconds since 1970; None for none.
        deals: deals whose emails pass, None in them for emails on no deal; None for all emails.
    """

    since: float | None = None
    until: float | None = None
    deals: frozenset[str | None] | None = None

    def __bool__(self) -> bool:
        """Whether any email is left out."""
        return (self.since, self.until, self.deals) != (None, None, None)

    def passes(self, email: EmailFacts) -> bool:
        """Return whether a change may be proposed for an email; not if it is unknown."""
        if self.deals is not None and not (email.link_known and email.deal_id in self.deals):
            return False
        if self.since is None and self.until is None:
            return True
        time = email.time
        return (
            time is not None
            and (self.since is None or time >= self.since)
            and (self.until is None or time < self.until)
        )


def make_proposal_filter(
    emails_on: Collection[str], since: str | None, until: str | None, *, on_no_deal: bool
) -> ProposalFilter:
    """Return a filter; blocks if a list of deals has to be read.

    Args:
        emails_on: ids of deals, or `@FILE`, whose emails pass.
        since: time from which emails pass, ISO 8601.
        until: time before which they pass, ISO 8601; a date alone includes its day.
        on_no_deal: emails on no deal pass, besides those of `emails_on`.

    Raises:
        UsageError: if a time or an id is none, or no email can pass.
        BadFileError: if a list cannot be read.
    """
    deals: set[str | None] = {
        request.value for request in Selection(emails_on=tuple(emails_on)).deal_requests()
    }
    if on_no_deal:
        deals.add(None)
    first = parse_filter_time("since", since)
    end = parse_filter_time("until", until, end_of_day=True)
    check_filter_times(first, end)
    return ProposalFilter(
        _seconds(first),
        _seconds(end),
        frozenset(deals) if deals else None,
    )


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
