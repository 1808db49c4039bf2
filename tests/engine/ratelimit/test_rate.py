"""The rate: no second has too many starts, and no slot is lost."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.engine.ratelimit.rate import RateLimiter, burst_capacity
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy, StoppedError
from tests.virtual import VirtualLoop, now

Starts = list[float]


def run_on_late_loop(
    work: Callable[[], Coroutine[Any, Any, Starts]], max_lateness: float, seed: int
) -> Starts:
    """Run on a loop that wakes up to so many seconds too late, each time."""
    rng = random.Random(seed)
    loop = VirtualLoop(lambda: rng.uniform(0.0, max_lateness))
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


async def start_times(per_second: float, seconds: float, waiters: int) -> Starts:
    """Have so many wait again and again; return when each start was."""
    rate, started_at, starts = RateLimiter(per_second, StopController()), now(), list[float]()

    async def wait() -> None:
        while now() < started_at + seconds:
            await rate.acquire()
            starts.append(now())

    async with anyio.create_task_group() as group:
        for _ in range(waiters):
            group.start_soon(wait)
    return starts


def max_per_second(starts: Starts) -> int:
    """Return the most starts in a second, its ends included, that begins with a start."""
    highest = first = 0
    for n, moment in enumerate(starts):
        while starts[first] < moment - 1.0:
            first += 1
        highest = max(highest, n - first + 1)
    return highest


RATES = st.sampled_from([0.5, 1, 7.5, 50, 333.3])
WAITERS = st.sampled_from([1, 3, 50])


@settings(deadline=None, max_examples=40)
@given(per_second=RATES, waiters=WAITERS, late=st.sampled_from([0.0, 0.02, 0.3]))
def test_the_rate_is_never_exceeded_even_on_a_late_loop(
    per_second: float, waiters: int, late: float
) -> None:
    seconds = max(4.0, 20 / per_second)
    starts = run_on_late_loop(lambda: start_times(per_second, seconds, waiters), late, 1)
    assert max_per_second(starts) <= per_second + max(1, per_second / 100)


@settings(deadline=None, max_examples=40)
@given(per_second=RATES, waiters=WAITERS, late=st.sampled_from([0.0, 0.001, 0.006]))
def test_the_rate_is_reached_even_on_a_late_loop(
    per_second: float, waiters: int, late: float
) -> None:
    seconds = max(4.0, 20 / per_second)
    starts = run_on_late_loop(lambda: start_times(per_second, seconds, waiters), late, 2)
    assert (len(starts) - 1) / (starts[-1] - starts[0]) >= 0.99 * per_second


@pytest.mark.parametrize("lateness", [0.0, 0.008])
@pytest.mark.parametrize("per_second", [1, 10, 50, 500, 5000])
def test_the_guarantee_holds_at_common_rates(per_second: float, lateness: float) -> None:
    seconds = 2.0 if per_second > 1000 else max(10.0, 200 / per_second)
    starts = run_on_late_loop(lambda: start_times(per_second, seconds, 100), lateness, 7)
    assert max_per_second(starts) <= per_second + max(1, per_second / 100)
    assert (len(starts) - 1) / (starts[-1] - starts[0]) >= 0.99 * per_second


@given(per_second=st.floats(0.001, 10_000))
def test_the_capacity_is_at_least_one_call_and_keeps_the_guarantee(per_second: float) -> None:
    capacity = burst_capacity(per_second)
    assert capacity >= 1
    # A bucket lets at most as many start in a second as it leaks and holds.
    assert math.floor(per_second + capacity) <= per_second + max(1.0, per_second / 100) + 1e-6


@settings(deadline=None, max_examples=40)
@given(
    gaps=st.lists(st.sampled_from([0.0, 0.001, 0.019, 0.021, 0.3, 1.5]), min_size=10, max_size=200),
    per_second=st.sampled_from([1, 7.5, 50]),
    late=st.sampled_from([0.0, 0.05]),
)
def test_single_calls_after_gaps_do_not_exceed_the_rate(
    gaps: list[float], per_second: float, late: float
) -> None:
    async def one_by_one() -> Starts:
        rate, starts = RateLimiter(per_second, StopController()), list[float]()
        for gap in gaps:
            await anyio.sleep(gap)
            await rate.acquire()
            starts.append(now())
        return starts

    starts = run_on_late_loop(one_by_one, late, 3)
    assert max_per_second(starts) <= per_second + max(1, per_second / 100)


async def test_a_stop_wakes_all_waiting_calls() -> None:
    stop = StopController()
    rate, began, halted = RateLimiter(0.01, stop), now(), list[float]()

    async def wait() -> None:
        with pytest.raises(StoppedError):
            while True:
                await rate.acquire()
        halted.append(now() - began)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait)
        await anyio.sleep(1)
        stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))
    assert len(halted) == 5
    assert max(halted) < 2


async def test_after_a_graceful_stop_a_call_that_completes_a_relink_keeps_waiting() -> None:
    stop = StopController()
    rate, starts = RateLimiter(0.5, stop), list[float]()
    began = now()

    async def finish() -> None:
        for _ in range(2):
            await rate.acquire(completes_relink=True)
            starts.append(now() - began)

    async with anyio.create_task_group() as group:
        group.start_soon(finish)
        await anyio.sleep(1)
        stop.interrupt()
    assert starts == pytest.approx([0.0, 2.0], abs=0.1)


async def test_a_cancelled_call_does_not_use_up_the_rate() -> None:
    rate, began = RateLimiter(1, StopController()), now()
    await rate.acquire()
    with anyio.move_on_after(0.5):
        await rate.acquire()
    await rate.acquire()
    assert now() - began == pytest.approx(1.0, abs=0.05)
