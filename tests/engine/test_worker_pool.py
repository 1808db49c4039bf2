"""Pool of workers: limited, with places that waiting workers lend."""

from __future__ import annotations

from contextlib import ExitStack

import anyio
import anyio.lowlevel

from bulklink.engine.shutdown import StopController
from bulklink.engine.worker_pool import MAX_LENT_PLACES, ItemsInMemory, WorkerPool
from bulklink.errors import StoppedError


class Held:
    """Items that are held in progress until each is released."""

    def __init__(self, items: int, workers: int) -> None:
        self.stop = StopController()
        self.started: list[int] = []
        self.lending: set[int] = set()
        self._released = [anyio.Event() for _ in range(items)]
        self._returned = [anyio.Event() for _ in range(items)]
        self.pool = WorkerPool(ItemsInMemory(range(items)), self._process, self.stop, workers)

    async def _process(self, item: int) -> None:
        self.started.append(item)
        with ExitStack() as stack:
            if item in self.lending:
                stack.enter_context(self.pool.lent())
                await self._returned[item].wait()
        await self._released[item].wait()

    async def release(self, item: int) -> None:
        self._released[item].set()
        await anyio.wait_all_tasks_blocked()

    async def return_place(self, item: int) -> None:
        self._returned[item].set()
        await anyio.wait_all_tasks_blocked()


async def test_as_many_items_as_workers_are_in_progress_in_order() -> None:
    held = Held(items=5, workers=3)
    async with anyio.create_task_group() as group:
        group.start_soon(held.pool.run)
        await anyio.wait_all_tasks_blocked()
        assert held.started == [0, 1, 2]
        await held.release(1)
        assert held.started == [0, 1, 2, 3]
        for item in (0, 2, 3, 4):
            await held.release(item)
    assert held.started == [0, 1, 2, 3, 4]


async def test_a_lent_place_is_taken_and_given_up_when_its_owner_returns() -> None:
    held = Held(items=5, workers=1)
    held.lending = {0}
    async with anyio.create_task_group() as group:
        group.start_soon(held.pool.run)
        await anyio.wait_all_tasks_blocked()
        assert held.started == [0, 1]
        await held.return_place(0)
        await held.release(1)
        assert held.started == [0, 1], "the owner has its place again"
        for item, started in ((0, 3), (2, 4), (3, 5), (4, 5)):
            await held.release(item)
            assert len(held.started) == started, "one after the other"


async def test_the_number_of_lent_places_is_limited() -> None:
    held = Held(items=2 * MAX_LENT_PLACES, workers=1)
    held.lending = set(range(2 * MAX_LENT_PLACES))
    async with anyio.create_task_group() as group:
        group.start_soon(held.pool.run)
        await anyio.wait_all_tasks_blocked()
        assert len(held.started) == MAX_LENT_PLACES + 1
        group.cancel_scope.cancel()


async def test_more_workers_run_while_they_are_needed() -> None:
    held = Held(items=9, workers=2)
    needed = True
    held.pool.needs_more = lambda: needed
    async with anyio.create_task_group() as group:
        group.start_soon(held.pool.run)
        await anyio.wait_all_tasks_blocked()
        assert held.started == [0, 1, 2, 3], "twice as many at most"
        needed = False
        for item, started in ((0, 4), (1, 4), (2, 5), (3, 6), (4, 7)):
            await held.release(item)
            assert len(held.started) == started, "two of them end"
        group.cancel_scope.cancel()


async def test_no_item_starts_after_a_stop() -> None:
    held = Held(items=3, workers=1)
    async with anyio.create_task_group() as group:
        group.start_soon(held.pool.run)
        await anyio.wait_all_tasks_blocked()
        held.stop.interrupt()
        await held.release(0)
    assert held.started == [0]


async def test_a_source_that_a_stop_has_interrupted_ends_the_pool() -> None:
    class Interrupted:
        def next_ready(self) -> int | None:
            return None

        async def next(self) -> int | None:
            await anyio.lowlevel.checkpoint()
            raise StoppedError

    processed: list[int] = []

    async def process(item: int) -> None:
        processed.append(item)

    await WorkerPool(Interrupted(), process, StopController(), 2).run()
    assert not processed
