"""Task group that ends with one error instead of a group of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import anyio
from anyio.abc import TaskGroup

from bulklink.errors import BulklinkError, LedgerError, RefusedError, StoppedError


def task_group() -> AbstractAsyncContextManager[TaskGroup]:
    """Return a task group whose block raises the one error that matters.

    anyio wraps whatever leaves a task group in an `ExceptionGroup`, which no `except` clause for
    the error itself catches. Where several tasks fail at once, the error is chosen by rank: what is
    no error of a program (Ctrl-C), a broken ledger, a mistake in bulklink, a refusal, a stop, and
    last what only unwinds a task.

    anyio's own group is used nowhere else.
    """
    return _SingleErrorGroup()


class _SingleErrorGroup(AbstractAsyncContextManager[TaskGroup]):
    __slots__ = ("_group",)

    async def __aenter__(self) -> TaskGroup:
        self._group = anyio.create_task_group()
        return await self._group.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            return await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            chosen = min(_leaves(group), key=_rank)
        if chosen is error:
            return False
        raise chosen


def _leaves(group: BaseExceptionGroup) -> Iterator[BaseException]:
    """Yield the exceptions of a group and of the groups in it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _rank(error: BaseException) -> int:
    """Return how much an error matters, 0 the most."""
    if not isinstance(error, Exception):
        return 0
    if isinstance(error, LedgerError):
        return 1
    if isinstance(error, StoppedError):
        return 5
    if not isinstance(error, BulklinkError):
        return 2  # a mistake in bulklink, which must not hide behind a stop that it causes
    return 3 if isinstance(error, RefusedError) else 4
