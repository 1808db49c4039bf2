"""Live progress of a command: bar, lines or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import anyio.to_thread
import click

from bulklink.cli.callbacks import WarningDisplay
from bulklink.cli.console import can_ask, confirm, note, redirect_notes, warn
from bulklink.cli.event_loop import run_in_loop
from bulklink.cli.progress_view import ProgressView, load_figures, render_lines, render_one_line
from bulklink.cli.signals import run_with_signals
from bulklink.counts import count_of
from bulklink.engine.outage import Outage
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError
from bulklink.ledger.records import Result
from bulklink.load_results import WARM_UP
from bulklink.local_time import format_local_moment
from bulklink.mapping.interrupt import PlanningStage
from bulklink.models import Status
from bulklink.operations.callbacks import (
    ConfirmationRequest,
    LoadProgress,
    ProbeConfirmation,
    ReadProgress,
    RunCallbacks,
    RunProgress,
)
from bulklink.runs.forecast import CreditRange

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
LINE_SECONDS = 10.0
"""Interval between progress lines."""
REDRAW_SECONDS = 0.9
"""Minimum interval between redraws within a phase; faster changes are hard to read."""


class _RenderedView:
    """Progress view as a rich renderable."""

    def __init__(self, view: ProgressView) -> None:
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        yield from render_lines(self._view, options.max_width)


class ProgressDisplay(WarningDisplay):
    """Callbacks that show progress on standard error.

    Args:
        style: auto, bar, lines or none; lines replace a bar that cannot be drawn.
        verbose: name each email that fails.
        quiet: show neither progress nor warnings.
        stop: interrupted when the user presses Ctrl-C at a question.
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
        super().__init__(quiet=quiet)
        self._console = _open_console() if sys.stderr.isatty() else None
        self._style = "none" if quiet else _resolve_style(style, self._console)
        self._verbose = verbose
        self._stop = stop
        self._clock = clock
        self._next_line = clock() + LINE_SECONDS
        self._next_redraw = 0.0
        self._view = ProgressView("Starting")
        self._started_at = clock()
        self._run_dir: str | None = None
        self._org: str | None = None
        self._has_progress = False
        self._live: Live | None = None
        self._live_context = ExitStack()
        self.can_ask = can_ask()

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

    def on_start(self, run_dir: str) -> None:
        """Show the run folder from now on."""
        self._run_dir = run_dir

    def on_org(self, org_name: str | None, org_type: str | None) -> None:
        """Show the org from now on."""
        kind = f"({org_type})" if org_type else None
        self._org = " ".join(filter(None, (org_name, kind))) or None

    def on_phase(self, text: str) -> None:
        """Show the new phase."""
        if self._has_progress:
            self._update_view(replace(self._view, phase=text))
        else:
            self._update_view(ProgressView(text))
        if self._style == "lines" and self._verbose:
            note(f"{text} …")

    def on_planning(self, stage: PlanningStage) -> None:
        """Show the stage of planning."""
        self._update_view(ProgressView(stage.name, fraction=stage.share, total_bytes=stage.size))

    def on_wait(self, until: float | None) -> None:
        """Show until when the run waits for credits."""
        if until is None:
            self._update_view(replace(self._view, waiting_until=None))
            return
        local_until = format_local_moment(until)
        self._update_view(replace(self._view, waiting_until=local_until))
        if self._style != "bar" and not self._quiet:
            note(
                f"Waiting for credits until {local_until}. Ctrl-C stops; `bulklink resume`"
                " continues later."
            )

    def on_outage(self, outage: Outage | None) -> None:
        """Show that no call is answered, and until when the command waits."""
        if outage is None:
            self._update_view(replace(self._view, outage=None))
            text = "The CRM is answering again."
        else:
            text = (
                f"No answer ({outage.reason}): waiting until {format_local_moment(outage.until)}."
            )
            self._update_view(replace(self._view, outage=text.rstrip(".")))
            text += " Press Ctrl-C to stop; the rest can be resumed."
        if self._style != "bar" and not self._quiet:
            note(text)

    def on_progress(self, progress: RunProgress) -> None:
        """Show the progress of the run."""
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

    def on_load(self, progress: LoadProgress) -> None:
        """Show the progress of a load test."""
        self._update_view(
            replace(
                self._view,
                phase="Warming up" if progress.phase == WARM_UP else "Measuring",
                fraction=progress.seconds / progress.total if progress.total else None,
                metrics=progress.metrics,
                failed=sum(progress.errors.values()),
                codes=progress.errors,
                figures=load_figures(progress),
            )
        )

    def on_cost(
        self, description: str, *, credits_at_least: int, credit_range: CreditRange | None = None
    ) -> None:
        """Show what will be read and the credits it may take."""
        if self._quiet:
            return
        if credit_range is None or credit_range.most == credits_at_least:
            note(f"{description}: at least {count_of(credits_at_least, 'credit')}, one a call.")
        else:
            note(
                f"{description}: {count_of(credit_range.likely, 'credit')} likely,"
                f" {credit_range.least:,} to {credit_range.most:,}; one a call."
            )

    def on_query(self, text: str) -> None:
        """Show the whole query that a condition is part of."""
        if not self._quiet:
            note(f"Query: {text}")

    def on_read(self, progress: ReadProgress) -> None:
        """Show the progress of reading."""
        metrics = progress.metrics if progress.metrics.max_in_flight else None
        done, total = progress.done, progress.total
        self._update_view(
            replace(self._view, unit=progress.unit, done=done, total=total, metrics=metrics)
        )

    def on_failure(self, result: Result) -> None:
        """Show a message that failed or is in doubt."""
        if self._verbose:
            note(
                f"row {result.row}: {result.status} {result.code}: contact {result.contact_id},"
                f" message {result.message_id}: {result.message}"
            )

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        """Ask whether to continue after a failed canary."""
        warn(summary)
        return self._ask(f"Send the other {count_of(remaining, 'email')} anyway?")

    def confirm(self, request: ConfirmationRequest) -> bool:
        """Ask before an org is changed."""
        org = request.org_name or "an org with an unknown name"
        kind = request.org_type or "unknown type"
        emails = count_of(request.messages, "email")
        return self._ask(f"{request.op}: change {emails} of {org} ({kind})?")

    def on_probe(self, request: ProbeConfirmation) -> None:
        """Show the emails of a probe and its price."""
        if not self._quiet:
            _show_probe(request)

    def confirm_probe(self, request: ProbeConfirmation) -> bool:
        """Ask before the first change of a probe."""
        if self._quiet:
            _show_probe(request)  # the question is about these emails
        org = request.org_name or "an org with an unknown name"
        return self._ask(f"Probe {org} ({request.org_type or 'unknown type'}) with these emails?")

    def confirm_experiment(self, title: str, sends: str) -> bool:
        """Ask before an experiment of a probe."""
        return self._ask(f"{title}: {sends} Send it?")

    def confirm_cost(self, description: str, credit_range: CreditRange) -> bool:
        """Ask before many credits are spent on reading."""
        price = count_of(credit_range.likely, "credit")
        return self._ask(f"Read {description} for about {price}?")

    def _ask(self, question: str) -> bool:
        self._stop_live()
        try:
            return confirm(question)
        except click.Abort:
            self._stop.interrupt()
            return False
        finally:
            self._start_live()

    def _start_live(self) -> None:
        """Start drawing; notes appear above the view."""
        if self._style != "bar":
            return
        from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

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
        """Print a text above the view, without wrapping its lines."""
        from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

        if self._console is not None:
            self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _update_view(self, view: ProgressView) -> None:
        previous, self._view = self._view, self._with_context(view)
        if self._live is not None:
            if _is_new_work(view, previous) or self._clock() >= self._next_redraw:
                self._next_redraw = self._clock() + REDRAW_SECONDS
                with suppress(OSError):  # the terminal is gone: the command continues
                    self._live.update(_RenderedView(self._view), refresh=True)
        elif self._style == "lines" and self._clock() >= self._next_line:
            self._next_line = self._clock() + LINE_SECONDS
            if view.waiting_until is None:  # already noted, and may last for hours
                note(render_one_line(view))

    def _with_context(self, view: ProgressView) -> ProgressView:
        return replace(
            view,
            run_dir=self._run_dir,
            org=self._org,
            elapsed=self._clock() - self._started_at,
            is_stopping=self._stop.reason is not None,
        )


def _show_probe(request: ProbeConfirmation) -> None:
    note(
        f"A probe takes at most {count_of(request.credits, 'credit')}. It links and unlinks"
        f" {count_of(len(request.emails), 'email')}, and puts them back at the end. What it cannot"
        " put back is when their deals were modified, if links change that."
    )
    for email in request.emails:
        deal = f"on {email.deal_name}" if email.deal_name else "on no deal"
        note(f"  {email.subject or '(no subject)'} ({deal})")
        note(f"    contact {email.contact_id}, email {email.message_id}")


def _open_console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    return Console(stderr=True, force_terminal=True, highlight=False)


def _resolve_style(style: str, console: Console | None) -> str:
    """Return the style, with lines instead of a bar that cannot be drawn.

    Args:
        style: auto, bar, lines or none.
        console: the terminal; None if there is none.
    """
    if style in ("auto", "bar"):
        can_draw = (
            console is not None
            and console.encoding.startswith("utf")
            and not console.is_dumb_terminal
        )
        return "bar" if can_draw else "lines"
    return style


def _is_new_work(view: ProgressView, previous: ProgressView) -> bool:
    """Return whether a view shows different work from the previous one."""
    return _work_of(view) != _work_of(previous)


def _work_of(view: ProgressView) -> tuple[object, ...]:
    return view.phase, view.waiting_until, view.outage, view.done is None


class WatchedOperation(Protocol[T_co]):
    """An operation that takes only callbacks and a stop controller."""

    def __call__(self, *, callbacks: RunCallbacks, stop: StopController) -> Awaitable[T_co]:
        """Run the operation."""


def in_thread(function: Callable[..., T]) -> WatchedOperation[T]:
    """Return an operation that runs a blocking function in a thread."""

    async def run(*, callbacks: RunCallbacks, stop: StopController) -> T:
        return await anyio.to_thread.run_sync(partial(function, callbacks=callbacks, stop=stop))

    return run


def run_with_progress(
    operation: WatchedOperation[T], options: Mapping[str, Any]
) -> tuple[T, RunStoppedError | None]:
    """Run an operation with the progress display that the options ask for.

    Returns:
        The result, and why the operation stopped early; None if it did not.

    Raises:
        InterruptedPlanningError: if a signal stopped it before there was a run.
        RunStoppedError: if a second signal stopped it immediately.
    """
    return run_in_loop(_run, operation, options)


async def _run(
    operation: WatchedOperation[T], options: Mapping[str, Any]
) -> tuple[T, RunStoppedError | None]:
    stop = StopController()

    async def run_displayed() -> T:
        with ProgressDisplay(
            options["progress"],
            verbose=options.get("verbose", False),
            quiet=options["quiet"],
            stop=stop,
        ) as display:
            return await operation(callbacks=display, stop=stop)

    return await run_with_signals(run_displayed, stop), stop.reason
