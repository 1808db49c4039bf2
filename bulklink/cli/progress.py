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

from bulklink.cli.console import local_time, note, notes_by, warn
from bulklink.cli.progress_view import View, lines, one_line
from bulklink.cli.run_summary import show_run
from bulklink.cli.signals import with_signals
from bulklink.engine.shutdown import Stopping
from bulklink.errors import RunStoppedError
from bulklink.ledger.records import Result
from bulklink.mapping.interrupt import Stage, Stop
from bulklink.models import Status
from bulklink.operations.callbacks import Progress, Question, Reading, Watch
from bulklink.operations.cancellation import planning_stop, planning_told
from bulklink.runs.status import RunSummary

T = TypeVar("T")
LINE_SECONDS = 10.0
DRAW_SECONDS = 0.9
"""Between two pictures of one phase: figures that change more often are no calmer to read."""


class _Shown:
    """A view as rich draws it."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield from lines(self._view, options.max_width)


class ScreenWatch(Watch):
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
        stopping: Stopping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        terminal = sys.stderr.isatty()
        self._console = Console(stderr=True, force_terminal=terminal, highlight=False)
        self._style = "none" if quiet else self._drawable(style, terminal=terminal)
        self._verbose = verbose
        self._quiet = quiet
        self._stopping = stopping
        self._clock = clock
        self._next_line = clock() + LINE_SECONDS
        self._next_picture = 0.0
        self._view = View("Starting")
        self._counts = False
        self._live: Live | None = None
        self._drawn = ExitStack()
        self.can_ask = sys.stdin.isatty() and terminal

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._put_away()

    def warn(self, text: str) -> None:
        """Show a warning."""
        if not self._quiet:
            warn(text)

    def phase(self, text: str) -> None:
        """Show what the command does now."""
        if self._counts:
            self._show(replace(self._view, phase=text))
        else:
            self._show(View(text))
        if self._style == "lines" and self._verbose:
            note(f"{text} …")

    def planning(self, stage: Stage) -> None:
        """Show what planning does now."""
        self._show(View(stage.name, share=stage.share, size=stage.size))

    def waits(self, until: float | None) -> None:
        """Show until when the run waits for credits."""
        if until is None:
            self._show(replace(self._view, waits_until=None))
            return
        moment = local_time(datetime.fromtimestamp(until, UTC).isoformat())
        self._show(replace(self._view, waits_until=moment))
        if self._style != "bar" and not self._quiet:
            note(
                f"Waiting for credits until {moment}. Ctrl-C stops; `bulklink resume` goes on"
                " later."
            )

    def progress(self, progress: Progress) -> None:
        """Show how far the run is."""
        self._counts = True
        self._show(
            replace(
                self._view,
                unit="emails",
                done=progress.settled,
                of=progress.rows,
                gauge=progress.gauge,
                failed=progress.counts[Status.FAILED],
                in_doubt=progress.counts[Status.IN_DOUBT],
                codes=progress.codes,
            )
        )

    def price(self, what: str, *, credits_at_least: int) -> None:
        """Show what is read and what it costs, before its first call."""
        if not self._quiet:
            note(f"{what}: at least {credits_at_least:,} calls, {credits_at_least:,} credits.")

    def read(self, reading: Reading) -> None:
        """Show how far a reading is."""
        gauge = reading.gauge if reading.gauge.cap else None
        done, of = reading.done, reading.of
        self._show(replace(self._view, unit=reading.what, done=done, of=of, gauge=gauge))

    def not_done(self, result: Result) -> None:
        """Name a message that failed or is in doubt."""
        if self._verbose:
            note(
                f"row {result.row}: {result.status} {result.code}: contact {result.contact_id},"
                f" message {result.message_id}: {result.message}"
            )

    def go_on(self, found: str, left: int) -> bool:
        """Ask a person whether the rest is sent after a canary that did not pass."""
        warn(found)
        return self._asked(f"Send the other {left:,} emails all the same?")

    def confirm(self, question: Question) -> bool:
        """Ask a person before an org is changed."""
        org = question.org_name or "an org whose name cannot be read"
        kind = question.org_type or "type not known"
        return self._asked(f"{question.op}: change {question.messages:,} emails of {org} ({kind})?")

    def _asked(self, question: str) -> bool:
        self._put_away()
        try:
            return click.confirm(question, err=True)
        except click.Abort:
            self._stopping.interrupt()
            return False
        finally:
            self._draw()

    def _drawable(self, style: str, *, terminal: bool) -> str:
        """Return the style that is possible of the one that is wanted."""
        utf8 = self._console.encoding.startswith("utf")
        if style in ("auto", "bar"):
            drawable = terminal and utf8 and not self._console.is_dumb_terminal
            return "bar" if drawable else "lines"
        return style

    def _draw(self) -> None:
        """Begin to draw; notes are said above what is drawn."""
        if self._style != "bar":
            return
        live = Live(
            _Shown(self._view),
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with suppress(OSError):
            self._live = self._drawn.enter_context(live)
            self._drawn.enter_context(notes_by(self._say))

    def _put_away(self) -> None:
        self._live = None
        with suppress(OSError):
            self._drawn.close()

    def _say(self, text: str) -> None:
        """Say something above the view, whole: what is too wide for the terminal is not broken."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _show(self, view: View) -> None:
        before, self._view = self._view, view
        if self._live is not None:
            if _is_other(view, before) or self._clock() >= self._next_picture:
                self._next_picture = self._clock() + DRAW_SECONDS
                with suppress(OSError):  # nobody can see it any more: the command goes on
                    self._live.update(_Shown(view), refresh=True)
        elif self._style == "lines" and self._clock() >= self._next_line:
            self._next_line = self._clock() + LINE_SECONDS
            if view.waits_until is None:  # that was said, and may last for hours
                note(one_line(view))


def _is_other(view: View, before: View) -> bool:
    """Tell whether a view is of other work than the one before, not of the same a moment later."""
    work = (view.phase, view.waits_until, view.done is None)
    return work != (before.phase, before.waits_until, before.done is None)


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


def planned(work: Callable[[Watch, Stop], T], options: Mapping[str, Any]) -> T:
    """Plan in a thread with the screen that options ask for, and return what came of it.

    Args:
        work: is given what it tells of itself, and what ends it.
        options: of the command.

    Raises:
        InterruptedPlanningError: if a signal ended it.
    """

    async def planning(watch: Watch, stopping: Stopping) -> T:
        stop = planning_stop(stopping)
        async with planning_told(stop, watch):
            return await anyio.to_thread.run_sync(partial(work, watch, stop))

    return on_screen(planning, options)[0]
