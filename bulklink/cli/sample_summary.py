"""What a sample of an audit says, as lines of text: bounds, proofs, demotions, what next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bulklink.cli.console import Line, print_json, print_line, wrap_text
from bulklink.counts import count_of, inflect
from bulklink.finding.sample_check import SampleCheck
from bulklink.finding.verdicts import Tier
from bulklink.operations.auditing.sample import AuditCheck, describe_check
from bulklink.shell import format_command, path_word


def show_check(result: AuditCheck, output: str, *, as_json: bool) -> None:
    """Show what a sample says.

    Args:
        result: what it says.
        output: file of the mapping, as it was named.
        as_json: whether to print it as JSON.
    """
    if as_json:
        print_json(sample_object(result))
        return
    for line in sample_lines(result, output):
        print_line(line)


def sample_object(result: AuditCheck) -> dict[str, Any]:
    """Return what `--json` prints of a sample."""
    content: dict[str, Any] = msgspec.to_builtins(result)
    return content


def sample_lines(result: AuditCheck, output: str) -> Iterator[Line]:
    """Yield what is known of each tier and kind, and how to go on.

    Args:
        result: what the sample says.
        output: file of the mapping, as it was named.
    """
    if not result.check:
        yield "Nothing is proposed, so there is nothing to check."
        return
    for check in result.check:
        yield from wrap_text(describe_check(check))
        if check.becomes is not check.tier:
            yield from wrap_text(
                f"That is less than {check.tier} promises: {_noun(check)} that were {check.tier}"
                f" are {check.becomes}."
            )
    if not any(check.checked for check in result.check):
        yield "No email has a verdict yet."
    yield f"Sample: {result.files['check']}"
    if "check_page" in result.files:
        yield f"Page: {result.files['check_page']}"
    if result.demoted:
        proposals = count_of(result.demoted, "proposal")
        rows = count_of(result.demoted_rows, "row")
        has = inflect(result.demoted, "has", "have")
        yield f"{proposals} {has} a lower tier now, in {rows} of {output}."
    yield from _next_steps(result, output)


def _noun(check: SampleCheck) -> str:
    return {"attach": "attachments", "move": "moves", "detach": "detachments"}[check.kind]


def _next_steps(result: AuditCheck, output: str) -> Iterator[Line]:
    table = result.files["check"]
    if any(check.drawn > check.checked for check in result.check):
        yield from wrap_text(
            "In the order of its rows, write right, wrong or unsure into the column verdict. Then:"
        )
        yield f"  {format_command('bulklink', 'audit', '--checked', table, '-o', output)}"
    tier = next(
        (tier for tier in (Tier.SURE, Tier.LIKELY) if sum(result.proposed[tier].values())), None
    )
    if tier is not None:
        yield "To see what the mapping would change:"
        yield f"  {format_command('bulklink', 'plan', path_word(output), '--only', f'tier={tier}')}"
