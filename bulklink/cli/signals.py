"""Graceful stop at the first SIGINT, SIGTERM or SIGHUP, immediate stop at another one.

SIGHUP never stops immediately: shell and kernel both send one when a terminal is closed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

from bulklink.cli.console import note
from bulklink.cli.event_loop import run_in_loop
from bulklink.cli.standard_streams import discard_closed_terminals
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, InterruptedPlanningError, RunStoppedError, StoppedBy
from bulklink.task_group import task_group

T = TypeVar("T")
_STOP_REASONS: dict[signal.Signals, StoppedBy] = {
    signal.SIGINT: StoppedBy.INTERRUPTED,
    signal.SIGTERM: StoppedBy.TERMINATED,
}
if sys.platform == "win32":  # what a worker sends to its children
    _STOP_REASONS[signal.SIGBREAK] = StoppedBy.TERMINATED
_HANGUP = getattr(signal, "SIGHUP", None)
"""The terminal is closed; None on Windows, which has no such signal."""
_EXIT_CODES = {
    StoppedBy.INTERRUPTED: ExitCode.INTERRUPTED,
    StoppedBy.TERMINATED: ExitCode.TERMINATED,
}
_SignalHandler = Callable[[signal.Signals], None]


def run_cancellable(function: Callable[..., Awaitable[T]], *args: object) -> T:
    """Run a coroutine function; Ctrl-C cancels it, then raises KeyboardInterrupt.

    For commands with nothing to finish. A handler that raises immediately could raise inside a
    task of a library, where nobody catches the error.
    """
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop then takes its place
    try:
        return run_in_loop(function, *args)
    finally:
        signal.signal(signal.SIGINT, handler)


async def run_with_signals(work: Callable[[], Awaitable[T]], stop: StopController) -> T:
    """Run work that the first signal stops gracefully, the second immediately.

    Args:
        work: the work to run.
        stop: stops the work gracefully.

    Raises:
        InterruptedPlanningError: if it was stopped before there was a run.
        RunStoppedError: if it was stopped immediately.
    """
    received_signals: list[signal.Signals] = []
    scope = anyio.CancelScope()

    def on_signal(number: signal.Signals) -> None:
        if number == _HANGUP and received_signals:
            return
        received_signals.append(number)
        if len(received_signals) > 1:
            scope.cancel()
            return
        stop.interrupt(_STOP_REASONS.get(number, StoppedBy.TERMINATED))
        note(
            "Stopping: calls in flight are being finished and recorded. Press again to stop"
            " immediately."
        )

    async with task_group() as group:
        await group.start(_receive_signals, on_signal, received_signals)
        try:
            with scope:
                return await work()
        except InterruptedPlanningError as error:
            error.exit_code = _exit_code(stop)
            raise
        finally:
            group.cancel_scope.cancel()
            if _HANGUP in received_signals:
                discard_closed_terminals()
    raise _immediate_stop_error(stop)


def _immediate_stop_error(stop: StopController) -> RunStoppedError:
    error = RunStoppedError(
        StoppedBy.INTERRUPTED,
        "Stopped immediately: calls in flight are not settled.",
        advice="`bulklink status` shows the state of the run.",
    )
    error.exit_code = _exit_code(stop)
    return error


def _exit_code(stop: StopController) -> ExitCode:
    stopped_by = stop.reason.stopped_by if stop.reason else StoppedBy.INTERRUPTED
    return _EXIT_CODES.get(stopped_by, ExitCode.INTERRUPTED)


async def _receive_signals(
    on_signal: _SignalHandler,
    received_signals: Sequence[signal.Signals],
    *,
    task_status: TaskStatus[None],
) -> None:
    with _previous_handlers_restored(received_signals):
        if sys.platform == "win32":
            _handle_signals_on_windows(on_signal)
            task_status.started()
            await anyio.sleep_forever()
        else:
            with anyio.open_signal_receiver(*_handled_signals()) as signals:
                task_status.started()
                async for number in signals:
                    on_signal(number)


def _handled_signals() -> list[signal.Signals]:
    """Return the signals that stop the work, without a SIGHUP that `nohup` ignores."""
    hangup = [] if _HANGUP is None or signal.getsignal(_HANGUP) is signal.SIG_IGN else [_HANGUP]
    return [*_STOP_REASONS, *hangup]


def _handle_signals_on_windows(on_signal: _SignalHandler) -> None:
    """Handle signals on Windows, where the event loop has no signal handlers."""
    loop = asyncio.get_running_loop()
    for number in _STOP_REASONS:
        signal.signal(number, lambda n, _: loop.call_soon_threadsafe(on_signal, signal.Signals(n)))


@contextmanager
def _previous_handlers_restored(received_signals: Sequence[signal.Signals]) -> Iterator[None]:
    """Restore signal handlers after the block; after an immediate stop, ignore further signals.

    The process is about to end with its exit code then, and an impatient Ctrl-C must not change it.
    """
    previous_handlers = {number: signal.getsignal(number) for number in _handled_signals()}
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, signal.SIG_IGN if len(received_signals) > 1 else handler)
