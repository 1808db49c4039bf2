"""Summary of a run: accounting, commonest failures, check of its files, the next command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import click
import msgspec

from bulklink.cli.console import local_time, note, print_json, show_error, table, wrapped
from bulklink.engine.failure_limit import explained, shown
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.html_report.model import Accounting
from bulklink.ledger.statistics import Counted, Tally, tally
from bulklink.models import Status
from bulklink.operations import wording
from bulklink.operations.check import Part, Proof, Verdict
from bulklink.operations.wording import beyond_max_credits, can_be_undone, limited
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import RunSummary, torn_of
from bulklink.shell import quoted, typed

_MIXED = "mixed"
_FAILURES_SHOWN = 5
_ROWS = "rows"


def accounting(summary: RunSummary, record: RunRecord, *, explain: bool) -> Iterator[str]:
    """Yield the rows of each status, which add up to those of the run, and what failed most.

    The ledger is looked through only where that is needed: of a run of one op in which nothing
    failed, the counts say all.

    Args:
        summary: where the run stands.
        record: of the run.
        explain: name the commonest failures with what to do about each, and a row to look at.
    """
    mixed = summary.op == _MIXED
    failed = summary.counts[Status.FAILED] or summary.counts[Status.IN_DOUBT]
    told = Tally({}, [])
    if mixed or (failed and explain):
        told = tally(RunFolder(Path(summary.run_dir)).ledger)
    ops = {op for op, _ in told.rows} | {op for op, many in record.by_op.items() if many}
    if mixed and len(ops) > 1 and summary.state is not State.REFUSED:
        yield from _by_op(wording.accounting(told.rows, summary.rows, record.by_op))
    else:
        counts = {name: n for name, n in summary.counts.items() if n}
        yield table(counts | {_ROWS: summary.rows})
    if explain:
        yield from _failures(told.failures)


def _by_op(told: Accounting) -> Iterator[str]:
    """Yield a table of status and op, whose lines and columns add up."""
    lines = [["", *told.ops, "all"]]
    named = [(line.status, line.by_op, line.rows) for line in told.lines]
    for name, by_op, rows in (*named, (_ROWS, told.sums, told.rows)):
        lines.append([name, *("?" if n is None else f"{n:,}" for n in by_op), f"{rows:,}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        aligned = (f"{n:>{width}}" for n, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join(["", f"{name:<{widths[0]}}", *aligned]).rstrip()


def _failures(failures: list[Counted]) -> Iterator[str]:
    """Yield the commonest codes: how many, what to do, and a row to look at."""
    if not failures:
        return
    yield "Failed or in doubt:"
    for one in failures[:_FAILURES_SHOWN]:
        yield from wrapped(explained(one.code, one.count, one.example), "  ")
        yield from wrapped(shown(one.example), "    ")
    others = failures[_FAILURES_SHOWN:]
    if others:
        rows = sum(one.count for one in others)
        yield from wrapped(f"{rows:,} of {len(others):,} other codes.", "  ")


NO_STEPS = "bulklink.no_steps"
"""Set in the `meta` of a command's context whose CRM is gone when the summary is read."""
_SAMPLE = 299
_Step = tuple[str, tuple[str, ...]]


def next_steps(summary: RunSummary, record: RunRecord) -> Iterator[str]:
    """Yield what can be done next: what for, and below it the command, ready to be typed."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None and ctx.meta.get(NO_STEPS):
        return
    for what, words in _steps(summary, record):
        yield from wrapped(f"{what}:")
        yield f"  {typed('bulklink', *words)}"


def _steps(summary: RunSummary, record: RunRecord) -> Iterator[_Step]:
    run, counts = summary.run_dir, summary.counts
    match summary.state:
        case State.PLANNED:
            yield "To send it", ("apply", run)
        case State.STOPPED:
            yield "To go on", ("resume", run)
        case State.FINISHED:
            if counts[Status.FAILED] or counts[Status.IN_DOUBT]:
                yield "To see all of it on a page", ("report", run)
            if counts[Status.FAILED]:
                yield (
                    "To get what failed as a mapping",
                    ("export", run, "--status", "failed", "-o", "again.csv"),
                )
                yield "To send it again once the cause is mended", ("retry", run)
            if counts[Status.IN_DOUBT]:
                yield "To read back what is in doubt", ("verify", run, "--in-doubt")
            if not counts[Status.FAILED] and not counts[Status.IN_DOUBT]:
                yield from _after_success(summary, record)


def _after_success(summary: RunSummary, record: RunRecord) -> Iterator[_Step]:
    run, done = summary.run_dir, summary.counts[Status.DONE]
    settled = done + summary.counts[Status.UNCHANGED]
    if settled > _SAMPLE:
        yield (
            "To read a sample back, which shows that at most 1 % is wrong",
            ("verify", run, "--sample", str(_SAMPLE)),
        )
    elif settled:
        yield "To read it back", ("verify", run)
    if done and can_be_undone(record):
        yield "To take it back", ("undo", run)


_COLOURS = {Verdict.OK: "green", Verdict.DIFFERS: "red"}
_SAID = {Verdict.MISSING: "not there", Verdict.NOT_YET: "nothing to check"}


def proof_object(proof: Proof) -> dict[str, Any]:
    """Return what was found as JSON has it; `ok` tells whether nothing differs."""
    told: dict[str, Any] = msgspec.to_builtins(proof)
    return {"ok": proof.ok, **told}


def proof_lines(proof: Proof) -> Iterator[str]:
    """Yield a line for each part that was checked."""
    parts = {"plan": proof.plan, "ledger": proof.ledger, "accounting": proof.accounting}
    parts |= {f"mapping {name}": part for name, part in proof.mappings.items()}
    width = max(map(len, parts))
    yield "Check:"
    for name, part in parts.items():
        yield f"  {name:<{width}}  {_said(part)}"
    for forgotten in proof.forgotten:
        if forgotten.complete:
            yield f"  Columns and names were forgotten at {forgotten.at}; before that:"
            yield f"    plan    {forgotten.plan_before}"
            yield f"    ledger  {forgotten.ledger_before}"


def _said(part: Part) -> str:
    said = click.style(_SAID.get(part.verdict, part.verdict), fg=_COLOURS.get(part.verdict))
    return f"{said}: {part.detail}" if part.detail else said


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
    record = RunFolder(Path(summary.run_dir)).read()
    explain = reason is None or reason.by not in (StoppedBy.MAX_FAILURES, StoppedBy.CANARY)
    for line in _lines(summary, record, proof, explain=explain):
        click.echo(line)


def _lines(
    summary: RunSummary, record: RunRecord, proof: Proof | None, *, explain: bool
) -> Iterator[str]:
    """Yield the lines of a summary, none wider than the terminal but paths and commands.

    Args:
        summary: where the run stands.
        record: of the run.
        proof: what was found where it was checked.
        explain: say of the commonest failures what to do; the reason of a stop has said so.
    """
    yield _headline(summary)
    yield from accounting(summary, record, explain=explain)
    calls = summary.calls
    told = (
        f"Calls: {calls.link:,} link, {calls.unlink:,} unlink, {calls.read:,} read,"
        f" {calls.lookup:,} look-up, {calls.retried:,} of them again;"
        f" the fewest for link and unlink: {calls.least:,}.",
        *_forecast(record),
        *_canary(record),
        f"Time: {summary.seconds:,.1f} s, {_made(summary):,} credits",
        *_when(record),
        *_limited(record),
        *_later(summary),
    )
    for line in told:
        yield from wrapped(line)
    yield f"Ledger: {Path(summary.run_dir) / 'ledger.jsonl'}"
    if summary.counts["rejected"]:
        yield f"Refused rows: {Path(summary.run_dir) / 'rejects.csv'}"
    yield from proof_lines(proof) if proof else ()
    yield from next_steps(summary, record)


def _when(record: RunRecord) -> Iterator[str]:
    """Yield when the first command of a run began and the last ended."""
    if not record.invocations:
        return
    many, last = len(record.invocations), record.invocations[-1]
    text = f"Started {local_time(record.invocations[0].started)}"
    if last.ended:
        text += f", ended {local_time(last.ended)}"
    yield f"{text}, in {many:,} commands" if many > 1 else text


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
    """Yield what limited the last command on a run, and how many calls went beyond its limit."""
    if said := limited(record):
        yield said
    if beyond := beyond_max_credits(record):
        yield f"Beyond --max-credits, to finish relinks that were begun: {beyond:,} calls."


def _later(summary: RunSummary) -> Iterator[str]:
    """Yield when a run can go on that waits for credits, or stopped for them."""
    if summary.resume_at is not None:
        yield f"Credits are expected at {local_time(summary.resume_at)}."


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


def _canary(record: RunRecord) -> Iterator[str]:
    """Yield how the canary went, where there was one."""
    canary = record.canary
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
            f" Link by hand, or {quoted('retry', run_dir, '--code', 'put-back-failed')}."
        )
    if torn.open:
        yield (
            f"Between the halves of a relink: {_named(torn.open)}."
            f" {quoted('resume', run_dir)} finishes these first."
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
