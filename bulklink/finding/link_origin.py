"""Who linked an email to its deal: the prediction rule, or a person or program."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import inf

import msgspec

from bulklink.finding.connection_span import (
    ALWAYS_CONNECTED,
    CONNECTION_UNKNOWN,
    ConnectionSpan,
)
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay, RuleVerdict
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import EmailFacts


class LinkOrigin(StrEnum):
    """Who made the present link of an email."""

    RULE = "rule"
    """The prediction rule."""
    HAND = "by hand"
    """A person or a program: the rule cannot have put the received email there."""
    SENT = "sent"
    """Whoever sent the email, from the page of a deal, or a person or a program afterwards."""
    NONE = "none"
    """It is on no deal."""
    UNCERTAIN = "uncertain"
    """Nobody can tell."""


class NoLinkReason(StrEnum):
    """Why a received email may be on no deal although the rule would have linked it."""

    BY_HAND = "unlinked by hand"
    BACKLOG = "came before the mailbox was connected"
    ROLE = "the contact is on the deal by a contact role only"
    NOT_SHARED = "the mailbox may not be shared"


class LinkFacts(msgspec.Struct, frozen=True, gc=False):
    """What is known of the present link of an email.

    Args:
        origin: who made it.
        uncertainty: why that is uncertain; None if it is not, or the CRM does not show it.
        expected_deal_id: the deal that the rule would have linked the email to, if it is on none.
        no_link_reasons: why it may be on none all the same.
    """

    origin: LinkOrigin
    uncertainty: Uncertainty | None = None
    expected_deal_id: str | None = None
    no_link_reasons: tuple[NoLinkReason, ...] = ()


def judge_link(
    replay: RuleReplay,
    email: EmailFacts,
    rule: RuleVerdict | None,
    readings: Sequence[Reading],
    connection: ConnectionSpan = CONNECTION_UNKNOWN,
) -> LinkFacts:
    """Return who made the present link of an email.

    A received email on a deal that the rule cannot have chosen, whatever is unknown, was linked by
    hand. So was any sent email on a deal, or it was sent from the page of the deal.

    Args:
        replay: the replay of the contact.
        email: an email of the contact.
        rule: what the rule did with it; None if it was not received.
        readings: how the rule may have to be read.
        connection: when the mailbox of the email was connected.
    """
    if not email.link_known:
        return _LINK_CONTRADICTED if email.link_contradicted else _LINK_UNKNOWN
    if email.deal_id is None:
        if rule is None:
            return _NO_LINK
        return _judge_no_link(replay, email, rule, readings, connection)
    if email.direction == "sent":
        return _SENT
    if rule is None:
        return _DIRECTION_UNKNOWN
    if email.deal_id not in rule.possible:
        return _BY_HAND
    if rule.exact:
        return _BY_RULE
    return LinkFacts(LinkOrigin.UNCERTAIN, rule.uncertainty)


_SENT = LinkFacts(LinkOrigin.SENT)
_BY_HAND = LinkFacts(LinkOrigin.HAND)
_BY_RULE = LinkFacts(LinkOrigin.RULE)
_NO_LINK = LinkFacts(LinkOrigin.NONE)
_LINK_CONTRADICTED = LinkFacts(LinkOrigin.UNCERTAIN, Uncertainty.LINK_CONTRADICTED)
_LINK_UNKNOWN = LinkFacts(LinkOrigin.UNCERTAIN, Uncertainty.LINK_UNKNOWN)
_DIRECTION_UNKNOWN = LinkFacts(LinkOrigin.UNCERTAIN, Uncertainty.DIRECTION_UNKNOWN)


def _judge_no_link(
    replay: RuleReplay,
    email: EmailFacts,
    rule: RuleVerdict,
    readings: Sequence[Reading],
    connection: ConnectionSpan,
) -> LinkFacts:
    """Return why a received email is on no deal, if a live mailbox would have linked it."""
    if email.time is None or rule.possible == (None,):
        return _NO_LINK
    expected = replay.replay(email, readings, ALWAYS_CONNECTED).deal_id
    if expected is None:
        return _NO_LINK
    reasons = [NoLinkReason.BY_HAND]
    if None in rule.possible:
        reasons.append(NoLinkReason.BACKLOG)
    if replay.by_role(expected) is not False:
        reasons.append(NoLinkReason.ROLE)
    if connection.latest == inf:
        reasons.append(NoLinkReason.NOT_SHARED)
    return LinkFacts(LinkOrigin.NONE, expected_deal_id=expected, no_link_reasons=tuple(reasons))
