"""What a person sees of a command while it goes on: a live view, lines, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio.to_thread
import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from bulklink.cli.console import format_local_time, note, redirect_notes, warn
from bulklink.cli.progress_view import ProgressView, render_lines, render_one_line
from bulklink.cli.run_summary import show_run
from bulklink.cli.signals import run_with_signals
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError
from bulklink.ledger.records import Result
from bulklink.mapping.interrupt import PlanningStage, PlanningStop
from bulklink.models import Status
from bulklink.operations.callbacks import (
    ConfirmationRequest,
    ReadProgress,
    RunCallbacks,
    RunProgress,
)
from bulklink.operations.cancellation import make_planning_stop, report_planning
from bulklink.runs.status import RunResult

T = TypeVar("T")
LINE_SECONDS = 10.0
REDRAW_SECONDS = 0.9
"""Between two pictures of one phase: figures that change more often are no calmer to read."""


class _RenderedView:
    """A view as rich draws it."""

    def __init__(self, view: ProgressView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield from render_lines(self._view, options.max_width)


class ProgressDisplay(RunCallbacks):
    """Shows on standard error how far a command is.

    Args:
        style: auto, bar, lines or none. A bar where none can be drawn is lines.
        verbose: name each email that fails.
        quiet: show neither progress nor warnings.
        stopping: told when a person ends the run at the question.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        style: str,
        *,
        verbose: bool,
        quiet: bool,
        stop: StopController,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        terminal = sys.stderr.isatty()
        self._console = Console(stderr=True, force_terminal=terminal, highlight=False)
        self._style = "none" if quiet else self._resolve_style(style, terminal=terminal)
        self._verbose = verbose
        self._quiet = quiet
        self._stop = stop
        self._clock = clock
        self._next_line = clock() + LINE_SECONDS
        self._next_redraw = 0.0
        self._view = ProgressView("Starting")
        self._has_progress = False
        self._live: Live | None = None
        self._live_context = ExitStack()
        self.can_ask = sys.stdin.isatty() and terminal

    def __enter__(self) -> Self:
        self._start_live()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop_live()

    def on_warning(self, text: str) -> None:
        """Show a warning."""
        if not self._quiet:
            warn(text)

    def on_phase(self, text: str) -> None:
        """Show what the command does now."""
        if self._has_progress:
            self._update_view(replace(self._view, phase=text))
        else:
            self._update_view(ProgressView(text))
        if self._style == "lines" and self._verbose:
            note(f"{text} …")

    def on_planning(self, stage: PlanningStage) -> None:
        """Show what planning does now."""
        self._update_view(ProgressView(stage.name, fraction=stage.share, total_bytes=stage.size))

    def on_wait(self, until: float | None) -> None:
        """Show until when the run waits for credits."""
        if until is None:
            self._update_view(replace(self._view, waiting_until=None))
            return
        local_until = format_local_time(datetime.fromtimestamp(until, UTC).isoformat())
        self._update_view(replace(self._view, waiting_until=local_until))
        if self._style != "bar" and not self._quiet:
            note(
                f"Waiting for credits until {local_until}. Ctrl-C stops; `bulklink resume` goes on"
                " later."
            )

    def on_progress(self, progress: RunProgress) -> None:
        """Show how far the run is."""
        self._has_progress = True
        self._update_view(
            replace(
                self._view,
                unit="emails",
                done=progress.settled,
                total=progress.rows,
                metrics=progress.metrics,
                failed=progress.counts[Status.FAILED],
                in_doubt=progress.counts[Status.IN_DOUBT],
                codes=progress.failure_codes,
            )
        )

    def on_cost(self, description: str, *, credits_at_least: int) -> None:
        """Show what is read and what it costs, before its first call."""
        if not self._quiet:
            note(
                f"{description}: at least {credits_at_least:,} calls, {credits_at_least:,} credits."
            )

    def on_read(self, progress: ReadProgress) -> None:
        """Show how far a reading is."""
        metrics = progress.metrics if progress.metrics.max_in_flight else None
        done, total = progress.done, progress.total
        self._update_view(
            replace(self._view, unit=progress.unit, done=done, total=total, metrics=metrics)
        )

    def on_failure(self, result: Result) -> None:
        """Name a message that failed or is in doubt."""
        if self._verbose:
            note(
                f"row {result.row}: {result.status} {result.code}: contact {result.contact_id},"
                f" message {result.message_id}: {result.message}"
            )

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        """Ask a person whether the rest is sent after a canary that did not pass."""
        warn(summary)
        return self._ask(f"Send the other {remaining:,} emails all the same?")

    def confirm(self, request: ConfirmationRequest) -> bool:
        """Ask a person before an org is changed."""
        org = request.org_name or "an org whose name cannot be read"
        kind = request.org_type or "type not known"
        return self._ask(f"{request.op}: change {request.messages:,} emails of {org} ({kind})?")

    def _ask(self, question: str) -> bool:
        self._stop_live()
        try:
            return click.confirm(question, err=True)
        except click.Abort:
            self._stop.interrupt()
            return False
        finally:
            self._start_live()

    def _resolve_style(self, style: str, *, terminal: bool) -> str:
        """Return the style that is possible of the one that is wanted."""
        utf8 = self._console.encoding.startswith("utf")
        if style in ("auto", "bar"):
            can_draw = terminal and utf8 and not self._console.is_dumb_terminal
            return "bar" if can_draw else "lines"
        return style

    def _start_live(self) -> None:
        """Begin to draw; notes are said above what is drawn."""
        if self._style != "bar":
            return
        live = Live(
            _RenderedView(self._view),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with suppress(OSError):
            self._live = self._live_context.enter_context(live)
            self._live_context.enter_context(redirect_notes(self._print_above))

    def _stop_live(self) -> None:
        self._live = None
        with suppress(OSError):
            self._live_context.close()

    def _print_above(self, text: str) -> None:
        """Say something above the view, whole: what is too wide for the terminal is not broken."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _update_view(self, view: ProgressView) -> None:
        previous, self._view = self._view, view
        if self._live is not None:
            if _is_new_work(view, previous) or self._clock() >= self._next_redraw:
                self._next_redraw = self._clock() + REDRAW_SECONDS
                with suppress(OSError):  # nobody can see it any more: the command goes on
                    self._live.update(_RenderedView(view), refresh=True)
        elif self._style == "lines" and self._clock() >= self._next_line:
            self._next_line = self._clock() + LINE_SECONDS
            if view.waiting_until is None:  # that was said, and may last for hours
                note(render_one_line(view))


def _is_new_work(view: ProgressView, previous: ProgressView) -> bool:
    """Tell whether a view is of other work than the one before, not of the same a moment later."""
    work = (view.phase, view.waiting_until, view.done is None)
    return work != (previous.phase, previous.waiting_until, previous.done is None)


def run_and_show(
    operation: Callable[[RunCallbacks, StopController], Awaitable[RunResult]],
    options: Mapping[str, Any],
) -> int:
    """Do some work on a run with the screen that options ask for; return the exit code."""
    result, reason = run_with_progress(operation, options)
    show_run(result, reason, as_json=options["as_json"])
    return int(result.exit_code or 0)


def run_with_progress(
    operation: Callable[[RunCallbacks, StopController], Awaitable[T]], options: Mapping[str, Any]
) -> tuple[T, RunStoppedError | None]:
    """Do some work with the screen that options ask for; return what came of it.

    Returns:
        What the work returned, and the reason why it was stopped, if it was.
    """

    async def run_operation(stop: StopController) -> tuple[T, RunStoppedError | None]:
        with ProgressDisplay(
            options["progress"],
            verbose=options.get("verbose", False),
            quiet=options["quiet"],
            stop=stop,
        ) as display:
            return await operation(display, stop), stop.reason

    return run_with_signals(run_operation)


def plan_with_progress(
    work: Callable[[RunCallbacks, PlanningStop], T], options: Mapping[str, Any]
) -> T:
    """Plan in a thread with the screen that options ask for, and return what came of it.

    Args:
        work: is given what it tells of itself, and what ends it.
        options: of the command.

    Raises:
        InterruptedPlanningError: if a signal ended it.
    """

    async def run_planning(callbacks: RunCallbacks, stop: StopController) -> T:
        thread_stop = make_planning_stop(stop)
        async with report_planning(thread_stop, callbacks):
            return await anyio.to_thread.run_sync(partial(work, callbacks, thread_stop))

    return run_with_progress(run_planning, options)[0]
