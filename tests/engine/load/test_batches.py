"""Batches of a load test: each in turn, and never in two calls at once."""

from __future__ import annotations

from itertools import islice

import anyio
import pytest

from bulklink.engine.load.batches import BatchCycle, LoadBatch, LoadOp, numbered_batches
from bulklink.engine.worker_pool import ItemsInMemory
from bulklink.models import Message, Op
from bulklink.task_group import task_group
from tests.engine.fakes import email


def plan(emails: int) -> list[list[Message]]:
    return [[email(row) for row in range(1, emails + 1)]]


def cycle(emails: int, op: LoadOp, *, batch_size: int = 2, turns: int = 50) -> BatchCycle:
    batches = numbered_batches(lambda: plan(emails), op, batch_size)
    return BatchCycle(ItemsInMemory(islice(batches, turns)), op)


async def take(batches: BatchCycle) -> LoadBatch:
    batch = await batches.next()
    assert batch is not None
    return batch


async def test_batches_are_linked_and_unlinked_in_turn() -> None:
    batches = cycle(4, LoadOp.ALTERNATE)
    ops = []
    for _ in range(6):
        batch = await take(batches)
        ops.append((batch.index, batch.op, batch.messages[0].op, batch.messages[0].deal_id is None))
        batches.end(batch, linked=batch.op is Op.LINK)
    assert ops == [
        *((index, Op.LINK, Op.LINK, False) for index in (0, 1)),
        *((index, Op.UNLINK, Op.UNLINK, True) for index in (0, 1)),
        *((index, Op.LINK, Op.LINK, False) for index in (0, 1)),
    ]


async def test_a_batch_that_did_not_change_gets_the_same_op_again() -> None:
    batches = cycle(2, LoadOp.ALTERNATE)
    for linked, expected in ((None, Op.LINK), (True, Op.LINK), (None, Op.UNLINK)):
        batch = await take(batches)
        assert batch.op is expected
        batches.end(batch, linked=linked)
    assert (await take(batches)).op is Op.UNLINK


@pytest.mark.parametrize("op", [LoadOp.LINK, LoadOp.UNLINK])
async def test_other_ops_go_through_the_plan_once(op: LoadOp) -> None:
    batches = cycle(5, op)
    assert [(await take(batches)).op for _ in range(3)] == [Op(op)] * 3
    assert await batches.next() is None


async def test_a_batch_in_flight_loses_its_turn() -> None:
    batches = cycle(6, LoadOp.ALTERNATE)
    first, second, third = [await take(batches) for _ in range(3)]
    batches.end(second, linked=True)
    again = await take(batches)
    assert (again.index, again.op) == (1, Op.UNLINK)
    assert {first.index, third.index} == {0, 2}


async def test_if_all_are_in_flight_the_next_call_waits_for_one() -> None:
    batches = cycle(4, LoadOp.ALTERNATE)
    first, _ = [await take(batches) for _ in range(2)]
    taken: list[LoadBatch] = []

    async def wait() -> None:
        taken.append(await take(batches))

    async with task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(1)
        assert not taken
        batches.end(first, linked=True)
    assert [(batch.index, batch.op) for batch in taken] == [(0, Op.UNLINK)]


def test_a_batch_that_alternates_fits_into_an_unlink_call() -> None:
    long_ids = [[Message(row, Op.LINK, "1", "2", f"{row:0300x}", "3") for row in range(1, 21)]]
    batches = numbered_batches(lambda: long_ids, LoadOp.ALTERNATE, 20)
    assert [len(messages) for _, messages in islice(batches, 4)] == [6, 6, 6, 2]


def test_an_empty_plan_has_no_batches() -> None:
    assert list(numbered_batches(list, LoadOp.ALTERNATE, 20)) == []
