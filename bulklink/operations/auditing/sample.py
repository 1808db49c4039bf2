"""Sample of an audit: its table beside the mapping, and what the verdicts in it say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bulklink.errors import ExitCode
from bulklink.finding.sample_check import DrawnEmail, SampleCheck, check_sample
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.mapping.audit_proposals import AuditProposals, open_proposals
from bulklink.mapping.verdict_table import bad_verdicts_error
from bulklink.operations.auditing.check_table import CheckTable
from bulklink.operations.auditing.commands import sample_option
from bulklink.operations.auditing.files import check_is_there, check_mapping_name, find_verdicts

_SHARE_DECIMALS = 10_000


class AuditCheck(msgspec.Struct, frozen=True):
    """What a sample says about the proposals of an audit.

    Args:
        check: for each tier and kind that the audit has proposed, what the sample says.
        proposed: emails to change, by tier and kind, with the tiers that they have now.
        files: the files by what they hold: check, and of those that were written check_page,
            review, mapping and audit.
        demoted: proposals whose tier was lowered.
        exit_code: exit code of the command.
        demoted_rows: rows of the mapping whose tier was lowered: those that the user left in it.
    """

    check: tuple[SampleCheck, ...]
    proposed: dict[str, dict[str, int]]
    files: dict[str, str]
    demoted: int
    exit_code: int
    demoted_rows: int = 0


@contextmanager
def open_audit(mapping: Path) -> Iterator[AuditProposals]:
    """Open the proposals of an audit; blocks.

    Args:
        mapping: mapping that the audit wrote.

    Raises:
        UsageError: if it is missing, there is no file of verdicts beside it, or it is that file
            itself.
        BadFileError: if that file cannot be read.
    """
    check_mapping_name(mapping)
    path = find_verdicts(mapping)
    check_is_there(mapping)
    try:
        with open_proposals(path) as proposals:
            yield proposals
    except (ValueError, RecursionError):
        raise bad_verdicts_error(path) from None


def check_drawn(
    proposals: AuditProposals, sizes: Mapping[str, int], table: CheckTable
) -> tuple[SampleCheck, ...]:
    """Return what the verdicts on a sample say about each tier and kind.

    Args:
        proposals: the proposals of the audit.
        sizes: emails of the sample by tier.
        table: the verdicts.
    """
    proposed = {
        (Tier(tier), ChangeKind(kind)): count for (tier, kind), count in proposals.count().items()
    }
    check = check_sample(
        proposed,
        (
            DrawnEmail(Tier(one.tier), ChangeKind(one.kind), table.verdict(one))
            for one in proposals.draw(sizes)
        ),
    )
    return tuple(
        msgspec.structs.replace(one, to_draw=proposals.find_number(one.tier, one.kind, one.needed))
        if one.needed is not None
        else one
        for one in check
    )


def make_audit_check(
    proposals: AuditProposals,
    check: tuple[SampleCheck, ...],
    tiers: Mapping[tuple[str, str], str],
    files: Mapping[str, Path],
) -> AuditCheck:
    """Return the result of a command on a sample.

    Args:
        proposals: the proposals, before the demotion.
        check: what the sample says.
        tiers: new tier by the tier that the audit gave, and kind.
        files: the files by what they hold.
    """
    counts = proposals.count_after(tiers)
    return AuditCheck(
        check=check,
        proposed={
            tier.value: {kind.value: counts.get((tier, kind), 0) for kind in ChangeKind}
            for tier in Tier
        },
        files={name: str(file) for name, file in files.items()},
        demoted=proposals.count_demoted(tiers),
        exit_code=int(ExitCode.ROWS_NOT_DONE if check else ExitCode.OK),
    )


def describe_check(check: SampleCheck) -> str:
    """Return what a sample says about a tier and kind, as a sentence: the bound, and the proof."""
    group = f"{check.tier}, {check.kind}"
    if not check.checked:
        return f"{group}: {check.drawn:,} of {check.proposed:,} drawn{_proof(check)}."
    unsure = f", {check.unsure:,} unsure or skipped" if check.unsure else ""
    return (
        f"{group}: {check.checked:,} of {check.proposed:,} checked, {check.wrong:,} wrong{unsure}:"
        f" at least {_format_share(check.at_least)} right at 95 % confidence{_proof(check)}."
    )


def _proof(check: SampleCheck) -> str:
    """Return what would prove the promise, or that it is proved."""
    if check.promise is None or check.becomes is not check.tier:
        return ""
    promise = f"the promise of {check.promise:.1%}"
    if check.needed is None:
        return f"; no sample proves {promise} any more"
    if check.checked and check.needed <= check.checked:
        return f", which proves {promise}"
    further = "a further" if check.wrong or check.unsure else "an"
    command = "" if check.to_draw is None else f" ({sample_option(check.to_draw)})"
    return f"; {check.needed:,} without {further} error would prove {promise}{command}"


def _format_share(share: float) -> str:
    """Return a share in percent, rounded down: a bound must not be overstated."""
    return f"{round(share * _SHARE_DECIMALS) // 10 / 10:.1f}%"
