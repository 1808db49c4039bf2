"""Rows of the two tables of an audit: the mapping, and the verdict on every email."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from math import floor
from typing import TypeVar

import msgspec

from bulklink.decoding import json_decoder
from bulklink.finding.rule_replay import RuleVerdict
from bulklink.finding.values import ContactFacts
from bulklink.finding.verdicts import CandidateScore, ChangeKind, EmailVerdict, Evidence, Tier
from bulklink.models import NO_DEAL, Op
from bulklink.tables import Cell, TableColumn

MAPPING_COLUMNS = (
    TableColumn("contact_id", is_id=True),
    TableColumn("owner_id", is_id=True),
    TableColumn("owner_name"),
    TableColumn("message_id", is_id=True),
    TableColumn("deal_id", is_id=True),
    TableColumn("deal_name"),
    TableColumn("from_deal_id", is_id=True),
    TableColumn("op"),
    TableColumn("kind"),
    TableColumn("tier"),
    TableColumn("confidence"),
    TableColumn("rule"),
    TableColumn("reasons"),
    TableColumn("runner_up_deal_id", is_id=True),
    TableColumn("runner_up_deal_name"),
    TableColumn("subject"),
    TableColumn("time"),
    TableColumn("accept"),
)
VERDICT_COLUMNS = (
    TableColumn("contact_id", is_id=True),
    TableColumn("conversation", is_number=True),
    TableColumn("message_id", is_id=True),
    TableColumn("owner_id", is_id=True),
    TableColumn("owner_name"),
    TableColumn("subject"),
    TableColumn("time"),
    TableColumn("direction"),
    TableColumn("from_address"),
    TableColumn("from_name"),
    TableColumn("from_deal_id", is_id=True),
    TableColumn("from_deal_name"),
    TableColumn("linked_by"),
    TableColumn("rule"),
    TableColumn("uncertainty"),
    TableColumn("best_deal_id", is_id=True),
    TableColumn("best_deal_name"),
    TableColumn("confidence", is_decimal=True),
    TableColumn("kind"),
    TableColumn("tier"),
    TableColumn("judged_tier"),
    TableColumn("deal_id", is_id=True),
    TableColumn("scores"),
)
UNCERTAIN_RULE = "uncertain"
"""Cell of the column `rule` if nobody can tell what the rule did."""
OPS = {ChangeKind.ATTACH: Op.LINK, ChangeKind.MOVE: Op.RELINK, ChangeKind.DETACH: Op.UNLINK}
"""Operation of each kind of change."""
_DAY_SECONDS = 86_400
_FIRST_DAY = date(1970, 1, 1).toordinal()
_KEPT_DAYS = 10_000
_MOST = 0.9999
"""Greatest confidence that is shown unless there is no other candidate."""


_encode = msgspec.json.Encoder().encode


class ScoredDeal(msgspec.Struct, frozen=True, gc=False):
    """A candidate of a conversation as the file of verdicts has it.

    Args:
        deal_id: id of the deal; None for no deal of the contact.
        deal_name: its name.
        probability: from 0 to 1.
        evidence: what it is computed from.
    """

    deal_id: str | None
    deal_name: str | None
    probability: float
    evidence: tuple[Evidence, ...]


def decode_scores(scores: str | None) -> tuple[ScoredDeal, ...]:
    """Return the candidates of a conversation from its cell in the file of verdicts.

    Raises:
        ValueError: if the cell is damaged; RecursionError if it is too deeply nested.
    """
    return _decode(scores or "[]")


_decode = json_decoder(tuple[ScoredDeal, ...]).decode


class ContactRows:
    """Rows of one contact.

    Args:
        contact: the contact.
        verdicts: what was found of its emails, with the tiers of the mapping.
    """

    def __init__(self, contact: ContactFacts, verdicts: Sequence[EmailVerdict]) -> None:
        self._contact_id = contact.id
        self._names = {deal.id: deal.name for deal in contact.deals}
        self._verdicts = sorted(verdicts, key=lambda verdict: verdict.conversation)

    def mapping_rows(self) -> Iterator[tuple[Cell, ...]]:
        """Yield a row for each email whose deal is to be another, by conversation and time."""
        for verdict in self._verdicts:
            if verdict.kind is not None:
                yield self._mapping_row(verdict, verdict.kind)

    def _mapping_row(self, verdict: EmailVerdict, kind: ChangeKind) -> tuple[Cell, ...]:
        email = verdict.email
        other = runner_up(verdict.scores, verdict.deal_id)
        return (
            self._contact_id,
            email.owner_id,
            email.owner_name,
            email.message_id,
            verdict.deal_id,
            self._name(verdict.deal_id),
            None if kind is ChangeKind.ATTACH else email.deal_id,
            None if verdict.tier is Tier.LOOK else OPS[kind].value,
            kind.value,
            None if verdict.tier is None else verdict.tier.value,
            confidence_text(verdict.confidence),
            rule_cell(verdict.rule),
            reasons_text(verdict.scores, verdict.deal_id),
            None if other is None else other.deal_id or NO_DEAL,
            None if other is None else self._name(other.deal_id),
            email.subject,
            _time_text(email.time),
            None,
        )

    def verdict_rows(self) -> Iterator[tuple[Cell, ...]]:
        """Yield a row for each email, by conversation and time.

        The scores of a conversation are in the row of its first email only, unless they change.
        """
        last: tuple[int, Sequence[CandidateScore]] | None = None
        best: tuple[Cell, Cell, Cell] = (None, None, None)
        for verdict in self._verdicts:
            scores: str | None = None
            if last is None or last[0] != verdict.conversation or last[1] != verdict.scores:
                last = verdict.conversation, verdict.scores
                best, scores = self._best_cells(verdict), self._scores(verdict.scores)
            yield self._verdict_row(verdict, best, scores)

    def _best_cells(self, verdict: EmailVerdict) -> tuple[Cell, Cell, Cell]:
        """Return id and name of the best deal and its confidence, which a conversation shares."""
        if not verdict.scores:
            return None, None, None
        deal_id = verdict.scores[0].deal_id
        return deal_id or NO_DEAL, self._name(deal_id), confidence_text(verdict.confidence)

    def _verdict_row(
        self, verdict: EmailVerdict, best: tuple[Cell, Cell, Cell], scores: str | None
    ) -> tuple[Cell, ...]:
        email, link, rule = verdict.email, verdict.link, verdict.rule
        sender = email.sender
        uncertainty = link.uncertainty or (None if rule is None else rule.uncertainty)
        tier = None if verdict.tier is None else verdict.tier.value
        return (
            self._contact_id,
            verdict.conversation,
            email.message_id,
            email.owner_id,
            email.owner_name,
            email.subject,
            _time_text(email.time),
            email.direction,
            None if sender is None else sender.address,
            None if sender is None else sender.name,
            (email.deal_id or NO_DEAL) if email.link_known else None,
            self._name(email.deal_id),
            link.origin.value,
            rule_cell(rule),
            None if uncertainty is None else uncertainty.value,
            *best,
            None if verdict.kind is None else verdict.kind.value,
            tier,
            tier,  # a sample that is checked may demote the first of them
            verdict.deal_id,
            scores,
        )

    def _scores(self, scores: Sequence[CandidateScore]) -> str:
        name_of = self._names.get
        return _encode(
            [
                ScoredDeal(
                    score.deal_id,
                    None if score.deal_id is None else name_of(score.deal_id),
                    score.probability,
                    score.evidence,
                )
                for score in scores
            ]
        ).decode()

    def _name(self, deal_id: str | None) -> str | None:
        return None if deal_id is None else self._names.get(deal_id)


def confidence_text(confidence: float) -> str:
    """Return a probability with four decimals; only what is certain is shown as 1."""
    return f"{confidence if confidence >= 1 else min(confidence, _MOST):.4f}"


def rule_cell(rule: RuleVerdict | None) -> str | None:
    """Return the deal that the rule chose, `none`, or `uncertain`; None if not received."""
    if rule is None:
        return None
    return (rule.deal_id or NO_DEAL) if rule.exact else UNCERTAIN_RULE


_Candidate = TypeVar("_Candidate", CandidateScore, ScoredDeal)


def runner_up(scores: Sequence[_Candidate], deal_id: str | None) -> _Candidate | None:
    """Return the best candidate other than the proposed deal; None if there is no other."""
    return next((one for one in scores if one.deal_id != deal_id), None)


def reasons_text(scores: Sequence[_Candidate], deal_id: str | None) -> str | None:
    """Return the evidence for the proposed deal, the strongest first."""
    proposed = next((one for one in scores if one.deal_id == deal_id), None)
    if proposed is None:
        return None
    evidence = [one for one in proposed.evidence if one.log_odds > 0]
    evidence.sort(key=lambda one: -one.log_odds)
    return "; ".join(one.text for one in evidence) or None


class ProposalReasons(msgspec.Struct, frozen=True):
    """What the file of verdicts says about a proposed deal.

    Args:
        deal_name: name of the deal; None if it is unknown, or no deal is proposed.
        reasons: the evidence for it, the strongest first; None for none.
        runner_up: the best other candidate; None for none.
    """

    deal_name: str | None
    reasons: str | None
    runner_up: ScoredDeal | None


def proposal_reasons(scores: str | None, deal_id: str | None) -> ProposalReasons:
    """Return what the candidates of a conversation say about a proposal.

    Args:
        scores: the candidates, as in the file of verdicts.
        deal_id: the proposed deal; None for none.
    """
    candidates = decode_scores(scores)
    names = {candidate.deal_id: candidate.deal_name for candidate in candidates}
    return ProposalReasons(
        names.get(deal_id), reasons_text(candidates, deal_id), runner_up(candidates, deal_id)
    )


def _time_text(time: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC; formatting the day again for each email takes longer."""
    if time is None:
        return None
    day, second = divmod(floor(time), _DAY_SECONDS)
    return f"{_day_text(day)}T{_time_of_day(second)}+00:00"


@lru_cache(_KEPT_DAYS)
def _day_text(day: int) -> str:
    return date.fromordinal(_FIRST_DAY + day).isoformat()


def _time_of_day(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
