"""Model of the review page: plain values; texts are in the templates and scripts."""

from __future__ import annotations

import msgspec


class ReviewEvidence(msgspec.Struct, frozen=True, gc=False):
    """One reason for or against a candidate.

    Args:
        name: name of the weight.
        log_odds: what it adds to the logarithm of the odds, negative if it speaks against.
        text: the reason, for users.
    """

    name: str
    log_odds: float
    text: str


class ReviewCandidate(msgspec.Struct, frozen=True, gc=False):
    """A deal to which a conversation may belong.

    Args:
        deal_id: id of the deal; None for no deal.
        deal_name: its name.
        confidence: its probability, as the mapping shows it.
        evidence: what it is computed from, the strongest reason for it first.
    """

    deal_id: str | None
    deal_name: str | None
    confidence: str
    evidence: tuple[ReviewEvidence, ...]


class ReviewEmail(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An email of a conversation; None where something is unknown.

    Args:
        message_id: id of the email.
        owner_id: user whose mailbox holds it.
        owner_name: name of that user.
        subject: its subject.
        time: when it was sent, ISO 8601 in UTC.
        direction: `received` or `sent`.
        from_address: address of the sender.
        from_name: name of the sender.
        from_deal_id: the deal that it is on; `none` for none.
        from_deal_name: name of that deal.
        linked_by: who made its present link.
        rule: the deal that the prediction rule chose, `none`, or `uncertain`.
        kind: the proposed change; None for none.
        tier: how far the proposal can be trusted.
    """

    message_id: str
    owner_id: str | None = None
    owner_name: str | None = None
    subject: str | None = None
    time: str | None = None
    direction: str | None = None
    from_address: str | None = None
    from_name: str | None = None
    from_deal_id: str | None = None
    from_deal_name: str | None = None
    linked_by: str | None = None
    rule: str | None = None
    kind: str | None = None
    tier: str | None = None


class ReviewConversation(msgspec.Struct, frozen=True, gc=False):
    """A conversation with an email whose deal is to change.

    Args:
        contact_id: id of the contact.
        number: number of the conversation among those of the contact.
        candidates: the deals that it may belong to, the most probable and so the proposed one
            first.
        emails: its emails, oldest first.
    """

    contact_id: str
    number: int
    candidates: tuple[ReviewCandidate, ...]
    emails: tuple[ReviewEmail, ...]


class TierSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Proposals of one tier, and how far they can be trusted.

    Args:
        tier: the tier.
        proposed: emails by kind of change.
        promise: what the tier promises, as a sentence.
        measured: what the audit measured on links that people made, as a sentence; empty if it
            measured nothing.
        checked: what a sample that a person checked says, one sentence for each kind of change.
    """

    tier: str
    proposed: dict[str, int]
    promise: str
    measured: str
    checked: tuple[str, ...] = ()

    @property
    def emails(self) -> int:
        """Return the number of proposals."""
        return sum(self.proposed.values())


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What the page says of the audit as a whole.

    Args:
        mapping: name of the mapping.
        reviewed: name of the mapping that the page offers for download.
        made_at: when the page was made, RFC 3339.
        contacts: contacts whose emails were judged.
        emails: their emails.
        conversations: conversations with an email whose deal is to change.
        reading: how the prediction rule was read; None if unknown.
        tiers: the proposals by tier, best first.
        columns: columns of the mapping, in their order.
        commands: commands that go on from here: `plan` and `run` take the downloaded mapping,
            `sure` sends the sure rows of the audit's own, and `explain` shows the whole sum for an
            email.
    """

    mapping: str
    reviewed: str
    made_at: str
    contacts: int
    emails: int
    conversations: int
    reading: str | None
    tiers: tuple[TierSummary, ...]
    columns: tuple[str, ...]
    commands: dict[str, str]

    @property
    def proposals(self) -> int:
        """Return the number of emails whose deal is to change."""
        return sum(tier.emails for tier in self.tiers)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kinds of change that are proposed."""
        kinds = self.tiers[0].proposed if self.tiers else {}
        return tuple(kind for kind in kinds if any(tier.proposed[kind] for tier in self.tiers))
