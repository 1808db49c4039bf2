"""Summary of a run for the terminal: accounting, failures, check of its files, next steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from bulklink.cli.check_summary import check_lines, check_object
from bulklink.cli.console import (
    Line,
    Styled,
    format_columns,
    note,
    print_json,
    print_line,
    show_error,
    table_lines,
    wrap_text,
)
from bulklink.cli.detached_relinks import detached_relink_lines
from bulklink.cli.job_summary import SAMPLE_SIZE, job_object, show_job
from bulklink.cli.suggested_commands import suggested_command
from bulklink.counts import count_of
from bulklink.engine.failure_limit import example_text, explain_code
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.html_pages.report.model import Accounting
from bulklink.ledger.statistics import FailureCount, ResultCounts, count_results
from bulklink.local_time import format_local_time
from bulklink.models import Status
from bulklink.operations import wording
from bulklink.operations.wording import (
    beyond_max_credits,
    can_be_undone,
    continue_arguments,
    describe_limit,
    describe_rate,
    describe_undone,
)
from bulklink.runs.check_result import CheckResult
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CallForecast
from bulklink.runs.job_folder import commanded_path, undoing_path
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import RunResult
from bulklink.shell import path_word

if TYPE_CHECKING:
    from bulklink.runs.queue import QueueOverview

_MIXED = "mixed"
_MAX_FAILURES_SHOWN = 5
_ROWS = "rows"


def accounting_lines(result: RunResult, record: RunRecord, *, explain: bool) -> Iterator[Line]:
    """Yield row counts by status, which add up to those of the run, and the commonest failures.

    The ledger is read only if needed: for a run of one op without failures, the counts suffice.

    Args:
        result: state of the run.
        record: record of the run.
        explain: yield the commonest failures with advice and an example of each.
    """
    mixed = result.op == _MIXED
    failed = result.counts[Status.FAILED] or result.counts[Status.IN_DOUBT]
    result_counts = ResultCounts({}, [])
    if mixed or (failed and explain):
        result_counts = count_results(RunFolder(Path(result.run_dir)).ledger)
    ops = {op for op, _ in result_counts.counts} | {
        op for op, count in record.by_op.items() if count
    }
    if mixed and len(ops) > 1 and result.state is not RunState.REFUSED:
        yield from _op_table_lines(
            wording.build_accounting(result_counts.counts, result.rows, record.by_op)
        )
    else:
        counts = {name: n for name, n in result.counts.items() if n}
        yield from table_lines(counts | {_ROWS: result.rows})
    if explain:
        yield from _failure_lines(result_counts.failures)


def _op_table_lines(accounting: Accounting) -> Iterator[str]:
    """Yield a table of status by op, whose rows and columns add up."""
    rows_by_op = [["", *accounting.ops, "all"]]
    status_lines = [(line.status, line.by_op, line.rows) for line in accounting.lines]
    for name, by_op, rows in (*status_lines, (_ROWS, accounting.sums, accounting.rows)):
        rows_by_op.append([name, *("?" if n is None else f"{n:,}" for n in by_op), f"{rows:,}"])
    yield from format_columns(rows_by_op, right_aligned=range(1, len(rows_by_op[0])))


def _failure_lines(failures: list[FailureCount]) -> Iterator[str]:
    """Yield the commonest codes: count, advice and an example."""
    if not failures:
        return
    yield "Failed or in doubt:"
    for failure in failures[:_MAX_FAILURES_SHOWN]:
        yield from wrap_text(explain_code(failure.code, failure.count, failure.example), "  ")
        yield from wrap_text(example_text(failure.example), "    ")
    remaining = failures[_MAX_FAILURES_SHOWN:]
    if remaining:
        rows = sum(failure.count for failure in remaining)
        yield from wrap_text(f"{rows:,} of {count_of(len(remaining), 'other code')}.", "  ")


HIDE_NEXT_STEPS = "bulklink.no_steps"
"""Key in the `meta` of click's context: suggest no commands, because the CRM is gone."""
_Step = tuple[str, tuple[str, ...]]


def next_steps(result: RunResult, record: RunRecord) -> Iterator[str]:
    """Yield suggested next commands, each below its purpose."""
    ctx = click.get_current_context(silent=True)
    if ctx is not None and ctx.meta.get(HIDE_NEXT_STEPS):
        return
    for purpose, args in _suggestions(result, record):
        yield from wrap_text(f"{purpose}:")
        yield f"  {suggested_command(*args, recorded=record.profile)}"


def _run_word(result: RunResult, record: RunRecord) -> str:
    return path_word(commanded_path(RunFolder(Path(result.run_dir)), record))


def _suggestions(result: RunResult, record: RunRecord) -> Iterator[_Step]:
    run, counts = _run_word(result, record), result.counts
    if record.load_test:
        yield "To see its figures on a web page", ("report", run)
        return
    if record.effective_undo is not None:
        yield (
            "To verify its undo",
            ("verify", path_word(undoing_path(record, record.effective_undo))),
        )
        return
    match result.state:
        case RunState.PLANNED:
            yield "To send it", ("apply", run)
        case RunState.STOPPED if record.needs_accept_canary:
            yield from _after_failed_canary(result, record)
        case RunState.STOPPED:
            yield "To continue", ("resume", run)
        case RunState.FINISHED:
            if counts[Status.FAILED] or counts[Status.IN_DOUBT]:
                yield "To see the whole run on a web page", ("report", run)
            if counts[Status.FAILED]:
                yield (
                    "To export failed rows as a mapping",
                    ("export", run, "--status", "failed", "-o", "again.csv"),
                )
                yield "To retry it once the cause is fixed", ("retry", run)
            if counts[Status.IN_DOUBT]:
                yield "To read back emails in doubt", ("verify", run, "--in-doubt")
            if not counts[Status.FAILED] and not counts[Status.IN_DOUBT]:
                yield from _after_success(result, record)


def _after_failed_canary(result: RunResult, record: RunRecord) -> Iterator[_Step]:
    run = _run_word(result, record)
    yield "To read back the emails sent", ("verify", run)
    if result.counts[Status.DONE] and can_be_undone(record):
        yield "To undo it", ("undo", run)
    yield (
        "To send the rest anyway, without another canary",
        tuple(continue_arguments(record, "resume", run)),
    )


def _after_success(result: RunResult, record: RunRecord) -> Iterator[_Step]:
    run = _run_word(result, record)
    done = result.counts[Status.DONE]
    settled = done + result.counts[Status.UNCHANGED]
    if settled > SAMPLE_SIZE:
        yield (
            "To read back a sample, which shows that at most 1 % is wrong",
            ("verify", run, "--sample", str(SAMPLE_SIZE)),
        )
    elif settled:
        yield "To read it back", ("verify", run)
    if done and can_be_undone(record):
        yield "To undo it", ("undo", run)


def show_run(
    result: RunResult,
    reason: RunStoppedError | None,
    *,
    as_json: bool,
    check_results: Sequence[CheckResult] = (),
) -> int:
    """Show the state of a run, detached relinks first; return its exit code, 0 while it is active.

    Args:
        result: state of the run or job.
        reason: why it stopped early; None if it did not.
        as_json: print one JSON object.
        check_results: results of checking its files, or those of each shard; empty if they were
            not checked.
    """
    if result.shards:
        return show_job(result, reason, as_json=as_json, check_results=check_results)
    check_result = next(iter(check_results), None)
    record = RunFolder(Path(result.run_dir)).read()
    for text in detached_relink_lines(result):
        print_line(Styled(text, "red", bold=True), err=as_json)
    if reason is not None and result.state is not RunState.FINISHED:  # a stop may come too late
        show_error(reason, as_json=False)
    if as_json:
        print_json(_run_object(result, check_result))
    else:
        explained = (StoppedBy.MAX_FAILURES, StoppedBy.CANARY)
        explain = reason is None or reason.stopped_by not in explained
        for line in _summary_lines(result, record, check_result, explain=explain):
            print_line(line)
    return int(result.exit_code or 0)


def _summary_lines(
    result: RunResult, record: RunRecord, check_result: CheckResult | None, *, explain: bool
) -> Iterator[Line]:
    """Yield the lines of a summary, wrapped to the terminal's width except paths and commands.

    Args:
        result: state of the run.
        record: record of the run.
        check_result: result of checking its files; None if they were not checked.
        explain: yield advice on the commonest failures; the reason of a stop includes it.
    """
    folder = RunFolder(Path(result.run_dir))
    yield _headline(result)
    if text := describe_undone(record):
        yield from wrap_text(text)
    yield from accounting_lines(result, record, explain=explain)
    calls = result.calls
    paragraphs = (
        f"Calls: {calls.link:,} link, {calls.unlink:,} unlink, {calls.read:,} read,"
        f" {calls.lookup:,} look-up, {calls.retried:,} retried;"
        f" minimum for link + unlink: {calls.least:,}.",
        *(() if record.load_test else _forecast_lines(record)),
        *_canary_lines(record),
        f"Time: {result.seconds:,.1f} s, {count_of(result.credits, 'credit')}",
        *_time_lines(record),
        *_rate_lines(result),
        *_limit_lines(record),
        *_resume_lines(result),
    )
    for line in paragraphs:
        yield from wrap_text(line)
    yield f"Ledger: {folder.ledger}"
    if result.counts["rejected"] and folder.rejects.exists():
        yield f"Refused rows: {folder.rejects}"
    yield from check_lines(check_result) if check_result else ()
    yield from next_steps(result, record)


def _time_lines(record: RunRecord) -> Iterator[str]:
    """Yield when the first command of a run began and the last ended."""
    if not record.invocations:
        return
    count, last = len(record.invocations), record.invocations[-1]
    text = f"Started {format_local_time(record.invocations[0].started)}"
    if last.ended:
        text += f", ended {format_local_time(last.ended)}"
    yield f"{text}, in {count_of(count, 'command')}" if count > 1 else text


def _forecast_lines(record: RunRecord) -> Iterator[str]:
    """Yield the forecast, the renewed forecast and the choice of snapshot."""
    forecast, renewed, choice = record.forecast, record.renewed, record.snapshot_choice
    if forecast is not None:
        yield f"Forecast: {_forecast_text(forecast)}."
    if renewed is not None:
        yield (
            f"After the canary: {renewed.credits.least:,} to"
            f" {count_of(renewed.credits.most, 'credit')}, {renewed.seconds.least:,.1f} to"
            f" {renewed.seconds.most:,.1f} s: {renewed.reason}"
        )
    if choice is not None:
        yield f"Snapshot: {choice.reason}"


def _forecast_text(forecast: CallForecast) -> str:
    if forecast.credit_range is None or forecast.seconds_range is None:
        return f"{count_of(forecast.credits, 'credit')}, {forecast.seconds:,.1f} s at least"
    credit_range, seconds = forecast.credit_range, forecast.seconds_range
    return (
        f"{count_of(credit_range.likely, 'credit')} likely, {credit_range.least:,} to"
        f" {credit_range.most:,}; {seconds.likely:,.1f} s likely, {seconds.least:,.1f} to"
        f" {seconds.most:,.1f} s"
    )


def _limit_lines(record: RunRecord) -> Iterator[str]:
    """Yield the bottleneck of a run's last command, and its calls beyond the credit limit."""
    if sentence := describe_limit(record):
        yield sentence
    if excess_calls := beyond_max_credits(record):
        calls = count_of(excess_calls, "call")
        yield f"Beyond --max-credits, to complete relinks already started: {calls}."


def _rate_lines(result: RunResult) -> Iterator[str]:
    """Yield the rate and the latencies of a run, if they were measured."""
    if sentence := describe_rate(result):
        yield sentence


def _resume_lines(result: RunResult) -> Iterator[str]:
    """Yield when credits are expected, for a run that waits or stopped for them."""
    if result.resume_at is not None:
        yield f"Credits are expected at {format_local_time(result.resume_at)}."


def show_runs(
    results: Sequence[RunResult],
    *,
    as_json: bool,
    check_results: Sequence[CheckResult] = (),
    queue: QueueOverview | None = None,
) -> None:
    """Show a line for each run, followed by the result of its check.

    Args:
        results: states of the runs.
        as_json: print one JSON object, which has the queue too.
        check_results: results of checking their files; empty if they were not checked.
        queue: queue of their folder; None without one.
    """
    pairs = list(zip_longest(results, check_results))
    if as_json:
        runs = [_run_object(result, check_result) for result, check_result in pairs]
        print_json(
            {"runs": runs} | ({} if queue is None else {"queue": msgspec.to_builtins(queue)})
        )
        return
    if not results:
        note("No runs found.")
    for result, check_result in pairs:
        counts = ", ".join(f"{n:,} {name}" for name, n in result.counts.items() if n)
        undone = "  undone" if result.undone else ""
        state = _format_state(result) + undone
        print_line(f"{result.run_dir}  {result.shown_op}  {state}  {counts}")
        for line in check_lines(check_result) if check_result else ():
            print_line(("  ", *line) if isinstance(line, tuple) else f"  {line}")


def _run_object(result: RunResult, check_result: CheckResult | None) -> dict[str, Any]:
    """Return a run as in JSON output, with the result of its check."""
    if result.shards:
        return job_object(result)
    content: dict[str, Any] = msgspec.to_builtins(result)
    del content["shards"]
    return content if check_result is None else content | {"check": check_object(check_result)}


def _canary_lines(record: RunRecord) -> Iterator[str]:
    """Yield the outcome of the canary, if there was one."""
    canary = record.canary
    if canary is not None:
        outcome = canary.found or f"the first {count_of(canary.messages, 'email')}; not finished."
        yield f"Canary {canary.state}: {outcome}"


def _headline(result: RunResult) -> Styled:
    colour = {RunState.FINISHED: "green", RunState.STOPPED: "red"}.get(result.state)
    text = f"{result.shown_op}: {_format_state(result)}"
    return Styled(text, colour if result.exit_code else "green")


def _format_state(result: RunResult) -> str:
    return f"{result.state} ({result.stopped_by})" if result.stopped_by else result.state
