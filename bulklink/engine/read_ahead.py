"""Read-ahead of a blocking iterator, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from anyio.abc import TaskGroup

from bulklink.blocking import ThreadRunner
from bulklink.engine.signal import Signal
from bulklink.errors import InterruptedPlanningError, StoppedError

T = TypeVar("T")
_READ_AHEAD = 2048


def _one(item: object) -> int:
    del item
    return 1


class ReadAhead(Generic[T]):
    """Reads a blocking iterator in threads, many items at a time, while earlier ones are used.

    An error of the iterator is raised after the items that precede it.

    Memory: items with a total size of one and a half times `max_size`, and one more.

    Args:
        items: yields the items; one thread at a time advances it.
        run_blocking: runs blocking functions in threads.
        group: runs the tasks that wait for the threads.
        size_of: returns the size of an item.
        max_size: approximate total size of the items read at a time.
    """

    def __init__(
        self,
        items: Iterator[T],
        run_blocking: ThreadRunner,
        group: TaskGroup,
        *,
        size_of: Callable[[T], int] = _one,
        max_size: int = _READ_AHEAD,
    ) -> None:
        self._items = items
        self._run_blocking = run_blocking
        self._group = group
        self._size_of = size_of
        self._max_size = max_size
        self._ready: deque[T] = deque()
        self._read_again_at = 0
        self._reading = False
        self._error: Exception | None = None
        self._ended = False
        self._changed = Signal()

    def next_ready(self) -> T | None:
        """Return the next item if it has been read; read more once half of them are used."""
        ready = self._ready
        if len(ready) <= self._read_again_at and not self._reading and not self._ended:
            self._reading = True
            self._group.start_soon(self._read_more)
        return ready.popleft() if ready else None

    async def next(self) -> T | None:
        """Return the next item; None at the end.

        Raises:
            StoppedError: once a stop has interrupted the reading.
        """
        while (item := self.next_ready()) is None:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            await self._changed.wait()
        return item

    async def _read_more(self) -> None:
        try:
            items = await self._run_blocking(self._read)
            self._ready.extend(items)
            self._read_again_at = len(items) // 2
            self._ended = self._ended or not items
        except Exception as error:
            self._error = error
        self._ended = self._ended or self._error is not None
        self._reading = False
        self._changed.notify()

    def _read(self) -> list[T]:
        items: list[T] = []
        size = 0
        try:
            for item in self._items:
                items.append(item)
                size += self._size_of(item)
                if size >= self._max_size:
                    break
        except InterruptedPlanningError:
            self._error = StoppedError()
            raise self._error from None
        except Exception as error:
            if not items:
                raise
            self._error = error
        return items
