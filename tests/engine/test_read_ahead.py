"""Items that threads read for the event loop come in order, bounded, with their errors in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from bulklink.engine.read_ahead import ReadAhead
from bulklink.errors import InterruptedPlanningError, LedgerError, StoppedError

T = TypeVar("T")


class CountingThreads:
    """Threads that count what they are given."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, function: Callable[[], T]) -> T:
        self.calls += 1
        return function()


async def test_items_are_read_in_order_and_in_batches() -> None:
    threads = CountingThreads()
    ahead = ReadAhead(iter(range(1, 101)), threads, max_size=30)
    assert [await ahead.next() for _ in range(102)] == [*range(1, 101), None, None]
    assert threads.calls == 5  # four with items, and one that finds the end


async def test_reading_ahead_stops_at_the_maximum_size() -> None:
    taken: list[list[int]] = []

    def items() -> Iterator[list[int]]:
        for length in (4, 4, 9, 1):
            taken.append([0] * length)
            yield taken[-1]

    ahead = ReadAhead(items(), CountingThreads(), size_of=len, max_size=8)
    await ahead.next()
    assert len(taken) == 2
    await ahead.next()
    await ahead.next()
    assert len(taken) == 3


async def test_an_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise LedgerError("The plan is out of order.")

    ahead = ReadAhead(items(), CountingThreads())
    assert [await ahead.next(), await ahead.next()] == [1, 2]
    with pytest.raises(LedgerError):
        await ahead.next()


async def test_an_interrupted_read_never_looks_like_the_end() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise InterruptedPlanningError("Planning was interrupted.")

    ahead = ReadAhead(items(), CountingThreads())
    for _ in range(2):
        with pytest.raises(StoppedError):
            await ahead.next()
