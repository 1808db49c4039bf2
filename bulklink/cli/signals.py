"""Ctrl-C and SIGTERM: the first lets what is in flight end, the second stops at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import anyio

from bulklink.cli.console import note
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, InterruptedPlanningError, RunStoppedError, StoppedBy

T = TypeVar("T")
_STOP_REASONS = {signal.SIGINT: StoppedBy.INTERRUPTED, signal.SIGTERM: StoppedBy.TERMINATED}
_EXIT_CODES = {
    StoppedBy.INTERRUPTED: ExitCode.INTERRUPTED,
    StoppedBy.TERMINATED: ExitCode.TERMINATED,
}


def run_with_signals(work: Callable[[StopController], Awaitable[T]]) -> T:
    """Run some work that signals can stop.

    Args:
        work: is given what tells it to stop.

    Raises:
        InterruptedPlanningError: if it was stopped before there was a run.
        RunStoppedError: if it was stopped at once.
    """
    return anyio.run(_run_with_signals, work)


async def _run_with_signals(work: Callable[[StopController], Awaitable[T]]) -> T:
    stop, scope = StopController(), anyio.CancelScope()
    received_signals: list[signal.Signals] = []
    with _signal_handlers(
        partial(_on_signal, stop, scope, received_signals), received_signals=received_signals
    ):
        with scope:
            try:
                return await work(stop)
            except InterruptedPlanningError as error:
                error.exit_code = _exit_code(stop)
                raise
        stopped_error = RunStoppedError(
            StoppedBy.INTERRUPTED,
            "Stopped at once: what was in flight is not settled.",
            advice="`bulklink status` shows where the run stands.",
        )
        stopped_error.exit_code = _exit_code(stop)
        raise stopped_error


def _on_signal(
    stop: StopController,
    scope: anyio.CancelScope,
    received_signals: list[signal.Signals],
    number: signal.Signals,
) -> None:
    """Stop gently at the first signal, whatever stopped the run before it, and at once after."""
    received_signals.append(number)
    if len(received_signals) > 1:
        scope.cancel()
        return
    note("Stopping: what is in flight is finished and recorded. Once more stops at once.")
    stop.interrupt(_STOP_REASONS[number])


def _exit_code(stop: StopController) -> ExitCode:
    stopped_by = stop.reason.stopped_by if stop.reason else StoppedBy.INTERRUPTED
    return _EXIT_CODES.get(stopped_by, ExitCode.INTERRUPTED)


@contextmanager
def _signal_handlers(
    on_signal: Callable[[signal.Signals], None], *, received_signals: Sequence[signal.Signals]
) -> Iterator[None]:
    """Have signals handled on the event loop; where it cannot (Windows), by way of Python's own.

    After a stop at once further ones are ignored: the process is about to end with its exit code,
    and an impatient Ctrl-C more must not take that from it.
    """
    loop = asyncio.get_running_loop()
    previous_handlers = {number: signal.getsignal(number) for number in _STOP_REASONS}
    for number in _STOP_REASONS:
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:
            signal.signal(
                number, lambda n, _: loop.call_soon_threadsafe(on_signal, signal.Signals(n))
            )
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN if len(received_signals) > 1 else handler)
