"""Review page of an audit, made from its file of verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.counts import count_of
from bulklink.decoding import decode_json
from bulklink.finding.sample_check import SampleCheck
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.html_pages.review.model import (
    Review,
    ReviewCandidate,
    ReviewConversation,
    ReviewEmail,
    ReviewEvidence,
    TierSummary,
)
from bulklink.html_pages.review.render import stream_review
from bulklink.ledger.records import timestamp
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.verdict_table import (
    VerdictCounts,
    VerdictTable,
    bad_verdicts_error,
    open_verdict_table,
)
from bulklink.operations.auditing.commands import review_commands
from bulklink.operations.auditing.files import (
    NOTES_KEY,
    review_path,
    reviewed_mapping_name,
    verdicts_path,
)
from bulklink.operations.auditing.judging import AuditNotes, HoldOutResult, TierCheck
from bulklink.operations.auditing.rows import (
    MAPPING_COLUMNS,
    ScoredDeal,
    confidence_text,
    decode_scores,
)
from bulklink.operations.auditing.sample import describe_check

_BUFFER = 1 << 20
_PROMISES = {
    Tier.SURE: "At most 1 in 200.",
    Tier.LIKELY: "About 1 in 20; of the moves, 3 in 100.",
    Tier.LOOK: "There is reason to doubt: decide yourself.",
}


def write_review(
    mapping: Path, check: Sequence[SampleCheck] = (), stop: PlanningStop | None = None
) -> None:
    """Write the review page from the file of verdicts of the audit; blocks.

    The page is readable only by its owner, and replaces an earlier one. It shows the time of the
    file of verdicts.

    Args:
        mapping: mapping of the audit.
        check: what a sample says about each tier and kind, if one was drawn.
        stop: interrupts it.

    Raises:
        BadFileError: if the file of verdicts cannot be read.
        RunDirError: if the page cannot be written.
        InterruptedPlanningError: if it was stopped.
    """
    verdicts = verdicts_path(mapping)
    with open_verdict_table(verdicts, stop) as table:
        try:
            made_at = verdicts.stat().st_mtime
            review = _summarize(mapping, table, made_at, check)
            parts = stream_review(review, _conversations(table))
            with (
                atomic_replace(review_path(mapping)) as temporary,
                temporary.open("w", encoding="utf-8", newline="", buffering=_BUFFER) as page,
            ):
                page.writelines(parts)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
            raise bad_verdicts_error(verdicts) from None


def _summarize(
    mapping: Path, table: VerdictTable, made_at: float, check: Sequence[SampleCheck]
) -> Review:
    counts = table.counts()
    encoded = table.metadata(NOTES_KEY)
    notes = None if encoded is None else decode_json(encoded, AuditNotes)
    hold_out = HoldOutResult() if notes is None else notes.hold_out
    reviewed = reviewed_mapping_name(mapping)
    return Review(
        mapping=mapping.name,
        reviewed=reviewed,
        made_at=timestamp(made_at),
        contacts=counts.contacts,
        emails=counts.emails,
        conversations=counts.conversations,
        reading=None if notes is None else notes.reading,
        tiers=tuple(_summarize_tier(tier, counts, hold_out, check) for tier in Tier),
        columns=tuple(column.name for column in MAPPING_COLUMNS),
        commands=review_commands(mapping, reviewed),
    )


def _summarize_tier(
    tier: Tier, counts: VerdictCounts, hold_out: HoldOutResult, check: Sequence[SampleCheck]
) -> TierSummary:
    return TierSummary(
        tier=tier.value,
        proposed={
            kind.value: counts.proposed.get((tier.value, kind.value), 0) for kind in ChangeKind
        },
        promise=_PROMISES[tier],
        measured=next((_measured(one) for one in hold_out.tiers if one.tier == tier), ""),
        checked=tuple(describe_check(one) for one in check if one.tier is tier),
    )


def _measured(check: TierCheck) -> str:
    """Return what the hold-out says about the moves of a tier; empty if it had none."""
    if not check.proposed:
        return ""
    demoted = f" That is too few, so its moves are {check.becomes}." if check.is_demoted else ""
    return (
        f"Of {count_of(check.proposed, 'move')} that people had made themselves, the audit would"
        f" have found {check.right:,}: at least {check.at_least:.1%} at 95 % confidence.{demoted}"
    )


def _conversations(table: VerdictTable) -> Iterator[ReviewConversation]:
    """Yield the conversations with proposals, those with one that is not sure first."""
    for sure in (False, True):
        for rows in table.conversations(sure=sure):
            yield _conversation(rows)


def _conversation(rows: list[dict[str, Any]]) -> ReviewConversation:
    scores = next((row["scores"] for row in rows if row["scores"]), None)
    return ReviewConversation(
        rows[0]["contact_id"],
        rows[0]["conversation"],
        tuple(map(_candidate, decode_scores(scores))),
        tuple(_email(row) for row in rows),
    )


def _candidate(scored: ScoredDeal) -> ReviewCandidate:
    evidence = [ReviewEvidence(one.name, one.log_odds, one.text) for one in scored.evidence]
    evidence.sort(key=lambda one: -one.log_odds)
    return ReviewCandidate(
        scored.deal_id, scored.deal_name, confidence_text(scored.probability), tuple(evidence)
    )


def _email(row: dict[str, Any]) -> ReviewEmail:
    return ReviewEmail(**{name: row[name] for name in ReviewEmail.__struct_fields__})
