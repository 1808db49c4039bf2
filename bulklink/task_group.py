"""Task group that raises a single error instead of an exception group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import anyio
from anyio.abc import TaskGroup

from bulklink.errors import BulklinkError, LedgerError, RefusedError, StoppedError


def task_group() -> AbstractAsyncContextManager[TaskGroup]:
    """Return a task group that raises only the most important error.

    anyio wraps errors from a task group in an `ExceptionGroup`, which an `except` clause for the
    error itself does not catch. If several tasks fail at once, the error is chosen by rank: an
    interrupt or exit (Ctrl-C), a broken ledger, a bug in bulklink, a refusal, a stop, and last an
    error that only unwinds a task.

    anyio's own task group is used nowhere else.
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
    """Yield the exceptions of a group and its nested groups."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _rank(error: BaseException) -> int:
    """Return the rank of an error; 0 is the most important."""
    if not isinstance(error, Exception):
        return 0
    if isinstance(error, LedgerError):
        return 1
    if isinstance(error, StoppedError):
        return 5
    if not isinstance(error, BulklinkError):
        return 2  # a bug in bulklink, which must not be hidden by a stop that it causes
    return 3 if isinstance(error, RefusedError) else 4
