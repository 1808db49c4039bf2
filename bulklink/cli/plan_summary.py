"""Summary of a plan: what it costs, and what it would change of fetched emails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click
import msgspec

from bulklink.cli.console import print_json, table
from bulklink.mapping.compare import Comparison
from bulklink.operations.plan import PlanReport
from bulklink.shell import quoted


def show_comparison(told: Comparison) -> None:
    """Show what would change: in a sentence, then the deals and contacts with the most of it."""
    click.echo(f"Compared with {told.emails:,} emails of {told.file}: {'; '.join(_parts(told))}.")
    if told.other_owner:
        click.echo(f"{told.other_owner:,} of them are in the mailbox of another user than planned.")
    if told.deals:
        deals = [(one.deal_id, one.leave, one.come, one.deal_name or "") for one in told.deals]
        _table(("deal", "leave", "come", ""), deals, told.deals_in_all)
    if told.contacts:
        contacts = [(c.contact_id, c.change, c.right, c.other) for c in told.contacts]
        _table(("contact", "change", "right", "other"), contacts, told.contacts_in_all)


def _parts(told: Comparison) -> Iterator[str]:
    if told.moved:
        deals = "deal" if told.from_deals == 1 else "deals"
        yield f"{told.moved:,} emails move from {told.from_deals:,} {deals} to {told.to_deals:,}"
    said = (
        (told.linked, "go from no deal to one"),
        (told.unlinked, "come off their deal"),
        (told.right, "already right"),
        (told.already_linked, "are on another deal, so that a link is refused"),
        (told.changed_since, "are not on the deal that from_deal_id names"),
        (told.not_told, "are on a deal that the file does not tell"),
        (told.not_this_contacts, "are not this contact's"),
        (told.not_in_file, "are not in the file"),
    )
    yield from (f"{count:,} {what}" for count, what in said if count)
    if not told.moved and not any(count for count, _ in said):
        yield "there is nothing to compare"


def _table(header: Sequence[str], rows: Iterable[Sequence[str | int]], in_all: int) -> None:
    lines = [header, *([f"{c:,}" if isinstance(c, int) else c for c in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    for line in lines:
        first, *rest = (
            cell.rjust(width) if place and header[place] else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        click.echo("  ".join(("", first, *rest)).rstrip())
    left = in_all - (len(lines) - 1)
    if left > 0:
        click.echo(f"  … of {in_all:,}")


_NO_SNAPSHOT = (
    " --no-snapshot saves them, and is the better choice where few emails are as wanted already and"
    " nobody will undo the run."
)


def show_plan_report(report: PlanReport, *, as_json: bool, snapshot_is_choice: bool = True) -> None:
    """Show what a plan will cost.

    Args:
        report: of the plan.
        as_json: as one JSON object.
        snapshot_is_choice: whether the command can do without a snapshot; an undo cannot.
    """
    if as_json:
        told = msgspec.to_builtins(report)
        del told["outlook"]
        if report.compare is None:
            del told["compare"]
        print_json(told)
        return
    calls = report.calls
    click.echo(f"{report.op}: {report.messages:,} emails in {report.groups:,} groups")
    click.echo(
        table(
            {
                "rows": report.rows,
                "rejected": report.rejected,
                "duplicate": report.duplicate,
                "link calls": calls.link,
                "unlink calls": calls.unlink,
                "fewest of both there can be": calls.least,
                "read calls, at least": calls.read_at_least,
                "look-ups, at least": calls.lookup_at_least,
                "credits, at least": report.credits_at_least,
            }
        )
    )
    for line in _ahead(report, snapshot_is_choice=snapshot_is_choice):
        click.echo(line)
    if report.compare is not None:
        show_comparison(report.compare)
    click.echo(f"Digest: {report.digest}")
    if report.run_dir:
        click.echo(f"Sealed in {report.run_dir}; {quoted('apply', report.run_dir)} sends it.")


def _ahead(report: PlanReport, *, snapshot_is_choice: bool) -> Iterator[str]:
    """Yield what the run is up against: time, credits a day, what would save calls."""
    ahead = report.outlook
    yield (
        f"Time: at least {ahead.seconds:,.1f} s with {ahead.in_flight} calls in flight;"
        f" limited by {ahead.limit}."
    )
    if ahead.day_credits is None:
        yield "Credits a day: not known; --edition (and --users) tells the share."
    else:
        share = report.credits_at_least / ahead.day_credits
        yield f"Credits a day: {ahead.day_credits:,}, of which this takes {share:.1%}."
    if ahead.a_day is not None and ahead.a_day != ahead.day_credits:
        yield f"Of these, all runs may spend {ahead.a_day:,}."
    if ahead.days > 1:
        yield f"That is {ahead.days:,} windows of 24 hours."
    if ahead.commands > 1:
        yield f"With this --max-credits it takes {ahead.commands:,} commands."
    if report.calls.read_at_least:
        yield (
            f"Snapshot: reading which deal each email is on takes at least"
            f" {report.calls.read_at_least:,} of these credits."
            + (_NO_SNAPSHOT if snapshot_is_choice else "")
        )
    if ahead.saved_by_contact:
        yield (
            f"--group-by contact would save {ahead.saved_by_contact:,} link calls"
            f" ({ahead.saved_by_contact / report.calls.link:.0%}); no page of Zoho's shows it."
        )
