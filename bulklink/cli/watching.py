"""What a person sees of a run while it goes on: a bar, or a line every ten seconds, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bulklink.cli.screen import local_time, note, warn
from bulklink.cli.signals import with_signals
from bulklink.cli.summary import show_run
from bulklink.engine.stopping import Stopping
from bulklink.errors import RunStoppedError
from bulklink.job.progress import Progress as Settled
from bulklink.job.progress import Question, Watch
from bulklink.ledger.lines import Result
from bulklink.models import Status
from bulklink.runs.status import RunSummary

T = TypeVar("T")
LINE_SECONDS = 10.0


class ScreenWatch(Watch):
    """Shows a run on standard error.

    Args:
        style: auto, bar, lines or none.
        verbose: name each email that fails.
        quiet: show neither progress nor warnings.
        stopping: told when a person ends the run at the question.
    """

    def __init__(self, style: str, *, verbose: bool, quiet: bool, stopping: Stopping) -> None:
        terminal = sys.stderr.isatty()
        if style == "auto":
            style = "bar" if terminal else "lines"
        self._style = "none" if quiet else style
        self._verbose = verbose
        self._quiet = quiet
        self._stopping = stopping
        self._next_line = time.monotonic() + LINE_SECONDS
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[bad]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("Starting", total=None, bad="")
        self.can_ask = sys.stdin.isatty() and terminal

    def __enter__(self) -> Self:
        if self._style == "bar":
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def warn(self, text: str) -> None:
        """Show a warning."""
        if not self._quiet:
            warn(text)

    def phase(self, text: str) -> None:
        """Show what the run does now."""
        self._bar.update(self._task, description=text)
        if self._style == "lines" and self._verbose:
            note(f"{text} …")

    def waits(self, until: float | None) -> None:
        """Show until when the run waits for credits."""
        if until is None:
            self.phase("Sending")
            return
        moment = datetime.fromtimestamp(until, UTC)
        text = f"Waiting for credits until {local_time(moment.isoformat())}"
        self._bar.update(self._task, description=text)
        if self._style != "bar" and not self._quiet:
            note(f"{text}. Ctrl-C stops; `bulklink resume` goes on later.")

    def progress(self, progress: Settled) -> None:
        """Show how far the run is."""
        failed, doubt = progress.counts[Status.FAILED], progress.counts[Status.IN_DOUBT]
        bad = f"{failed:,} failed, {doubt:,} in doubt" if failed or doubt else ""
        self._bar.update(self._task, completed=progress.settled, total=progress.rows, bad=bad)
        if self._style == "lines" and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            note(f"{progress.settled:,} of {progress.rows:,} rows{', ' + bad if bad else ''}")

    def price(self, what: str, *, credits_at_least: int) -> None:
        """Show what is read and what it costs, before its first call."""
        if not self._quiet:
            note(f"{what}: at least {credits_at_least:,} calls, {credits_at_least:,} credits.")

    def read(self, done: int, of: int) -> None:
        """Show how far a reading is."""
        self._bar.update(self._task, completed=done, total=of)
        if self._style == "lines" and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            note(f"{done:,} of {of:,} read")

    def not_done(self, result: Result) -> None:
        """Name a message that failed or is in doubt."""
        if self._verbose:
            note(
                f"row {result.row}: {result.status} {result.code}: contact {result.contact_id},"
                f" message {result.message_id}: {result.message}"
            )

    def go_on(self, found: str, left: int) -> bool:
        """Ask a person whether the rest is sent after a canary that did not pass."""
        self._bar.stop()
        warn(found)
        return self._asked(f"Send the other {left:,} emails all the same?")

    def confirm(self, question: Question) -> bool:
        """Ask a person before an org is changed."""
        self._bar.stop()
        org = question.org_name or "an org whose name cannot be read"
        kind = question.org_type or "type not known"
        return self._asked(f"{question.op}: change {question.messages:,} emails of {org} ({kind})?")

    def _asked(self, question: str) -> bool:
        try:
            return click.confirm(question, err=True)
        except click.Abort:
            self._stopping.interrupt()
            return False


def watched(
    work: Callable[[Watch, Stopping], Awaitable[RunSummary]], options: Mapping[str, Any]
) -> int:
    """Do some work on a run with the screen that options ask for; return the exit code."""
    summary, reason = on_screen(work, options)
    show_run(summary, reason, as_json=options["as_json"])
    return int(summary.exit_code or 0)


def on_screen(
    work: Callable[[Watch, Stopping], Awaitable[T]], options: Mapping[str, Any]
) -> tuple[T, RunStoppedError | None]:
    """Do some work with the screen that options ask for; return what came of it.

    Returns:
        What the work returned, and the reason why it was stopped, if it was.
    """

    async def watching(stopping: Stopping) -> tuple[T, RunStoppedError | None]:
        with ScreenWatch(
            options["progress"],
            verbose=options.get("verbose", False),
            quiet=options["quiet"],
            stopping=stopping,
        ) as watch:
            return await work(watch, stopping), stopping.reason

    return with_signals(watching)
