"""Running work so that cancellation and failing callbacks shut it down cleanly."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

import anyio
import anyio.from_thread

from bulklink.advice import Advice
from bulklink.blocking import ThreadRunner
from bulklink.engine.shutdown import StopController
from bulklink.errors import (
    BulklinkError,
    InterruptedPlanningError,
    NotConfirmedError,
    RunStoppedError,
    StoppedBy,
)
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.task_group import task_group

T = TypeVar("T")
PlanningWork = Callable[[PlanningStop, Callable[[str | Advice], None]], T]
"""Planning in a thread: called with its stop and with a function that reports a warning."""
SAMPLE_SECONDS = 0.5
"""Interval between two samples."""
_CALLBACK_NAMES = [
    name for name, member in vars(RunCallbacks).items() if callable(member) and name[0] != "_"
]


async def run_guarded(
    work: Callable[[RunCallbacks, StopController], Awaitable[T]],
    callbacks: RunCallbacks | None,
    stop: StopController | None,
) -> T:
    """Run work in a child task with guarded callbacks.

    A callback that raises stops the work as `StopController.interrupt` does; its error is raised
    when the work has ended. If the task is cancelled, the work stops immediately, but waits for its
    threads and records the known results.

    Args:
        work: called with callbacks that never raise, and with the stop controller.
        callbacks: the program's callbacks; None reports nothing.
        stop: the program's stop controller; None if nothing stops it.

    Returns:
        The result of the work.

    Raises:
        Exception: the first exception of a callback.
    """
    stop = stop or StopController()
    guarded_callbacks = GuardedCallbacks(callbacks or RunCallbacks(), stop)
    try:
        result = await _run_in_child_task(partial(work, guarded_callbacks, stop), stop)
    except (InterruptedPlanningError, NotConfirmedError):
        if guarded_callbacks.error is not None:
            raise guarded_callbacks.error from None  # the only reason why it ended
        raise
    except BulklinkError as error:
        raise error from guarded_callbacks.error
    if guarded_callbacks.error is not None:
        raise guarded_callbacks.error
    return result


async def _run_in_child_task(work: Callable[[], Awaitable[T]], stop: StopController) -> T:
    """Run work in a child task, so that a cancellation waits for its threads.

    The task group of a cancelled child waits for threads; a task that is cancelled directly would
    leave them at work in a folder that is being removed.
    """
    ended = anyio.Event()
    result: T
    error: BaseException | None = None

    async def run() -> None:
        nonlocal result, error
        try:
            result = await work()
        except BaseException as raised:
            error = raised
            if isinstance(raised, anyio.get_cancelled_exc_class()):
                raise
        finally:
            ended.set()

    async with task_group() as group:
        group.start_soon(run)
        try:
            await ended.wait()
        except anyio.get_cancelled_exc_class():
            stop.interrupt()  # ends threads too
            raise
    if error is not None:
        raise error
    return result


class GuardedCallbacks(RunCallbacks):
    """Wraps callbacks: the first one that raises stops the run and silences the others.

    Callbacks are looked up at construction, on the class or on the object.

    Args:
        callbacks: the program's callbacks.
        stop: stops the run.

    Attributes:
        error: the exception that a callback raised; None if none did.
    """

    def __init__(self, callbacks: RunCallbacks, stop: StopController) -> None:
        self.can_ask = callbacks.can_ask
        self.error: Exception | None = None
        self._stop = stop
        for name in _CALLBACK_NAMES:
            setattr(self, name, partial(self._call, name, getattr(callbacks, name)))

    def _call(self, name: str, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.error is not None:
            return False
        try:
            return callback(*args, **kwargs)
        except Exception as error:
            self.error = error
            message = f"The callback `{name}` raised {error!r}."
            advice = "Fix the callback, then resume the run."
            self._stop.request(RunStoppedError(StoppedBy.INTERRUPTED, message, advice=advice))
            return False


class PeriodicSampling(AbstractAsyncContextManager[None]):
    """Calls `sample` every half second while the block runs.

    Args:
        sample: function to call; its error ends the block.
    """

    def __init__(self, sample: Callable[[], Awaitable[object]]) -> None:
        self._sample = sample
        self._group = task_group()

    async def __aenter__(self) -> None:
        group = await self._group.__aenter__()
        self._scope = group.cancel_scope
        group.start_soon(self._sample_forever)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._scope.cancel()
        return await self._group.__aexit__(kind, error, trace)

    async def _sample_forever(self) -> None:
        while True:
            await self._sample()
            await anyio.sleep(SAMPLE_SECONDS)


def make_planning_stop(stop: StopController | None) -> PlanningStop:
    """Return a PlanningStop that is triggered when the run stops; None never stops."""
    planning_stop = PlanningStop()
    if stop is not None:
        stop.on_stop(
            planning_stop.interrupt
        )  # before the check: another thread may stop it at any time
        if stop.reason is not None:
            planning_stop.interrupt()
    return planning_stop


async def run_planning(
    work: PlanningWork[T],
    callbacks: RunCallbacks,
    stop: StopController,
    run_blocking: ThreadRunner,
) -> T:
    """Run planning in a thread; report its stages and warnings on the event loop.

    DuckDB does not handle signals, and the event loop must.

    Args:
        work: the planning.
        callbacks: `on_planning` is called every half second, `on_warning` with each warning.
        stop: ends it.
        run_blocking: runs blocking functions in threads.

    Raises:
        InterruptedPlanningError: if `stop` ended it.
    """
    planning_stop = make_planning_stop(stop)
    loop_thread = threading.get_ident()

    def warn(text: str | Advice) -> None:
        """Report a warning before planning continues: its callback may stop it."""
        if threading.get_ident() == loop_thread:
            callbacks.warn(text)
        else:
            anyio.from_thread.run_sync(callbacks.warn, text)

    async def report_stage() -> None:
        _report_stage(planning_stop, callbacks)

    async with PeriodicSampling(report_stage):
        return await run_blocking(partial(work, planning_stop, warn))


def run_blocking_planning(
    work: PlanningWork[T], callbacks: RunCallbacks | None, stop: StopController | None
) -> T:
    """Run planning in a thread and wait; report its stages and warnings from the calling thread.

    An exception in the calling thread, from a callback or a KeyboardInterrupt, ends the planning
    before it propagates.

    Args:
        work: the planning.
        callbacks: `on_planning` is called every half second, `on_warning` with each warning.
        stop: ends it; any thread may interrupt it.

    Raises:
        InterruptedPlanningError: if `stop` ended it.
    """
    callbacks = callbacks or RunCallbacks()
    planning_stop = make_planning_stop(stop)
    warnings: SimpleQueue[str | Advice] = SimpleQueue()
    with ThreadPoolExecutor(max_workers=1) as executor:
        future = executor.submit(work, planning_stop, warnings.put)
        try:
            while wait([future], SAMPLE_SECONDS).not_done:
                _report_stage(planning_stop, callbacks)
                _report_warnings(warnings, callbacks)
            _report_warnings(warnings, callbacks)
        except BaseException:
            planning_stop.interrupt()
            raise
        return future.result()


def _report_stage(planning_stop: PlanningStop, callbacks: RunCallbacks) -> None:
    if (stage := planning_stop.stage) is not None:
        callbacks.on_planning(stage)


def _report_warnings(warnings: SimpleQueue[str | Advice], callbacks: RunCallbacks) -> None:
    while True:
        try:
            text = warnings.get_nowait()
        except Empty:
            return
        callbacks.warn(text)
