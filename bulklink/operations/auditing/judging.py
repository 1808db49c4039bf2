"""Passes over the contacts of an audit: what the org tells; the verdicts and the hold-out."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import msgspec

from bulklink.finding.demotion import MOVE_PROMISES, is_rejected, least_precision, lower_tier
from bulklink.finding.judge import HoldOut, Judge
from bulklink.finding.link_evidence import ReadingChoice
from bulklink.finding.link_origin import LinkOrigin
from bulklink.finding.org_evidence import OrgEvidence
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.values import ContactFacts
from bulklink.finding.verdicts import ChangeKind, EmailVerdict, Tier
from bulklink.finding.weights import Weights
from bulklink.models import ForecastType
from bulklink.operations.auditing.files import AuditFiles
from bulklink.operations.auditing.parts import PART_EMAILS, ContactPart, PartProcesses, Work
from bulklink.operations.auditing.proposal_filter import ProposalFilter
from bulklink.operations.auditing.reading import AuditInputs
from bulklink.operations.auditing.rows import ContactRows
from bulklink.tables import Cell

_LEAST_CONVERSATIONS = 100
"""Conversations below which a hold-out demotes nothing."""
_BY_HAND = (LinkOrigin.HAND, LinkOrigin.SENT)
T = TypeVar("T")


class TierCheck(msgspec.Struct, frozen=True):
    """How right the moves of a tier are where people corrected them.

    Args:
        tier: the tier; `likely` counts the moves of `sure` too.
        proposed: moves that would be proposed for conversations that people corrected.
        right: those of them to the deal that people chose.
        promise: share of them that the tier promises to be right.
        at_least: lower bound of that share, at 95 %.
        becomes: tier that the moves of this tier get: a lower one if the promise is rejected.
    """

    tier: Tier
    proposed: int
    right: int
    promise: float
    at_least: float
    becomes: Tier

    @property
    def is_demoted(self) -> bool:
        """Whether the promise is rejected."""
        return self.becomes != self.tier


class HoldOutResult(msgspec.Struct, frozen=True):
    """Result of the hold-out on links that people made.

    Args:
        conversations: conversations with links made by people.
        tiers: how right the moves of each tier are.
    """

    conversations: int = 0
    tiers: tuple[TierCheck, ...] = ()

    @property
    def demotions(self) -> dict[Tier, Tier]:
        """Return the tier that the moves of each demoted tier get."""
        return {check.tier: check.becomes for check in self.tiers if check.is_demoted}


class AuditNotes(msgspec.Struct, frozen=True):
    """What the file of verdicts keeps on the audit as a whole.

    Args:
        reading: the reading of the rule that was taken.
        hold_out: result of the hold-out.
    """

    reading: str
    hold_out: HoldOutResult


def check_tiers(conversations: int, proposed: Counter[Tier], right: Counter[Tier]) -> HoldOutResult:
    """Return which tiers keep their promise of moves.

    Args:
        conversations: conversations with links made by people.
        proposed: moves that would be proposed for them, by tier.
        right: those of them to the deal that people chose.
    """
    checks: list[TierCheck] = []
    all_proposed = all_right = 0
    for tier, promise in MOVE_PROMISES.items():
        all_proposed += proposed[tier]
        all_right += right[tier]
        wrong = all_proposed - all_right
        becomes = tier
        while (
            conversations >= _LEAST_CONVERSATIONS
            and becomes in MOVE_PROMISES
            and is_rejected(MOVE_PROMISES[becomes], all_proposed, wrong)
        ):
            becomes = lower_tier(becomes)
        at_least = round(least_precision(all_proposed, wrong), 4)
        checks.append(TierCheck(tier, all_proposed, all_right, promise, at_least, becomes))
    return HoldOutResult(conversations, tuple(checks))


@dataclass(slots=True)
class AuditTally:
    """Counts of the verdicts.

    Attributes:
        contacts: contacts judged.
        emails: their emails.
        filtered_out: emails for which no change may be proposed.
        contradicted: emails whose rows name different deals that they are on.
        proposed: proposals by tier and kind.
        by_hand: emails whose link a person or a program made.
        uncertain: received emails of which nobody can tell what the rule did.
    """

    contacts: int = 0
    emails: int = 0
    filtered_out: int = 0
    contradicted: int = 0
    proposed: Counter[tuple[Tier, ChangeKind]] = field(default_factory=Counter)
    by_hand: int = 0
    uncertain: int = 0

    def add(self, verdicts: Sequence[EmailVerdict]) -> None:
        """Add the verdicts on the emails of a contact."""
        self.contacts += 1
        self.emails += len(verdicts)
        for verdict in verdicts:
            self.contradicted += verdict.email.link_contradicted
            self.by_hand += verdict.link.origin in _BY_HAND
            self.uncertain += verdict.rule is not None and verdict.rule.uncertainty is not None
            if verdict.kind is not None and verdict.tier is not None:
                self.proposed[verdict.tier, verdict.kind] += 1

    def add_tally(self, other: AuditTally) -> None:
        """Add the counts of other contacts."""
        self.contacts += other.contacts
        self.emails += other.emails
        self.filtered_out += other.filtered_out
        self.contradicted += other.contradicted
        self.proposed += other.proposed
        self.by_hand += other.by_hand
        self.uncertain += other.uncertain


@dataclass(slots=True, kw_only=True)
class EmailJudging:
    """Judges the emails of an audit, in passes that each block.

    Args:
        inputs: the contacts with their emails and deals.
        weights: weights of the evidence.
        roles: whether the rule considers deals that a contact is on by a contact role only; None
            for what the links of the org tell.
        reading: how the rule is read; None for what explains the org's links best.
        propose_detach: whether to propose to unlink emails of no deal.
        proposal_filter: emails for which a change may be proposed.
        processes: processes that judge.
        part_emails: emails that a process judges at once.

    Attributes:
        choice: which reading explains the org's links; set by `learn`.
        counted_roles: whether the rule considers deals by a contact role; None if that is unknown;
            set by `learn`.
        hold_out: result of the hold-out; set by `write`.
        tally: counts of the verdicts; filled by `write`.
        done: emails that the current pass has judged.
    """

    inputs: AuditInputs
    weights: Weights
    roles: bool | None
    reading: Reading | None
    propose_detach: bool
    proposal_filter: ProposalFilter
    processes: PartProcesses
    part_emails: int = PART_EMAILS
    choice: ReadingChoice = field(init=False)
    counted_roles: bool | None = field(init=False, default=None)
    hold_out: HoldOutResult = field(init=False, default_factory=HoldOutResult)
    tally: AuditTally = field(init=False, default_factory=AuditTally)
    done: int = field(init=False, default=0)
    _judge: Judge = field(init=False)
    _parts: list[ContactPart] = field(init=False, default_factory=list)

    def learn(self) -> None:
        """Learn which reading of the rule the org follows, and when mailboxes were connected."""
        self._parts = self.inputs.parts(self.part_emails)
        header = self.inputs.header
        stages = {} if header is None else header.stages
        evidence = OrgEvidence(stages, roles=self.roles)
        for of_part in self._map(partial(_learn, stages=stages, roles=self.roles)):
            evidence.merge(of_part)
        self.choice = evidence.choose_reading()
        org = evidence.org_facts(self.reading)
        self.counted_roles = org.roles
        self._judge = Judge(self.weights, org, propose_detach=self.propose_detach)

    def write(self, files: AuditFiles) -> None:
        """Judge all emails, and write mapping and verdicts.

        In the same pass the links that people made are hidden, and those that would be found are
        counted. Only if that demotes a tier, all emails are judged once more.
        """
        try:
            self._write(files, {})
        except _DemotedError:
            self._write(files, self.hold_out.demotions)

    def _write(self, files: AuditFiles, demotions: Mapping[Tier, Tier]) -> None:
        """Judge all emails, and write mapping and verdicts.

        Raises:
            _DemotedError: if the hold-out demotes other tiers; nothing is written then.
        """
        work = partial(
            _judge_contacts,
            judge=self._judge,
            demotions=demotions,
            proposal_filter=self.proposal_filter,
        )
        self.tally = AuditTally()
        conversations, proposed, right = 0, Counter[Tier](), Counter[Tier]()
        with files.open(self._notes) as (mapping, verdict_table):
            for judged in self._map(work):
                self.tally.add_tally(judged.tally)
                mapping.write(judged.mapping_rows)
                verdict_table.write(judged.verdict_rows)
                for result in judged.held_out:
                    conversations += result.conversations
                    proposed.update(result.proposed)
                    right.update(result.right)
            self.hold_out = check_tiers(conversations, proposed, right)
            if self.hold_out.demotions != demotions:
                raise _DemotedError

    def _notes(self) -> bytes:
        """Return what the file of verdicts keeps on the audit, once it is complete."""
        reading = (self.reading or self.choice.reading).value
        return msgspec.json.encode(AuditNotes(reading, self.hold_out))

    def _map(self, work: Work[T]) -> Iterator[T]:
        """Yield the results of a pass over the parts."""
        self.done = 0
        for result in self.processes.map(work, self._parts):
            yield result.value
            self.done += result.emails
            self.inputs.crowded.update(result.crowded)


class _DemotedError(Exception):
    """Raised when the hold-out demotes a tier of verdicts that were not demoted."""


class _Judged(msgspec.Struct, frozen=True):
    """Verdicts on the emails of some contacts, as rows.

    Args:
        tally: their counts.
        mapping_rows: rows of the mapping.
        verdict_rows: rows of the file of verdicts.
        held_out: results of the hold-out on the contacts that have one.
    """

    tally: AuditTally
    mapping_rows: list[tuple[Cell, ...]]
    verdict_rows: list[tuple[Cell, ...]]
    held_out: list[HoldOut]


def _learn(
    contacts: Iterable[ContactFacts], *, stages: Mapping[str, ForecastType], roles: bool | None
) -> OrgEvidence:
    evidence = OrgEvidence(stages, roles=roles)
    for contact in contacts:
        evidence.add(contact)
    return evidence


def _judge_contacts(
    contacts: Iterable[ContactFacts],
    *,
    judge: Judge,
    demotions: Mapping[Tier, Tier],
    proposal_filter: ProposalFilter,
) -> _Judged:
    judged = _Judged(AuditTally(), [], [], [])
    for contact in contacts:
        as_judged, held_out = judge.judge_and_hold_out(contact)
        if held_out is not None:
            judged.held_out.append(held_out)
        verdicts = _demoted(as_judged, demotions)
        filtered = _filtered(verdicts, proposal_filter)
        judged.tally.add(filtered)
        judged.tally.filtered_out += sum(map(operator.is_not, filtered, verdicts))
        rows = ContactRows(contact, filtered)
        judged.mapping_rows.extend(rows.mapping_rows())
        judged.verdict_rows.extend(rows.verdict_rows())
    return judged


def _demoted(verdicts: list[EmailVerdict], lower: Mapping[Tier, Tier]) -> list[EmailVerdict]:
    """Return the verdicts, with the tiers that the hold-out left."""
    if not lower:
        return verdicts
    return [
        msgspec.structs.replace(verdict, tier=lower[verdict.tier])
        if verdict.kind is ChangeKind.MOVE and verdict.tier is not None and verdict.tier in lower
        else verdict
        for verdict in verdicts
    ]


def _filtered(verdicts: list[EmailVerdict], proposal_filter: ProposalFilter) -> list[EmailVerdict]:
    """Return the verdicts, without proposals for the emails that the filter leaves out."""
    if not proposal_filter:
        return verdicts
    return [
        verdict
        if proposal_filter.passes(verdict.email)
        else msgspec.structs.replace(verdict, kind=None, deal_id=None, tier=None)
        for verdict in verdicts
    ]
