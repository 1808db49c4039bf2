"""Read-ahead in threads: order, bounds, and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from bulklink.engine.read_ahead import ReadAhead
from bulklink.errors import InterruptedPlanningError, LedgerError, StoppedError
from bulklink.task_group import task_group

T = TypeVar("T")


class CountingThreads:
    """Thread runner that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, function: Callable[[], T]) -> T:
        self.calls += 1
        return function()


async def test_items_are_read_in_order_and_in_batches() -> None:
    threads = CountingThreads()
    async with task_group() as group:
        ahead = ReadAhead(iter(range(1, 101)), threads, group, max_size=30)
        assert [await ahead.next() for _ in range(102)] == [*range(1, 101), None, None]
    assert threads.calls == 5  # four with items, and one for the end


async def test_more_is_read_once_half_of_the_items_are_used() -> None:
    threads = CountingThreads()
    async with task_group() as group:
        ahead = ReadAhead(iter(range(100)), threads, group, max_size=30)
        taken = [await ahead.next()]
        while threads.calls == 1:
            taken.append(ahead.next_ready())
            await anyio.lowlevel.checkpoint()
    assert taken == [*range(16)]


async def test_reading_ahead_stops_at_the_maximum_size() -> None:
    read_items: list[list[int]] = []

    def items() -> Iterator[list[int]]:
        for length in (4, 4, 9, 1):
            read_items.append([0] * length)
            yield read_items[-1]

    async with task_group() as group:
        ahead = ReadAhead(items(), CountingThreads(), group, size_of=len, max_size=8)
        assert ahead.next_ready() is None
        await anyio.wait_all_tasks_blocked()
        assert len(read_items) == 2
        await ahead.next()
        await anyio.wait_all_tasks_blocked()
        assert len(read_items) == 2
        await ahead.next()
        await anyio.wait_all_tasks_blocked()
        assert len(read_items) == 3


async def test_an_error_is_raised_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise LedgerError("The plan is out of order.")

    async with task_group() as group:
        ahead = ReadAhead(items(), CountingThreads(), group)
        assert [await ahead.next(), await ahead.next()] == [1, 2]
        with pytest.raises(LedgerError):
            await ahead.next()


async def test_an_interrupted_read_never_looks_like_the_end() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise InterruptedPlanningError("Planning was interrupted.")

    async with task_group() as group:
        ahead = ReadAhead(items(), CountingThreads(), group)
        for _ in range(2):
            with pytest.raises(StoppedError):
                await ahead.next()
