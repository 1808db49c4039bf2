"""Page of a sample of an audit: what it shows of the drawn emails, and of the promises."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bulklink.decoding import decode_json
from bulklink.finding.sample_check import wrong_limits
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.html_pages.sample.model import NearbyEmail, SampledAudit, SampleEmail, SampleGroup
from bulklink.mapping.audit_proposals import AuditProposals, DrawnProposal
from bulklink.operations.auditing.check_table import CheckTable
from bulklink.operations.auditing.commands import checked_command
from bulklink.operations.auditing.files import check_table_path, downloaded_verdicts_name
from bulklink.operations.auditing.rows import proposal_reasons

_MAX_EMAILS = 3_000
"""Emails that a page shows; nobody answers more."""


def sampled_audit(
    mapping: Path, proposals: AuditProposals, sizes: dict[str, int], table: CheckTable
) -> SampledAudit:
    """Return what the page of a sample shows.

    Args:
        mapping: the mapping of the audit.
        proposals: its proposals.
        sizes: emails of the sample by tier.
        table: the verdicts so far.
    """
    counts = proposals.count()
    table_name, download = check_table_path(mapping).name, downloaded_verdicts_name(mapping)
    drawn_emails = sum(
        min(sizes[tier], sum(count for (name, _), count in counts.items() if name == tier))
        for tier in Tier
    )
    emails = tuple(
        _sample_email(proposal, table) for proposal in islice(proposals.draw(sizes), _MAX_EMAILS)
    )
    return SampledAudit(
        mapping=mapping.name,
        table=table_name,
        download=download,
        digest=proposals.digest,
        groups=tuple(_groups(counts)),
        emails=emails,
        left_out=drawn_emails - len(emails),
        command=checked_command(mapping, download),
        table_command=checked_command(mapping, table_name),
    )


def _groups(counts: dict[tuple[str, str], int]) -> Iterator[SampleGroup]:
    proposed = {(Tier(tier), ChangeKind(kind)): count for (tier, kind), count in counts.items()}
    for tier in Tier:
        for kind in ChangeKind:
            if (tier, kind) in proposed:
                limits = wrong_limits(proposed, tier, kind)
                promise = limits.promise
                yield SampleGroup(
                    tier=tier.value,
                    kind=kind.value,
                    proposed=limits.proposed,
                    promise=None if promise is None else f"{promise:.1%}",
                    proving=limits.proving,
                    rejecting={name.value: most for name, most in limits.rejecting.items()},
                )


def _sample_email(proposal: DrawnProposal, table: CheckTable) -> SampleEmail:
    why = proposal_reasons(proposal.scores, proposal.deal_id)
    other = why.runner_up
    verdict = table.verdict(proposal)
    return SampleEmail(
        tier=proposal.tier,
        number=proposal.number,
        kind=proposal.kind,
        contact_id=proposal.contact_id,
        owner_id=proposal.owner_id,
        owner_name=proposal.owner_name,
        message_id=proposal.message_id,
        subject=proposal.subject,
        time=proposal.time,
        present=proposal.from_deal_name or proposal.from_deal_id,
        proposed=why.deal_name or proposal.deal_id,
        other=None if other is None else other.deal_name or other.deal_id,
        reasons=why.reasons,
        verdict=None if verdict is None else verdict.value,
        nearby=decode_json(proposal.nearby, tuple[NearbyEmail, ...]),
    )
