"""Whether the prediction rule considers deals that a contact is on by a contact role only.

Zoho does not say. The links of the org tell: emails of a connected mailbox that the rule would have
put on one deal if it considers such deals, and on another if it does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bulklink.binomial import binomial_tail
from bulklink.finding.connection_span import Arrival, ConnectionSpan
from bulklink.finding.link_evidence import SIGNIFICANCE, can_tell
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.values import DAY, EmailFacts

_Vote = tuple[str, int, bool]
"""Mailbox, day since 1970, and whether an email shows that the rule considers such deals."""


class RoleEvidence:
    """Counts emails that tell whether deals by a contact role count, in any order of contacts."""

    def __init__(self) -> None:
        self._votes: Counter[_Vote] = Counter()

    def add(self, counting: RuleReplay, ignoring: RuleReplay) -> None:
        """Add the emails of one contact.

        Emails between the same changes of its deals are one vote: whoever corrects a conversation
        corrects all of it.

        Args:
            counting: the replay of the contact in which such deals count.
            ignoring: the one in which they do not.
        """
        votes: dict[tuple[str, int, bool], float] = {}
        for email in counting.contact.emails:
            if email.time is None or email.owner_id is None or not can_tell(email):
                continue
            with_roles = _choice(counting, email)
            without_roles = _choice(ignoring, email)
            if None in (with_roles, without_roles) or with_roles == without_roles:
                continue
            linked = (email.deal_id,)
            if linked in (with_roles, without_roles):
                period = email.owner_id, counting.period(email.time), linked == with_roles
                votes[period] = max(email.time, votes.get(period, email.time))
        self._votes.update(
            (owner_id, int(time // DAY), counts) for (owner_id, _, counts), time in votes.items()
        )

    def merge(self, other: RoleEvidence) -> None:
        """Add the votes of other contacts."""
        self._votes.update(other._votes)

    def decide(self, connections: Mapping[str, ConnectionSpan]) -> bool | None:
        """Return whether such deals count; None if the links do not tell (sign test).

        Args:
            connections: when each mailbox was connected; only emails that came afterwards tell.
        """
        votes = Counter[bool]()
        for (owner_id, day, counts), number in self._votes.items():
            connection = connections.get(owner_id)
            if connection is not None and (
                connection.arrival((day + 0.5) * DAY, DAY / 2) is Arrival.LIVE
            ):
                votes[counts] += number
        more = votes[True] > votes[False]
        chance = binomial_tail(votes.total(), votes[more], 0.5)
        return more if chance < SIGNIFICANCE else None


def _choice(replay: RuleReplay, email: EmailFacts) -> tuple[str | None] | None:
    """Return the deal that every reading of the rule chooses; None if that is uncertain."""
    moment = replay.moment(email)
    chosen = {replay.replay_as(moment, reading, Arrival.LIVE).possible for reading in Reading}
    if len(chosen) > 1:
        return None
    (possible,) = chosen
    return (possible[0],) if len(possible) == 1 else None
