"""Links that the rule cannot have made were made by people or programs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bulklink.finding.connection_span import ALWAYS_CONNECTED, CONNECTION_UNKNOWN, ConnectionSpan
from bulklink.finding.link_origin import LinkFacts, LinkOrigin, NoLinkReason, judge_link
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import DealFacts, EmailFacts
from tests.finding.builders import DAY, STAGES, contact, deal, email

OPEN_DEALS = (deal("A"), deal("B", modified=60.0))
UNREAD = (deal("A"), deal("B", modified=2 * DAY), deal("C", "Lost"))
"""B changed after the emails, so that they may be on A or B."""


def judge(
    message: EmailFacts,
    deals: Sequence[DealFacts] = OPEN_DEALS,
    connection: ConnectionSpan = ALWAYS_CONNECTED,
) -> LinkFacts:
    replay = RuleReplay(contact(deals, [message]), STAGES)
    readings = [Reading.STRICT]
    is_received = message.direction == "received"
    rule = replay.replay(message, readings, connection) if is_received else None
    return judge_link(replay, message, rule, readings, connection)


@pytest.mark.parametrize(
    ("message", "deals", "origin", "uncertainty"),
    [
        (email(DAY, "B"), OPEN_DEALS, LinkOrigin.RULE, None),
        (email(DAY, "A"), OPEN_DEALS, LinkOrigin.HAND, None),
        (email(DAY, "B", direction="sent"), OPEN_DEALS, LinkOrigin.SENT, None),
        (email(DAY, "A"), UNREAD, LinkOrigin.UNCERTAIN, Uncertainty.HISTORY_NOT_READ),
        (email(DAY, "C"), UNREAD, LinkOrigin.HAND, None),
        (email(DAY, "Z"), OPEN_DEALS, LinkOrigin.UNCERTAIN, Uncertainty.DEAL_NOT_LISTED),
        (
            email(DAY, "B", direction=None),
            OPEN_DEALS,
            LinkOrigin.UNCERTAIN,
            Uncertainty.DIRECTION_UNKNOWN,
        ),
        (
            email(DAY, link_known=False),
            OPEN_DEALS,
            LinkOrigin.UNCERTAIN,
            Uncertainty.LINK_UNKNOWN,
        ),
        (email(DAY, direction="sent"), OPEN_DEALS, LinkOrigin.NONE, None),
        (email(DAY), [deal("A", "Lost")], LinkOrigin.NONE, None),
    ],
    ids=[
        "where the rule put it",
        "elsewhere",
        "sent",
        "on one of two that the rule may have chosen",
        "on one that the rule cannot have chosen",
        "on a deal that the contact is not on",
        "of unknown direction",
        "of unknown link",
        "sent and on none",
        "on none as the rule says",
    ],
)
def test_the_origin_of_a_link(
    message: EmailFacts,
    deals: Sequence[DealFacts],
    origin: LinkOrigin,
    uncertainty: Uncertainty | None,
) -> None:
    assert judge(message, deals) == LinkFacts(origin, uncertainty)


def test_an_email_on_none_of_several_deals_may_have_been_unlinked_by_hand() -> None:
    expected = LinkFacts(LinkOrigin.NONE, None, "B", (NoLinkReason.BY_HAND,))
    assert judge(email(DAY)) == expected


def test_an_email_on_none_may_be_from_before_its_mailbox_was_connected_or_not_shared() -> None:
    facts = judge(email(DAY), connection=CONNECTION_UNKNOWN)
    assert facts.no_link_reasons == (
        NoLinkReason.BY_HAND,
        NoLinkReason.BACKLOG,
        NoLinkReason.NOT_SHARED,
    )


def test_an_email_of_the_only_deal_is_not_on_none_because_it_is_old() -> None:
    facts = judge(email(DAY), [deal("A")], ConnectionSpan(0, 9 * DAY))
    assert facts.no_link_reasons == (NoLinkReason.BY_HAND,)


@pytest.mark.parametrize("by_role", [True, None])
def test_an_email_on_none_may_be_so_because_the_contact_only_has_a_role(
    by_role: bool | None,
) -> None:
    facts = judge(email(DAY), [deal("A", by_role=by_role)])
    assert facts.no_link_reasons == (NoLinkReason.BY_HAND, NoLinkReason.ROLE)


def test_an_email_that_surely_is_from_before_its_mailbox_was_connected_is_as_the_rule_says() -> (
    None
):
    facts = judge(email(DAY), connection=ConnectionSpan.at(9 * DAY))
    assert facts == LinkFacts(LinkOrigin.NONE)


def test_an_email_on_none_is_expected_nowhere_if_the_deal_is_uncertain() -> None:
    assert judge(email(DAY), UNREAD) == LinkFacts(LinkOrigin.NONE)
