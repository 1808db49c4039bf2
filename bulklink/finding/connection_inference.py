"""When mailboxes were connected, inferred from emails that would be on a deal if it was so.

Emails of contacts with several open deals are on none of them if they came before their mailbox
was connected, and on the deal that the rule picks if they came afterwards. People and programs
link and unlink emails too, so some of them say the opposite of the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from math import inf, log

from bulklink.finding.connection_span import ConnectionSpan
from bulklink.finding.values import DAY

_ODDS = log(1000)
"""Log of how much more likely the best day must make the emails than a day that is ruled out."""
_LEAST_OPPOSITES = 0.02
_MOST_OPPOSITES = 0.3
"""Least and greatest share of emails that are assumed to say the opposite of the truth."""


def infer_connection(days: Iterable[tuple[int, int, int]]) -> ConnectionSpan:
    """Return the time in which a mailbox was connected, by what became of its emails.

    The days that are nearly as likely as the best are all in the span.

    Args:
        days: for each day since 1970, in order, with such emails: its number, its emails that are
            on the deal that the rule picks, and its emails that are on no deal.
    """
    days = list(days)
    if not days:
        return ConnectionSpan()
    linked = list(accumulate((on_deal for _, on_deal, _ in days), initial=0))
    unlinked = list(accumulate((on_none for _, _, on_none in days), initial=0))
    # How likely the emails are if the mailbox was connected after the first n days.
    likelihoods = [
        _log_likelihood(unlinked_before, linked_before)
        + _log_likelihood(linked[-1] - linked_before, unlinked[-1] - unlinked_before)
        for linked_before, unlinked_before in zip(linked, unlinked, strict=True)
    ]
    least = max(likelihoods) - _ODDS
    likely = [index for index, likelihood in enumerate(likelihoods) if likelihood > least]
    first, last = likely[0], likely[-1]
    return ConnectionSpan(
        -inf if first == 0 else days[first - 1][0] * DAY,
        inf if last == len(days) else (days[last][0] + 1) * DAY,
    )


def _log_likelihood(agreeing: int, opposite: int) -> float:
    """Return the log of the likelihood of emails of one kind, at their most likely share."""
    share = (opposite + 0.5) / (agreeing + opposite + 1)
    share = min(max(share, _LEAST_OPPOSITES), _MOST_OPPOSITES)
    return agreeing * log(1 - share) + opposite * log(share)
