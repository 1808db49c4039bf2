"""Work that ends in good order when it is cancelled or a callback raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import anyio

from bulklink.engine.shutdown import Stopping
from bulklink.errors import (
    BulklinkError,
    InterruptedPlanningError,
    NotConfirmedError,
    RunStoppedError,
    StoppedBy,
)
from bulklink.mapping.interrupt import Stop
from bulklink.operations.callbacks import Watch

T = TypeVar("T")
_CALL_BACKS = [name for name, one in vars(Watch).items() if callable(one) and name[0] != "_"]


async def guarded(
    work: Callable[[Watch, Stopping], Awaitable[T]], watch: Watch | None, stopping: Stopping | None
) -> T:
    """Do some work for a program.

    A call-back that raises stops the work as `Stopping.interrupt` does; its error is raised when
    the work has ended. Where the task is cancelled, the work stops at once, but threads that it has
    at work end first, and what is known is recorded.

    Args:
        work: is given call-backs that never raise, and what tells it to stop.
        watch: the program's call-backs; None watches nothing.
        stopping: what the program stops it by; None if by nothing.

    Returns:
        What the work returns.

    Raises:
        Exception: the first that a call-back raised.
    """
    stopping = stopping or Stopping()
    call_backs = CallBacks(watch or Watch(), stopping)
    try:
        found = await _Task(partial(work, call_backs, stopping), stopping).done()
    except (InterruptedPlanningError, NotConfirmedError):
        if call_backs.error is not None:
            raise call_backs.error from None  # it ended for nothing else
        raise
    except BulklinkError as error:
        raise error from call_backs.error
    if call_backs.error is not None:
        raise call_backs.error
    return found


def planning_stop(stopping: Stopping | None, stop: Stop | None = None) -> Stop:
    """Return the switch of some planning in a thread that stops when a run does.

    Args:
        stopping: of the run; None if nothing else stops it.
        stop: the switch; None makes one.
    """
    stop = stop or Stop()
    if stopping is not None:
        stopping.on_stop(stop.interrupt)
        if stopping.reason is not None:
            stop.interrupt()
    return stop


class CallBacks(Watch):
    """Call-backs of a program, until one of them raises: then the run stops, and no more is told.

    Args:
        watch: the program's.
        stopping: is told to stop.

    Attributes:
        error: what was raised.
    """

    def __init__(self, watch: Watch, stopping: Stopping) -> None:
        self.can_ask = watch.can_ask
        self.error: Exception | None = None
        self._stopping = stopping
        for name in _CALL_BACKS:
            setattr(self, name, partial(self._call, name, getattr(watch, name)))

    def _call(self, name: str, call_back: Callable[..., Any], *told: Any, **named: Any) -> Any:
        if self.error is not None:
            return False
        try:
            return call_back(*told, **named)
        except Exception as error:
            self.error = error
            what = f"The call-back `{name}` raised {error!r}."
            advice = "Mend the call-back; a resume goes on with the run."
            self._stopping.stop(RunStoppedError(StoppedBy.INTERRUPTED, what, advice=advice))
            return False


class _Task(Generic[T]):
    """Some work in a task of its own.

    There a cancellation comes by the task group, which waits for threads that are at work; a task
    that is cancelled itself would leave them behind, at work in a folder that is cleaned up.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], stopping: Stopping) -> None:
        self._work = work
        self._stopping = stopping
        self._ended = anyio.Event()
        self._found: list[T] = []
        self._error: BaseException | None = None

    async def done(self) -> T:
        """Do it and return what it returns."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._do)
            try:
                await self._ended.wait()
            except asyncio.CancelledError:
                self._stopping.interrupt()  # it ends threads too
                raise
        if self._error is not None:
            raise self._error
        return self._found[0]

    async def _do(self) -> None:
        try:
            self._found.append(await self._work())
        except BaseException as error:
            self._error = error
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._ended.set()


LOOK_SECONDS = 0.5
"""Between two looks."""


@asynccontextmanager
async def looking(look: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Have something looked at every half second while the block runs.

    What the block raises is raised as it is, not in a group.
    """
    raised: Exception | None = None

    async def look_on() -> None:
        while True:
            await look()
            await anyio.sleep(LOOK_SECONDS)

    async with anyio.create_task_group() as group:
        group.start_soon(look_on)
        try:
            yield
        except Exception as error:
            raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise raised


def planning_told(stop: Stop, watch: Watch) -> AbstractAsyncContextManager[None]:
    """Tell whoever watches how far a planning in another thread is, while the block waits for it.

    Args:
        stop: that the planning was given.
        watch: is told.
    """

    async def look() -> None:
        if (stage := stop.stage) is not None:
            watch.planning(stage)

    return looking(look)
