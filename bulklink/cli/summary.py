"""Where a run stands, on the screen: the accounting, the calls, what to look at next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import click
import msgspec

from bulklink.cli.comparison import show_comparison
from bulklink.cli.proof import proof_lines, proof_object
from bulklink.cli.screen import note, print_json, show_error, table
from bulklink.errors import RunStoppedError
from bulklink.job.planning import PlanReport
from bulklink.job.proving import Proof
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import RunSummary
from bulklink.runs.torn import torn_of

_RELINKING = ("relink", "mixed")
_MOST_NAMED = 20


def show_run(
    summary: RunSummary,
    reason: RunStoppedError | None,
    *,
    as_json: bool,
    proof: Proof | None = None,
) -> None:
    """Show where a run stands: torn relinks first, then the reason where it stopped."""
    for line in _torn(summary) if summary.op in _RELINKING else ():
        click.secho(line, fg="red", bold=True, err=as_json)
    if reason is not None:
        show_error(reason, as_json=False)
    if as_json:
        print_json(_object(summary, proof))
        return
    click.echo(_headline(summary))
    click.echo(table({name: n for name, n in summary.counts.items() if n} | {"rows": summary.rows}))
    calls = summary.calls
    click.echo(
        f"Calls: {calls.link:,} link, {calls.unlink:,} unlink, {calls.read:,} read,"
        f" {calls.lookup:,} look-up, {calls.retried:,} of them again;"
        f" the fewest for link and unlink: {calls.least:,}."
    )
    record = RunFolder(Path(summary.run_dir)).read()
    for line in (*_forecast(record), *_canary(summary)):
        click.echo(line)
    click.echo(f"Time: {summary.seconds:,.1f} s, {_made(summary):,} credits")
    for line in (*_limited(record), *_beyond(record), *_later(summary)):
        click.echo(line)
    click.echo(f"Ledger: {Path(summary.run_dir) / 'ledger.jsonl'}")
    if summary.counts["rejected"]:
        click.echo(f"Refused rows: {Path(summary.run_dir) / 'rejects.csv'}")
    for line in proof_lines(proof) if proof else ():
        click.echo(line)


def _forecast(record: RunRecord) -> Iterator[str]:
    """Yield what was forecast, to stand below what was made."""
    told = record.forecast
    if told is not None:
        yield (
            f"Forecast: {told.link:,} link, {told.unlink:,} unlink, {told.read:,} read,"
            f" {told.lookup:,} look-up at least; {told.credits:,} credits, {told.seconds:,.1f} s."
        )


def _made(summary: RunSummary) -> int:
    calls = summary.calls
    return calls.link + calls.unlink + calls.read + calls.lookup


def _limited(record: RunRecord) -> Iterator[str]:
    """Yield what limited the last command on a run, with the figures that say so."""
    if record.limited is None:
        return
    figures = {name: value or 0 for name, value in record.limited.figures.items()}
    waited = figures["waited"]
    yield (
        f"Limited by {record.limited.by}:"
        f" {figures['in_flight']:.1f} of {figures['most_in_flight']:.0f} calls in flight,"
        f" {figures['calls_a_second']:,.1f} calls/s"
        + (f" of {figures['rate']:,.0f}" if figures["rate"] else "")
        + f", {figures['latency']:.2f} s a call, CPU {figures['cpu']:.0%}"
        + (f", {waited:,.0f} s waited for credits" if waited else "")
        + "."
    )


def _beyond(record: RunRecord) -> Iterator[str]:
    """Yield how many calls went beyond --max-credits."""
    beyond = record.limited.figures.get("beyond_max_credits") if record.limited else None
    if beyond:
        yield f"Beyond --max-credits, to finish relinks that were begun: {beyond:,} calls."


def _later(summary: RunSummary) -> Iterator[str]:
    """Yield when a run can go on that waits for credits, or stopped for them."""
    if summary.resume_at is not None:
        moment = datetime.fromisoformat(summary.resume_at).astimezone()
        yield f"Credits are expected at {moment:%Y-%m-%d %H:%M:%S %Z}."


def show_runs(
    summaries: Sequence[RunSummary], *, as_json: bool, proofs: Sequence[Proof] = ()
) -> None:
    """Show a line for each run, and behind it what was found where it was checked."""
    told = list(zip_longest(summaries, proofs))
    if as_json:
        print_json({"runs": [_object(summary, proof) for summary, proof in told]})
        return
    if not summaries:
        note("No runs there.")
    for summary, proof in told:
        counts = ", ".join(f"{n:,} {name}" for name, n in summary.counts.items() if n)
        click.echo(f"{summary.run_dir}  {summary.op}  {_state(summary)}  {counts}")
        for line in proof_lines(proof) if proof else ():
            click.echo(f"  {line}")


def _object(summary: RunSummary, proof: Proof | None) -> dict[str, Any]:
    """Return the object of a run, with what was found where it was checked."""
    told: dict[str, Any] = msgspec.to_builtins(summary)
    return told if proof is None else told | {"check": proof_object(proof)}


def show_plan_report(report: PlanReport, *, as_json: bool) -> None:
    """Show what a plan will cost."""
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
    for line in _ahead(report):
        click.echo(line)
    if report.compare is not None:
        show_comparison(report.compare)
    click.echo(f"Digest: {report.digest}")
    if report.run_dir:
        click.echo(f"Sealed in {report.run_dir}; `bulklink apply {report.run_dir}` sends it.")


def _ahead(report: PlanReport) -> Iterator[str]:
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
            f" {report.calls.read_at_least:,} of these credits. --no-snapshot saves them, and is"
            " the better choice where few emails are as wanted already and nobody will undo the"
            " run."
        )
    if ahead.saved_by_contact:
        yield (
            f"--group-by contact would save {ahead.saved_by_contact:,} link calls"
            f" ({ahead.saved_by_contact / report.calls.link:.0%}); no page of Zoho's shows it."
        )


def _canary(summary: RunSummary) -> Iterator[str]:
    """Yield how the canary went, where there was one."""
    canary = RunFolder(Path(summary.run_dir)).read().canary
    if canary is not None:
        found = canary.found or f"the first {canary.messages:,} emails; not over."
        yield f"Canary: {canary.state}: {found}"


def _torn(summary: RunSummary) -> Iterator[str]:
    """Yield which relinks left an email off the deal it was on, and what to do about it."""
    run_dir = summary.run_dir
    torn = torn_of(RunFolder(Path(run_dir)))
    if torn.not_put_back:
        yield (
            f"Off its deal, and putting it back failed: {_named(torn.not_put_back)}."
            f" Link by hand, or `bulklink retry {run_dir} --code put-back-failed`."
        )
    if torn.open:
        yield (
            f"Between the halves of a relink: {_named(torn.open)}."
            f" `bulklink resume {run_dir}` finishes these first."
        )


def _named(rows: Mapping[int, str | None]) -> str:
    named = [
        f"row {row} (was on deal {deal_id})" if deal_id else f"row {row}"
        for row, deal_id in islice(rows.items(), _MOST_NAMED)
    ]
    more = len(rows) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def _headline(summary: RunSummary) -> str:
    colour = {State.FINISHED: "green", State.STOPPED: "red"}.get(summary.state)
    text = f"{summary.op}: {_state(summary)}"
    return click.style(text, fg=colour) if summary.exit_code else click.style(text, fg="green")


def _state(summary: RunSummary) -> str:
    return f"{summary.state} ({summary.stopped_by})" if summary.stopped_by else summary.state
