"""Slots of workers: limited, and lent by what only waits."""

from __future__ import annotations

from contextlib import ExitStack

import anyio

from bulklink.engine.worker_slots import MAX_LENT_SLOTS, WorkerSlots


async def takes(slots: WorkerSlots, *, most: int = 1000) -> int:
    """Return how many slots can be taken without waiting; they stay taken."""
    taken = 0
    with anyio.move_on_after(1):
        while taken < most:
            await slots.acquire()
            taken += 1
    return taken


async def test_all_slots_can_be_taken() -> None:
    slots = WorkerSlots(3)
    assert await takes(slots) == 3
    slots.release()
    assert await takes(slots) == 1


async def test_a_lent_slot_can_be_taken_and_its_owner_continues_immediately() -> None:
    slots = WorkerSlots(1)
    assert await takes(slots) == 1
    with slots.lent():
        assert await takes(slots) == 1
    slots.release()
    assert await takes(slots) == 0, "two were in progress, and one is left"
    slots.release()
    assert await takes(slots) == 1


async def test_the_number_of_lent_slots_is_limited() -> None:
    slots = WorkerSlots(2 * MAX_LENT_SLOTS)
    assert await takes(slots) == 2 * MAX_LENT_SLOTS
    with ExitStack() as owners:
        for _ in range(2 * MAX_LENT_SLOTS):
            owners.enter_context(slots.lent())
        assert await takes(slots) == MAX_LENT_SLOTS
