"""Bounded pool of workers, each of which processes one item after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from anyio.abc import TaskGroup

from bulklink.engine.shutdown import StopController
from bulklink.errors import StoppedError
from bulklink.task_group import task_group

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
MAX_LENT_PLACES = 100
"""Maximum places lent at once: an item whose worker lends its place stays in memory, and while a
server does not answer, each contact that starts is left in doubt."""


class ItemSource(Protocol[T_co]):
    """Items to process, in order."""

    def next_ready(self) -> T_co | None:
        """Return the next item if it can be had without waiting."""
        ...

    async def next(self) -> T_co | None:
        """Return the next item; None at the end.

        Raises:
            StoppedError: if a stop has interrupted the reading.
        """
        ...


class ItemsInMemory(Generic[T]):
    """Source of items that are in memory."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)

    def next_ready(self) -> T | None:
        """Return the next item; None at the end."""
        return next(self._items, None)

    async def next(self) -> T | None:
        """Return the next item; None at the end."""
        return self.next_ready()


@dataclass(slots=True)
class WorkerPool(Generic[T]):
    """Workers that take items from a source until it ends or the run stops.

    Memory: one item for each worker.

    Args:
        source: the items.
        process: processes one item.
        stop: stops the run.
        workers: items in progress at once, without those whose workers have lent their places.
        needs_more: returns whether more workers would have something to do, because items only
            wait; there are twice as many at most.
    """

    source: ItemSource[T]
    process: Callable[[T], Awaitable[None]]
    stop: StopController
    workers: int
    needs_more: Callable[[], bool] = lambda: False
    _running: int = field(default=0, init=False)
    _lent: int = field(default=0, init=False)
    _group: TaskGroup | None = field(default=None, init=False)

    async def run(self) -> None:
        """Process all items."""
        async with task_group() as self._group:
            self._start_worker()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the place of a worker to another one, unless too many are lent.

        The worker continues immediately, even if all places are taken: a half-done relink must not
        wait for others. Another worker ends instead, once its item is done.
        """
        if self._lent >= MAX_LENT_PLACES:
            yield
            return
        self._lent += 1
        self._start_worker()
        try:
            yield
        finally:
            self._lent -= 1

    def _start_worker(self) -> None:
        """Start a worker if a place is free."""
        if self._group is not None and self._has_place(self._running + 1):
            self._running += 1
            self._group.start_soon(self._work)

    def _has_place(self, running: int) -> bool:
        """Return whether as many workers may run, those that lent their places included."""
        places = running - self._lent
        return places <= self.workers or (places <= 2 * self.workers and self.needs_more())

    async def _work(self) -> None:
        while self._has_place(self._running) and self.stop.reason is None:
            item = self.source.next_ready()
            if item is None:
                item = await self._next()
                if item is None or self.stop.reason is not None:
                    break
            self._start_worker()  # there may be another item
            await self.process(item)
        self._running -= 1

    async def _next(self) -> T | None:
        """Return the next item; None if the run stopped while it was read."""
        try:
            return await self.source.next()
        except StoppedError:
            return None
