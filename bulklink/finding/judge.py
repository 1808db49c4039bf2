"""Judge of the emails of one contact: which deal each belongs to, and what to propose.

The evidence for a deal is a sum of logarithms of odds. With those of the other deals, and of no
deal, it gives probabilities. All emails of a conversation are judged alike. A conversation is
judged by itself first, then once more with what came of the others of the contact.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import NamedTuple

import msgspec

from bulklink.finding.connection_span import CONNECTION_UNKNOWN, ConnectionSpan
from bulklink.finding.conversations import Conversation, group_conversations
from bulklink.finding.evidence import ContactEvidence, Finding
from bulklink.finding.link_origin import LinkFacts, LinkOrigin, NoLinkReason, judge_link
from bulklink.finding.org_evidence import OrgFacts
from bulklink.finding.related import RelatedConversations
from bulklink.finding.rule_replay import RuleReplay, RuleVerdict
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import ContactFacts, EmailFacts
from bulklink.finding.verdicts import CandidateScore, ChangeKind, EmailVerdict, Evidence, Tier
from bulklink.finding.weights import Weights

_AFTER_A_GAP = frozenset({"continued", "resumed", "stale_text"})
"""Evidence of a conversation that goes on after a gap, when it may be about something new."""
_LIKELY_BY_RULE = frozenset({Uncertainty.MAILBOX, Uncertainty.READING})
"""Uncertainties of a link on the deal that the rule picks, if it was applied at all."""
_MADE_BY_PEOPLE = (LinkOrigin.HAND, LinkOrigin.SENT)
_TAKEN_OFF = (NoLinkReason.BY_HAND,)
"""Why an email is on no deal, if nothing but an unlink by a person explains it."""
_NO_LINK = LinkFacts(LinkOrigin.NONE)
_BY_RULE = LinkFacts(LinkOrigin.RULE)
_Candidates = list[tuple[str | None, list[Finding]]]


class HoldOut(msgspec.Struct, frozen=True):
    """Moves that people made, compared with what would have been proposed without them.

    Args:
        conversations: conversations in which people moved received emails.
        proposed: emails of these for which a move would have been proposed, by its tier.
        right: those of them that would have been moved as people did, by tier.
    """

    conversations: int
    proposed: dict[Tier, int]
    right: dict[Tier, int]


class _Replayed(NamedTuple):
    """What the rule and people did with the emails of a contact.

    Args:
        replay: the rule, replayed for the contact.
        rules: what the rule did with each email; None if it was not received.
        links: how the link of each email was made.
    """

    replay: RuleReplay
    rules: Sequence[RuleVerdict | None]
    links: Sequence[LinkFacts]


class Judge:
    """Judges contacts.

    Args:
        weights: weights of the evidence.
        org: what is known of the org.
        propose_detach: whether to propose that emails about no deal of the contact are unlinked.
    """

    def __init__(self, weights: Weights, org: OrgFacts, *, propose_detach: bool = False) -> None:
        self._weights = weights
        self._org = org
        self._propose_detach = propose_detach

    def judge(self, contact: ContactFacts) -> list[EmailVerdict]:
        """Return the verdicts on a contact's emails, in the order of its emails."""
        return self._judge(contact, self._replay(contact))

    def hold_out(self, contact: ContactFacts) -> HoldOut | None:
        """Compare the moves that people made with what would have been proposed without them.

        All that people linked or unlinked is hidden: the deals that the rule gave the received
        emails are put back.

        Returns:
            The counts; None if people have moved no email of the contact, as far as is certain.
        """
        return self._hold_out(contact, self._replay(contact))

    def judge_and_hold_out(
        self, contact: ContactFacts
    ) -> tuple[list[EmailVerdict], HoldOut | None]:
        """Return what `judge` and `hold_out` return, which takes less than both."""
        replayed = self._replay(contact)
        return self._judge(contact, replayed), self._hold_out(contact, replayed)

    def _replay(self, contact: ContactFacts) -> _Replayed:
        replay = RuleReplay(contact, self._org.stages, roles=self._org.roles)
        rules = [self._rule(replay, email) for email in contact.emails]
        return _Replayed(replay, rules, self._links(replay, contact.emails, rules))

    def _judge(self, contact: ContactFacts, replayed: _Replayed) -> list[EmailVerdict]:
        replay, rules, links = replayed
        scores = self._score(contact, replay, links)
        return [
            self._verdict(email, link, rule, *email_scores)
            for email, link, rule, email_scores in zip(
                contact.emails, links, rules, scores, strict=True
            )
        ]

    def _hold_out(self, contact: ContactFacts, replayed: _Replayed) -> HoldOut | None:
        replay, rules, links = replayed
        if not any(map(_was_moved, contact.emails, rules)):
            return None
        emails, hidden_links = list(contact.emails), list(links)
        moved: dict[int, str] = {}
        for index, (email, link, rule) in enumerate(zip(contact.emails, links, rules, strict=True)):
            if link.no_link_reasons == _TAKEN_OFF:
                emails[index] = msgspec.structs.replace(email, deal_id=link.expected_deal_id)
                hidden_links[index] = _BY_RULE
            if link.origin not in _MADE_BY_PEOPLE or email.deal_id is None:
                continue
            before = None if rule is None else rule.deal_id
            emails[index] = msgspec.structs.replace(email, deal_id=before)
            hidden_links[index] = _NO_LINK if before is None else _BY_RULE
            if before is not None:
                moved[index] = email.deal_id
        hidden = msgspec.structs.replace(contact, emails=tuple(emails))
        scores = self._score(hidden, replay, hidden_links)
        proposed, right = dict.fromkeys(Tier, 0), dict.fromkeys(Tier, 0)
        conversations: set[int] = set()
        for index, deal_id in moved.items():
            verdict = self._verdict(emails[index], hidden_links[index], None, *scores[index])
            conversations.add(verdict.conversation)
            if verdict.kind is ChangeKind.MOVE and verdict.tier is not None:
                proposed[verdict.tier] += 1
                right[verdict.tier] += verdict.deal_id == deal_id
        return HoldOut(len(conversations), proposed, right)

    def _rule(self, replay: RuleReplay, email: EmailFacts) -> RuleVerdict | None:
        """Return what the rule did with an email; None if it was not received."""
        if email.direction != "received":
            return None
        return replay.replay(email, self._org.readings, self._connection(email))

    def _links(
        self,
        replay: RuleReplay,
        emails: Sequence[EmailFacts],
        rules: Sequence[RuleVerdict | None],
    ) -> list[LinkFacts]:
        readings = self._org.readings
        return [
            judge_link(replay, email, rule, readings, self._connection(email))
            for email, rule in zip(emails, rules, strict=True)
        ]

    def _connection(self, email: EmailFacts) -> ConnectionSpan:
        return self._org.connections.get(email.owner_id or "", CONNECTION_UNKNOWN)

    def _score(
        self, contact: ContactFacts, replay: RuleReplay, links: Sequence[LinkFacts]
    ) -> list[tuple[int, tuple[CandidateScore, ...]]]:
        """Return, for each email, the number of its conversation and the scores of that."""
        conversations = group_conversations(contact.emails)
        by_email: list[tuple[int, tuple[CandidateScore, ...]]] = [(0, ())] * len(contact.emails)
        if contact.deals:
            scores = self._score_conversations(contact, replay, links, conversations)
        else:
            scores = [()] * len(conversations)
        for conversation, conversation_scores in zip(conversations, scores, strict=True):
            for email in conversation.emails:
                by_email[email.index] = conversation.number, conversation_scores
        return by_email

    def _score_conversations(
        self,
        contact: ContactFacts,
        replay: RuleReplay,
        links: Sequence[LinkFacts],
        conversations: Sequence[Conversation],
    ) -> list[tuple[CandidateScore, ...]]:
        evidence = ContactEvidence(contact, replay.deals, links, self._org.number_shapes)
        candidates = [evidence.candidates(conversation) for conversation in conversations]
        sums = [[self._sum(own) for _, own in found] for found in candidates]
        first = [_probabilities(of_conversation) for of_conversation in sums]
        deal_ids = [*(profile.deal.id for profile in evidence.profiles), None]
        related = RelatedConversations(
            conversations,
            [dict(zip(deal_ids, probabilities, strict=True)) for probabilities in first],
        )
        scores: list[tuple[CandidateScore, ...]] = []
        for number, found in enumerate(candidates):
            probabilities = first[number]
            added = related.evidence(conversations[number], found)
            if any(more for _, more in added):
                for place, (_, more) in enumerate(added):
                    found[place][1].extend(more)
                    sums[number][place] = self._sum(more, sums[number][place])
                probabilities = _probabilities(sums[number])
            scores.append(self._scores(found, probabilities))
        return scores

    def _sum(self, evidence: Sequence[Finding], total: float = 0.0) -> float:
        """Return the sum of the log odds of evidence and of what was there before."""
        log_odds = self._weights.log_odds
        for name, amount, _ in evidence:
            total += log_odds[name] * amount
        return total

    def _scores(
        self, candidates: _Candidates, probabilities: Sequence[float]
    ) -> tuple[CandidateScore, ...]:
        log_odds = self._weights.log_odds
        scores = [
            CandidateScore(
                deal_id,
                probability,
                tuple(
                    [
                        Evidence(name, log_odds[name] * amount, text)
                        for name, amount, text in evidence
                    ]
                ),
            )
            for (deal_id, evidence), probability in zip(candidates, probabilities, strict=True)
        ]
        scores.sort(key=_best_first)
        return tuple(scores)

    def _verdict(
        self,
        email: EmailFacts,
        link: LinkFacts,
        rule: RuleVerdict | None,
        conversation: int,
        scores: tuple[CandidateScore, ...],
    ) -> EmailVerdict:
        if not scores:
            return EmailVerdict(email, conversation, link, rule, scores)
        best = scores[0]
        kind = self._kind(email, link, best.deal_id)
        tier = None if kind is None else self._tier(email, link, kind, scores)
        if tier is None:
            return EmailVerdict(
                email, conversation, link, rule, scores, confidence=best.probability
            )
        return EmailVerdict(
            email, conversation, link, rule, scores, kind, best.deal_id, tier, best.probability
        )

    def _kind(self, email: EmailFacts, link: LinkFacts, deal_id: str | None) -> ChangeKind | None:
        """Return the change that puts an email on a deal; None if nothing is to be changed."""
        if not email.link_known or link.origin in _MADE_BY_PEOPLE or deal_id == email.deal_id:
            return None
        if deal_id is None:
            return ChangeKind.DETACH if self._propose_detach else None
        return ChangeKind.ATTACH if email.deal_id is None else ChangeKind.MOVE

    def _tier(
        self,
        email: EmailFacts,
        link: LinkFacts,
        kind: ChangeKind,
        scores: Sequence[CandidateScore],
    ) -> Tier | None:
        """Return how far a change can be trusted; None if it is not even worth a look."""
        best = scores[0]
        tier = self._weights.tier(kind, best.probability)
        if tier is None:
            return None
        was_unlinked = link.expected_deal_id == best.deal_id and link.no_link_reasons == _TAKEN_OFF
        is_foreign = all(email.deal_id != score.deal_id for score in scores)
        is_incomplete = None in (email.owner_id, email.time, email.direction)
        if is_incomplete or was_unlinked or is_foreign:
            return Tier.LOOK
        if tier is Tier.SURE and (
            (link.origin is LinkOrigin.UNCERTAIN and link.uncertainty not in _LIKELY_BY_RULE)
            or any(evidence.name in _AFTER_A_GAP for score in scores for evidence in score.evidence)
        ):
            return Tier.LIKELY
        return tier


def _was_moved(email: EmailFacts, rule: RuleVerdict | None) -> bool:
    """Return whether people certainly moved a received email from one deal to another."""
    if rule is None or email.deal_id is None or not email.link_known:
        return False
    return rule.deal_id not in (None, email.deal_id)


def _probabilities(sums: Sequence[float]) -> list[float]:
    """Return the probability of each candidate, by the sum of its log odds."""
    most = max(sums)
    odds = [exp(value - most) for value in sums]
    total = sum(odds)
    return [value / total for value in odds]


def _best_first(score: CandidateScore) -> tuple[float, str]:
    return -score.probability, score.deal_id or ""
