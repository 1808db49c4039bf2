"""Summary of a plan: what it costs, and what it would change of fetched emails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click
import msgspec

from bulklink.cli.console import format_table, print_json
from bulklink.mapping.compare import Comparison
from bulklink.operations.plan import PlanResult
from bulklink.shell import bulklink_command


def show_comparison(comparison: Comparison) -> None:
    """Show what would change: in a sentence, then the deals and contacts with the most of it."""
    click.echo(
        f"Compared with {comparison.emails:,} emails of {comparison.file}:"
        f" {'; '.join(_clauses(comparison))}."
    )
    if comparison.other_owner:
        click.echo(
            f"{comparison.other_owner:,} of them are in the mailbox of another user than planned."
        )
    if comparison.deals:
        deals = [
            (deal.deal_id, deal.leave, deal.come, deal.deal_name or "") for deal in comparison.deals
        ]
        _print_table(("deal", "leave", "come", ""), deals, comparison.deals_in_all)
    if comparison.contacts:
        contacts = [(c.contact_id, c.change, c.right, c.other) for c in comparison.contacts]
        _print_table(("contact", "change", "right", "other"), contacts, comparison.contacts_in_all)


def _clauses(comparison: Comparison) -> Iterator[str]:
    if comparison.moved:
        deals = "deal" if comparison.from_deals == 1 else "deals"
        moved, sources = f"{comparison.moved:,}", f"{comparison.from_deals:,} {deals}"
        yield f"{moved} emails move from {sources} to {comparison.to_deals:,}"
    counted_clauses = (
        (comparison.linked, "go from no deal to one"),
        (comparison.unlinked, "come off their deal"),
        (comparison.right, "already right"),
        (comparison.already_linked, "are on another deal, so that a link is refused"),
        (comparison.changed_since, "are not on the deal that from_deal_id names"),
        (comparison.not_told, "are on a deal that the file does not tell"),
        (comparison.not_this_contacts, "are not this contact's"),
        (comparison.not_in_file, "are not in the file"),
    )
    yield from (f"{count:,} {clause}" for count, clause in counted_clauses if count)
    if not comparison.moved and not any(count for count, _ in counted_clauses):
        yield "there is nothing to compare"


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str | int]], total: int) -> None:
    lines = [header, *([f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    for line in lines:
        first_cell, *other_cells = (
            cell.rjust(width) if index and header[index] else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  ".join(("", first_cell, *other_cells)).rstrip())
    omitted = total - (len(lines) - 1)
    if omitted > 0:
        click.echo(f"  … of {total:,}")


_NO_SNAPSHOT_HINT = (
    " --no-snapshot saves them, and is the better choice where few emails are as wanted already and"
    " nobody will undo the run."
)


def show_plan_result(result: PlanResult, *, as_json: bool, snapshot_optional: bool = True) -> None:
    """Show what a plan will cost.

    Args:
        result: of the plan.
        as_json: as one JSON object.
        snapshot_optional: whether the command can do without a snapshot; an undo cannot.
    """
    if as_json:
        content = msgspec.to_builtins(result)
        del content["estimate"]
        if result.compare is None:
            del content["compare"]
        print_json(content)
        return
    calls = result.calls
    click.echo(f"{result.op}: {result.messages:,} emails in {result.groups:,} groups")
    click.echo(
        format_table(
            {
                "rows": result.rows,
                "rejected": result.rejected,
                "duplicate": result.duplicate,
                "link calls": calls.link,
                "unlink calls": calls.unlink,
                "fewest of both there can be": calls.least,
                "read calls, at least": calls.read_at_least,
                "look-ups, at least": calls.lookup_at_least,
                "credits, at least": result.credits_at_least,
            }
        )
    )
    for line in _estimate_lines(result, snapshot_optional=snapshot_optional):
        click.echo(line)
    if result.compare is not None:
        show_comparison(result.compare)
    click.echo(f"Digest: {result.digest}")
    if result.run_dir:
        click.echo(
            f"Sealed in {result.run_dir}; {bulklink_command('apply', result.run_dir)} sends it."
        )


def _estimate_lines(result: PlanResult, *, snapshot_optional: bool) -> Iterator[str]:
    """Yield what the run is up against: time, credits a day, what would save calls."""
    estimate = result.estimate
    yield (
        f"Time: at least {estimate.seconds:,.1f} s with {estimate.in_flight} calls in flight;"
        f" limited by {estimate.bottleneck}."
    )
    if estimate.daily_credits is None:
        yield "Credits a day: not known; --edition (and --users) tells the share."
    else:
        share = result.credits_at_least / estimate.daily_credits
        yield f"Credits a day: {estimate.daily_credits:,}, of which this takes {share:.1%}."
    if estimate.daily_allowance is not None and estimate.daily_allowance != estimate.daily_credits:
        yield f"Of these, all runs may spend {estimate.daily_allowance:,}."
    if estimate.days > 1:
        yield f"That is {estimate.days:,} windows of 24 hours."
    if estimate.invocations > 1:
        yield f"With this --max-credits it takes {estimate.invocations:,} commands."
    if result.calls.read_at_least:
        yield (
            f"Snapshot: reading which deal each email is on takes at least"
            f" {result.calls.read_at_least:,} of these credits."
            + (_NO_SNAPSHOT_HINT if snapshot_optional else "")
        )
    if estimate.saved_by_contact:
        yield (
            f"--group-by contact would save {estimate.saved_by_contact:,} link calls"
            f" ({estimate.saved_by_contact / result.calls.link:.0%}); no page of Zoho's shows it."
        )
