"""Passes over the contacts of an audit: what the org tells, the hold-out, the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from bulklink.finding.demotion import MOVE_PROMISES, is_rejected, least_precision, lower_tier
from bulklink.finding.judge import Judge
from bulklink.finding.link_evidence import ReadingChoice
from bulklink.finding.link_origin import LinkOrigin
from bulklink.finding.org_evidence import OrgEvidence
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.values import ContactFacts
from bulklink.finding.verdicts import ChangeKind, EmailVerdict, Tier
from bulklink.finding.weights import Weights
from bulklink.operations.auditing.files import AuditFiles
from bulklink.operations.auditing.proposal_filter import ProposalFilter
from bulklink.operations.auditing.reading import AuditInputs
from bulklink.operations.auditing.rows import ContactRows
from bulklink.tables import Cell, Table

_LEAST_CONVERSATIONS = 100
"""Conversations below which a hold-out demotes nothing."""
_BY_HAND = (LinkOrigin.HAND, LinkOrigin.SENT)
_ROWS_AT_ONCE = 1000


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
        proposed: proposals by tier and kind.
        by_hand: emails whose link a person or a program made.
        uncertain: received emails of which nobody can tell what the rule did.
    """

    contacts: int = 0
    emails: int = 0
    filtered_out: int = 0
    proposed: Counter[tuple[Tier, ChangeKind]] = field(default_factory=Counter)
    by_hand: int = 0
    uncertain: int = 0

    def add(self, verdicts: Sequence[EmailVerdict]) -> None:
        """Add the verdicts on the emails of a contact."""
        self.contacts += 1
        self.emails += len(verdicts)
        for verdict in verdicts:
            self.by_hand += verdict.link.origin in _BY_HAND
            self.uncertain += verdict.rule is not None and verdict.rule.uncertainty is not None
            if verdict.kind is not None and verdict.tier is not None:
                self.proposed[verdict.tier, verdict.kind] += 1


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

    Attributes:
        choice: which reading explains the org's links; set by `learn`.
        counted_roles: whether the rule considers deals by a contact role; None if that is unknown;
            set by `learn`.
        hold_out: result of the hold-out; set by `check`.
        tally: counts of the verdicts; filled by `write`.
        done: emails that the current pass has judged.
    """

    inputs: AuditInputs
    weights: Weights
    roles: bool | None
    reading: Reading | None
    propose_detach: bool
    proposal_filter: ProposalFilter
    choice: ReadingChoice = field(init=False)
    counted_roles: bool | None = field(init=False, default=None)
    hold_out: HoldOutResult = field(init=False, default_factory=HoldOutResult)
    tally: AuditTally = field(init=False, default_factory=AuditTally)
    done: int = field(init=False, default=0)
    _judge: Judge = field(init=False)

    def learn(self) -> None:
        """Learn which reading of the rule the org follows, and when mailboxes were connected."""
        header = self.inputs.header
        evidence = OrgEvidence({} if header is None else header.stages, roles=self.roles)
        for contact in self._contacts():
            evidence.add(contact)
        self.choice = evidence.choose_reading()
        org = evidence.org_facts(self.reading)
        self.counted_roles = org.roles
        self._judge = Judge(self.weights, org, propose_detach=self.propose_detach)

    def check(self) -> None:
        """Hide the links that people made, and count how many of them would be found."""
        conversations, proposed, right = 0, Counter[Tier](), Counter[Tier]()
        for contact in self._contacts():
            result = self._judge.hold_out(contact)
            if result is None:
                continue
            conversations += result.conversations
            proposed.update(result.proposed)
            right.update(result.right)
        self.hold_out = check_tiers(conversations, proposed, right)

    def write(self, files: AuditFiles) -> None:
        """Judge all emails, and write mapping and verdicts."""
        notes = AuditNotes((self.reading or self.choice.reading).value, self.hold_out)
        with files.open(msgspec.json.encode(notes)) as (mapping, verdict_table):
            rows, verdict_rows = _Batch(mapping), _Batch(verdict_table)
            for contact in self._contacts():
                verdicts = self._filtered(self._demoted(self._judge.judge(contact)))
                self.tally.add(verdicts)
                contact_rows = ContactRows(contact, verdicts)
                rows.extend(contact_rows.mapping_rows())
                verdict_rows.extend(contact_rows.verdict_rows())
            rows.flush()
            verdict_rows.flush()

    def _contacts(self) -> Iterator[ContactFacts]:
        self.done = 0
        for contact in self.inputs.contacts():
            yield contact
            self.done += len(contact.emails)

    def _demoted(self, verdicts: list[EmailVerdict]) -> list[EmailVerdict]:
        """Return the verdicts, with the tiers that the hold-out left."""
        lower = self.hold_out.demotions
        if not lower:
            return verdicts
        return [
            msgspec.structs.replace(verdict, tier=lower[verdict.tier])
            if verdict.kind is ChangeKind.MOVE and verdict.tier in lower
            else verdict
            for verdict in verdicts
        ]

    def _filtered(self, verdicts: list[EmailVerdict]) -> list[EmailVerdict]:
        """Return the verdicts, without proposals for the emails that the filter leaves out."""
        if not self.proposal_filter:
            return verdicts
        filtered: list[EmailVerdict] = []
        for verdict in verdicts:
            if self.proposal_filter.passes(verdict.email):
                filtered.append(verdict)
            else:
                self.tally.filtered_out += 1
                filtered.append(
                    msgspec.structs.replace(verdict, kind=None, deal_id=None, tier=None)
                )
        return filtered


class _Batch:
    """Rows that are written together."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._rows: list[tuple[Cell, ...]] = []

    def extend(self, rows: Iterable[tuple[Cell, ...]]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        self._table.write(self._rows)
        self._rows = []
