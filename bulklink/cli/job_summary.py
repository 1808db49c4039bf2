"""Summary of a job for the terminal: what became of all its shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bulklink.cli.check_summary import check_lines, check_object
from bulklink.cli.console import (
    Line,
    Styled,
    format_columns,
    print_json,
    print_line,
    show_error,
    table_lines,
    wrap_text,
)
from bulklink.cli.detached_relinks import detached_relink_lines
from bulklink.cli.suggested_commands import suggested_command
from bulklink.counts import count_of
from bulklink.errors import RunStoppedError
from bulklink.local_time import format_local_time
from bulklink.runs.check_result import CheckResult
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunState
from bulklink.runs.status import RunResult
from bulklink.shell import path_word

SAMPLE_SIZE = 299
"""Emails of a sample that shows, if none is wrong, that at most 1 % are."""


def job_object(result: RunResult, check_results: Sequence[CheckResult] = ()) -> dict[str, Any]:
    """Return a job as in JSON output, with the results of checking its shards."""
    content: dict[str, Any] = msgspec.to_builtins(result)
    for shard in content["shards"]:
        del shard["shards"]
    for shard, check_result in zip(content["shards"], check_results, strict=False):
        shard["check"] = check_object(check_result)
    return content


def show_job(
    result: RunResult,
    reason: RunStoppedError | None,
    *,
    as_json: bool,
    check_results: Sequence[CheckResult] = (),
) -> int:
    """Show the state of a job, detached relinks first; return its exit code, 0 while it is active.

    Args:
        result: state of the job.
        reason: why it stopped early; None if it did not.
        as_json: print one JSON object.
        check_results: results of checking its shards; empty if they were not checked.
    """
    for text in detached_relink_lines(result):
        print_line(Styled(text, "red", bold=True), err=as_json)
    if reason is not None and result.state is not RunState.FINISHED:
        show_error(reason, as_json=False)
    if as_json:
        print_json(job_object(result, check_results))
    else:
        for line in _summary_lines(result, check_results):
            print_line(line)
    return int(result.exit_code or 0)


def _summary_lines(result: RunResult, check_results: Sequence[CheckResult]) -> Iterator[Line]:
    colour = {RunState.FINISHED: "green", RunState.STOPPED: "red"}.get(result.state)
    stopped = f" ({result.stopped_by})" if result.stopped_by else ""
    text = f"{result.shown_op}: {result.state}{stopped}, {count_of(len(result.shards), 'shard')}"
    yield Styled(text, colour if result.exit_code else "green")
    if result.undone:
        yield f"Undone by {_undoing_job(result)}."
    yield from table_lines(
        {name: n for name, n in result.counts.items() if n} | {"rows": result.rows}
    )
    rows: list[tuple[str, ...]] = [("shard", "state", "rows", "done", "pending", "not done")]
    for shard in result.shards:
        counts = shard.counts
        done = counts["done"] + counts["unchanged"] + counts["duplicate"]
        pending = counts["pending"]
        numbers = (shard.rows, done, pending, shard.rows - done - pending)
        rows.append(
            (Path(shard.run_dir).name, str(shard.state), *(f"{number:,}" for number in numbers))
        )
    yield from format_columns(rows, right_aligned=range(2, 6))
    calls = result.calls
    yield from wrap_text(
        f"Calls: {calls.link:,} link, {calls.unlink:,} unlink, {calls.read:,} read,"
        f" {calls.lookup:,} look-up, {calls.retried:,} retried;"
        f" minimum for link + unlink: {calls.least:,}."
    )
    yield f"Time: {result.seconds:,.1f} s, {count_of(result.credits, 'credit')}"
    if result.resume_at is not None:
        yield f"Credits are expected at {format_local_time(result.resume_at)}."
    folders = [result.run_dir, *(shard.run_dir for shard in result.shards)]
    for rejects in (RunFolder(Path(folder)).rejects for folder in folders):
        if rejects.exists():
            yield f"Refused rows: {rejects}"
            break  # that of a job has the refused rows of all shards
    for shard, check_result in zip(result.shards, check_results, strict=False):
        yield f"{Path(shard.run_dir).name}:"
        yield from check_lines(check_result)
    yield from _next_steps(result)


def _next_steps(result: RunResult) -> Iterator[str]:
    """Yield the next commands, each below its purpose."""
    run, counts = path_word(result.run_dir), result.counts
    steps: list[tuple[str, tuple[str, ...]]] = []
    match result.state:
        case RunState.PLANNED:
            steps.append(("To send it", ("apply", run)))
        case RunState.STOPPED:
            records = (RunFolder(Path(shard.run_dir)).read() for shard in result.shards)
            needs_accept = any(record.needs_accept_canary for record in records)
            accept = ("--accept-canary",) if needs_accept else ()
            steps.append(("To continue", ("resume", run, *accept)))
        case RunState.FINISHED if result.undone:
            steps.append(("To verify its undo", ("verify", _undoing_job(result))))
        case RunState.FINISHED:
            if counts["failed"] or counts["in_doubt"]:
                steps.append(("To send again what is not done", ("retry", run)))
            steps.append(("To prove that nothing is missing or twice", ("merge", run)))
            if counts["done"]:
                sample = ("--sample", str(SAMPLE_SIZE)) if counts["done"] > SAMPLE_SIZE else ()
                steps.append(("To read it back", ("verify", run, *sample)))
    if any(shard.state is RunState.REFUSED for shard in result.shards):
        rest = ("export", run, "--status", "pending", "--status", "rejected", "-o", "rest.csv")
        steps.append(("To fix the refused rows and plan them again, with those left out", rest))
    profile = RunFolder(Path(result.shards[0].run_dir)).read().profile
    for purpose, arguments in steps:
        yield f"{purpose}:"
        yield f"  {suggested_command(*arguments, recorded=profile)}"


def _undoing_job(result: RunResult) -> str:
    """Return the folder of the job that undid a job."""
    undos = (undo for shard in result.shards for undo in shard.undone_by if undo.complete)
    return path_word(Path(next(undos).run_dir).parent)
