"""Work that ends in good order when it is cancelled or a callback raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import anyio

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

T = TypeVar("T")
_CALLBACK_NAMES = [
    name for name, one in vars(RunCallbacks).items() if callable(one) and name[0] != "_"
]


async def run_guarded(
    work: Callable[[RunCallbacks, StopController], Awaitable[T]],
    callbacks: RunCallbacks | None,
    stop: StopController | None,
) -> T:
    """Do some work for a program.

    A call-back that raises stops the work as `StopController.interrupt` does; its error is raised
    when the work has ended. Where the task is cancelled, the work stops at once, but threads that
    it has at work end first, and what is known is recorded.

    Args:
        work: is given call-backs that never raise, and what tells it to stop.
        callbacks: the program's call-backs; None watches nothing.
        stop: what the program stops it by; None if by nothing.

    Returns:
        What the work returns.

    Raises:
        Exception: the first that a call-back raised.
    """
    stop = stop or StopController()
    guarded_callbacks = GuardedCallbacks(callbacks or RunCallbacks(), stop)
    try:
        result = await _ChildTask(partial(work, guarded_callbacks, stop), stop).wait()
    except (InterruptedPlanningError, NotConfirmedError):
        if guarded_callbacks.error is not None:
            raise guarded_callbacks.error from None  # it ended for nothing else
        raise
    except BulklinkError as error:
        raise error from guarded_callbacks.error
    if guarded_callbacks.error is not None:
        raise guarded_callbacks.error
    return result


def make_planning_stop(
    stop: StopController | None, plan_stop: PlanningStop | None = None
) -> PlanningStop:
    """Return the switch of some planning in a thread that stops when a run does.

    Args:
        stop: of the run; None if nothing else stops it.
        plan_stop: the switch; None makes one.
    """
    plan_stop = plan_stop or PlanningStop()
    if stop is not None:
        stop.on_stop(plan_stop.interrupt)
        if stop.reason is not None:
            plan_stop.interrupt()
    return plan_stop


class GuardedCallbacks(RunCallbacks):
    """Call-backs of a program, until one of them raises: then the run stops, and no more is told.

    Args:
        callbacks: the program's.
        stop: is asked to stop the run.

    Attributes:
        error: what was raised.
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
            message = f"The call-back `{name}` raised {error!r}."
            advice = "Mend the call-back; a resume goes on with the run."
            self._stop.request(RunStoppedError(StoppedBy.INTERRUPTED, message, advice=advice))
            return False


class _ChildTask(Generic[T]):
    """Some work in a task of its own.

    There a cancellation comes by the task group, which waits for threads that are at work; a task
    that is cancelled itself would leave them behind, at work in a folder that is cleaned up.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], stop: StopController) -> None:
        self._work = work
        self._stop = stop
        self._ended = anyio.Event()
        self._results: list[T] = []
        self._error: BaseException | None = None

    async def wait(self) -> T:
        """Do it and return what it returns."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._run)
            try:
                await self._ended.wait()
            except asyncio.CancelledError:
                self._stop.interrupt()  # it ends threads too
                raise
        if self._error is not None:
            raise self._error
        return self._results[0]

    async def _run(self) -> None:
        try:
            self._results.append(await self._work())
        except BaseException as error:
            self._error = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._ended.set()


SAMPLE_SECONDS = 0.5
"""Between two looks."""


@asynccontextmanager
async def sample_periodically(sample: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Have something looked at every half second while the block runs.

    What the block raises is raised as it is, not in a group.
    """
    failure: Exception | None = None

    async def sample_forever() -> None:
        while True:
            await sample()
            await anyio.sleep(SAMPLE_SECONDS)

    async with anyio.create_task_group() as group:
        group.start_soon(sample_forever)
        try:
            yield
        except Exception as error:
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure


def report_planning(
    stop: PlanningStop, callbacks: RunCallbacks
) -> AbstractAsyncContextManager[None]:
    """Tell whoever watches how far a planning in another thread is, while the block waits for it.

    Args:
        stop: that the planning was given.
        callbacks: is told.
    """

    async def report_stage() -> None:
        if (stage := stop.stage) is not None:
            callbacks.on_planning(stage)

    return sample_periodically(report_stage)
