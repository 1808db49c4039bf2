"""When mailboxes were connected, inferred from emails that would be on a deal if it was so.

Emails of contacts with several open deals are on none of them if they came before their mailbox
was connected, and on the deal that the rule picks if they came afterwards. People link and unlink
emails too, so some of them say the opposite of the truth.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from math import ceil, inf, log

from bulklink.finding.connection_span import ConnectionSpan

SECONDS_A_DAY = 86_400
_ODDS = log(1000)
"""Log of how much more likely the best day must make the emails than a day that is ruled out."""
_SHARE_OF_OPPOSITES = (0.05, 0.4)
"""Least and greatest share of emails that are assumed to say the opposite."""


def infer_connection(days: Iterable[tuple[int, int, int]]) -> ConnectionSpan:
    """Return the time in which a mailbox was connected, by what became of its emails.

    The days that are nearly as likely as the best are all in the span. What is nearly as likely
    depends on how many emails say the opposite of what they should on the best day.

    Args:
        days: for each day since 1970, in order, with such emails: its number, its emails that are
            on the deal that the rule picks, and its emails that are on no deal.
    """
    days = list(days)
    if not days:
        return ConnectionSpan()
    linked = sum(on_deal for _, on_deal, _ in days)
    total = linked + sum(on_none for _, _, on_none in days)
    # How many emails agree if the mailbox was connected after the first n days.
    agreeing = list(accumulate((on_none - on_deal for _, on_deal, on_none in days), initial=linked))
    best = max(agreeing)
    least, greatest = _SHARE_OF_OPPOSITES
    opposite = min(max((total - best + 1) / (total + 2), least), greatest)
    tolerated = ceil(_ODDS / log((1 - opposite) / opposite))
    likely = [index for index, score in enumerate(agreeing) if score > best - tolerated]
    first, last = likely[0], likely[-1]
    return ConnectionSpan(
        -inf if first == 0 else days[first - 1][0] * float(SECONDS_A_DAY),
        inf if last == len(days) else (days[last][0] + 1) * float(SECONDS_A_DAY),
    )
