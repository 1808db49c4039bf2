"""What a plan will cost, on the screen."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from bulklink.cli.comparison import show_comparison
from bulklink.cli.console import print_json, table
from bulklink.operations.plan import PlanReport
from bulklink.shell import quoted

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
