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
from bulklink.engine.shutdown import Stopping
from bulklink.errors import ExitCode, InterruptedPlanningError, RunStoppedError, StoppedBy

T = TypeVar("T")
_STOPS = {signal.SIGINT: StoppedBy.INTERRUPTED, signal.SIGTERM: StoppedBy.TERMINATED}
_CODES = {
    StoppedBy.INTERRUPTED: ExitCode.INTERRUPTED,
    StoppedBy.TERMINATED: ExitCode.TERMINATED,
}


def with_signals(work: Callable[[Stopping], Awaitable[T]]) -> T:
    """Run some work that signals can stop.

    Args:
        work: is given what tells it to stop.

    Raises:
        InterruptedPlanningError: if it was stopped before there was a run.
        RunStoppedError: if it was stopped at once.
    """
    return anyio.run(_with_signals, work)


async def _with_signals(work: Callable[[Stopping], Awaitable[T]]) -> T:
    stopping, scope = Stopping(), anyio.CancelScope()
    pressed: list[signal.Signals] = []
    with _handled(partial(_on_signal, stopping, scope, pressed), ended_by=pressed):
        with scope:
            try:
                return await work(stopping)
            except InterruptedPlanningError as error:
                error.exit_code = _exit_code(stopping)
                raise
        ended = RunStoppedError(
            StoppedBy.INTERRUPTED,
            "Stopped at once: what was in flight is not settled.",
            advice="`bulklink status` shows where the run stands.",
        )
        ended.exit_code = _exit_code(stopping)
        raise ended


def _on_signal(
    stopping: Stopping,
    scope: anyio.CancelScope,
    pressed: list[signal.Signals],
    number: signal.Signals,
) -> None:
    """Stop gently at the first signal, whatever stopped the run before it, and at once after."""
    pressed.append(number)
    if len(pressed) > 1:
        scope.cancel()
        return
    note("Stopping: what is in flight is finished and recorded. Once more stops at once.")
    stopping.interrupt(_STOPS[number])


def _exit_code(stopping: Stopping) -> ExitCode:
    by = stopping.reason.by if stopping.reason else StoppedBy.INTERRUPTED
    return _CODES.get(by, ExitCode.INTERRUPTED)


@contextmanager
def _handled(
    on_signal: Callable[[signal.Signals], None], *, ended_by: Sequence[signal.Signals]
) -> Iterator[None]:
    """Have signals handled on the event loop; where it cannot (Windows), by way of Python's own.

    After a stop at once further ones are ignored: the process is about to end with its exit code,
    and an impatient Ctrl-C more must not take that from it.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _STOPS}
    for number in _STOPS:
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:
            signal.signal(
                number, lambda n, _: loop.call_soon_threadsafe(on_signal, signal.Signals(n))
            )
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN if len(ended_by) > 1 else handler)
