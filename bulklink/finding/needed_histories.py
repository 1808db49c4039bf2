"""Deals whose histories have to be read so that all verdicts on a contact are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bulklink.finding.connection_span import CONNECTION_UNKNOWN, Arrival, ConnectionSpan
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay


def needed_histories(
    replay: RuleReplay,
    readings: Sequence[Reading],
    connections: Mapping[str, ConnectionSpan],
    *,
    lives: bool = True,
) -> tuple[str, ...]:
    """Return the deals, by id, whose histories have to be read next; none if enough is known.

    A deal that may have changed just before an email may have got it, whatever the others did. So
    all deals that are unknown when an email came are needed, unless the verdict on it is exact
    already. Only for emails from before their mailbox was connected, one history can make another
    needless: of those, one is asked for at a time. Call this with a new replay until it returns
    nothing.

    Args:
        replay: the replay of the contact, with the histories that were read.
        readings: how the rule may have to be read.
        connections: when each mailbox was connected, as far as it is known.
        lives: whether it has to be known of each deal what it was when any email came, sent or
            received, whoever linked that.
    """
    needed: set[str] = set()
    choices: list[list[str]] = []
    for email in replay.contact.emails:
        if email.time is None:
            continue
        unread = replay.unread(email.time)
        if not unread or needed.issuperset(unread):
            continue
        if lives:
            needed.update(deal_id for deal_id in unread if replay.is_unread(deal_id, email.time))
        connection = connections.get(email.owner_id or "", CONNECTION_UNKNOWN)
        if email.direction == "sent" or replay.replay(email, readings, connection).exact:
            continue
        if replay.arrival(email, connection) is Arrival.BACKLOG:
            choices.append(unread)
        else:
            needed.update(unread)
    for choice in sorted(choices, key=lambda choice: (len(choice), choice)):
        if needed.isdisjoint(choice):
            needed.add(min(choice))
    return tuple(sorted(needed))
