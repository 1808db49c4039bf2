"""Verdicts: what finding says about each email, and why."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.finding.link_origin import LinkFacts
from bulklink.finding.rule_replay import RuleVerdict
from bulklink.finding.values import EmailFacts


class ChangeKind(StrEnum):
    """What is proposed for an email."""

    ATTACH = "attach"
    """Link it: it is on no deal."""
    MOVE = "move"
    """Relink it: it is on another deal."""
    DETACH = "detach"
    """Unlink it: it belongs to no deal of the contact."""


class Tier(StrEnum):
    """How far a proposal can be trusted, best first."""

    SURE = "sure"
    LIKELY = "likely"
    LOOK = "look"
    """A person has to decide."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """One reason for or against a deal.

    Args:
        name: name of the weight.
        log_odds: what it adds to the logarithm of the odds, negative if it speaks against.
        text: the reason, for users.
    """

    name: str
    log_odds: float
    text: str


class CandidateScore(msgspec.Struct, frozen=True, gc=False):
    """A deal to which a conversation may belong, with the evidence.

    Args:
        deal_id: id of the deal; None for no deal of the contact.
        probability: from 0 to 1; those of all candidates add up to 1.
        evidence: what it is computed from.
    """

    deal_id: str | None
    probability: float
    evidence: tuple[Evidence, ...]


class EmailVerdict(msgspec.Struct, frozen=True, gc=False):
    """What finding says about one email.

    Args:
        email: the email.
        conversation: number of its conversation among those of the contact, from 0.
        link: who made its present link.
        rule: what the prediction rule did with it; None if it was not received.
        scores: candidates of its conversation, the most probable first; empty if the contact has
            no deal.
        kind: the proposed change; None if there is none.
        deal_id: the proposed deal; None for none.
        tier: how far the proposal can be trusted; None without a proposal.
        confidence: probability of the best candidate.
    """

    email: EmailFacts
    conversation: int
    link: LinkFacts
    rule: RuleVerdict | None
    scores: tuple[CandidateScore, ...]
    kind: ChangeKind | None = None
    deal_id: str | None = None
    tier: Tier | None = None
    confidence: float = 0.0
