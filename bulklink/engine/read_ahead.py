"""Read-ahead of a blocking iterator, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from bulklink.blocking import ThreadRunner
from bulklink.errors import InterruptedPlanningError, StoppedError

T = TypeVar("T")
_READ_AHEAD = 2048


def _one(item: object) -> int:
    del item
    return 1


class ReadAhead(Generic[T]):
    """Reads a blocking iterator in threads, many items at a time.

    An error of the iterator is raised after the items that precede it.

    Memory: items with a total size of `max_size`, and one more.

    Args:
        items: yields the items; one thread at a time advances it.
        run_blocking: runs blocking functions in threads.
        size_of: returns the size of an item.
        max_size: approximate total size of the items read at a time.
    """

    def __init__(
        self,
        items: Iterator[T],
        run_blocking: ThreadRunner,
        *,
        size_of: Callable[[T], int] = _one,
        max_size: int = _READ_AHEAD,
    ) -> None:
        self._items = items
        self._run_blocking = run_blocking
        self._size_of = size_of
        self._max_size = max_size
        self._ready: deque[T] = deque()
        self._error: Exception | None = None
        self._ended = False

    async def next(self) -> T | None:
        """Return the next item; None at the end.

        Raises:
            StoppedError: once a stop has interrupted the reading.
        """
        if not self._ready and not self._ended:
            if self._error is not None:
                raise self._error
            self._ready.extend(await self._run_blocking(self._read))
            self._ended = not self._ready
        return self._ready.popleft() if self._ready else None

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
