"""The next command to type after a run, by where it stands."""

from __future__ import annotations

from collections.abc import Iterator

import click

from bulklink.cli.console import wrapped
from bulklink.models import Status
from bulklink.operations.wording import can_be_undone
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import RunSummary
from bulklink.shell import typed

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
