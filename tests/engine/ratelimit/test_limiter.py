"""Limiter: calls in flight, calls per second, and pauses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from bulklink.engine.ratelimit.attempt import Attempt
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy, StoppedError
from bulklink.zoho.throttling import StatedLimit
from tests.virtual import now


def make_limiter(
    in_flight: int = 1000,
    rate: float | None = None,
    stop: StopController | None = None,
    notify: Callable[[str], None] = lambda text: None,
) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(
        max_in_flight=in_flight,
        max_per_second=rate,
        stop=stop or StopController(),
        clock=now,
        notify=notify,
    )


@asynccontextmanager
async def admitted(limiter: ConcurrencyLimiter) -> AsyncIterator[Attempt]:
    """Admit a call for the block, as the caller does."""
    attempt = await limiter.admit(limiter.new_call())
    try:
        yield attempt
    finally:
        limiter.end(attempt)


async def wait_to_start(limiter: ConcurrencyLimiter, attempt: Attempt) -> None:
    """Wait until a call may be sent, as the caller does."""
    while not limiter.may_start(attempt):
        limiter.return_slot(attempt)
        await limiter.acquire_slot(attempt)
        await limiter.wait_for_rate(attempt.queued_call)
    limiter.start(attempt)


async def start_times(limiter: ConcurrencyLimiter, calls: int, seconds: float = 0.0) -> list[float]:
    """Make concurrent calls of a given duration; return the start time of each."""
    times: list[float] = []

    async def call() -> None:
        async with admitted(limiter) as attempt:
            await wait_to_start(limiter, attempt)
            times.append(now())
            await anyio.sleep(seconds)

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(call)
    return times


@pytest.mark.parametrize("rate", [0.5, 1, 7.5, 50, 500])
async def test_calls_start_at_the_configured_rate(rate: float) -> None:
    began = await start_times(make_limiter(rate=rate), int(rate * 4) or 10)
    for n, moment in enumerate(began):
        within = sum(moment <= other < moment + 1 for other in began[n:])
        assert within <= rate + max(1, rate * 0.01)
    assert len(began) / (began[-1] - began[0]) >= 0.99 * rate


async def test_calls_in_flight_never_exceed_the_limit() -> None:
    began = await start_times(make_limiter(in_flight=3), 12, seconds=1.0)
    assert [round(moment - began[0]) for moment in began] == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


async def refuse_call(limiter: ConcurrencyLimiter, retry_after: float | None = None) -> None:
    """Make a call that the server refuses because too many are in flight."""
    async with admitted(limiter) as attempt:
        await wait_to_start(limiter, attempt)
        limiter.report_refused(attempt, retry_after)


async def test_calls_wait_for_retry_after_and_one_second() -> None:
    async with make_limiter() as limiter:
        await refuse_call(limiter, 20.0)
        before = now()
        first, *others = [moment - before for moment in await start_times(limiter, 5)]
    assert 21.0 <= first < 21.01
    assert all(moment > first for moment in others)


@pytest.mark.parametrize(
    ("retry_after", "stated", "words"),
    [
        (None, None, ["all calls wait for a moment"]),
        (60.0, None, ["all calls wait for the requested 60 s"]),
        (60.0, StatedLimit(100, 60.0), ["it allows 100 calls in 60 s", "the requested 60 s"]),
    ],
)
async def test_the_notice_of_a_refusal_has_the_stated_limit_and_wait(
    retry_after: float | None, stated: StatedLimit | None, words: list[str]
) -> None:
    notices: list[str] = []
    async with (
        make_limiter(notify=notices.append) as limiter,
        admitted(limiter) as attempt,
    ):
        await wait_to_start(limiter, attempt)
        limiter.report_refused(attempt, retry_after, stated=stated)
    (notice,) = notices
    assert [word for word in words if word not in notice] == []


async def test_a_stop_ends_a_pause() -> None:
    stop = StopController()
    limiter = make_limiter(stop=stop)

    async def wait() -> None:
        with pytest.raises(StoppedError):
            async with admitted(limiter):
                pytest.fail("a call started after the stop")

    async with limiter, anyio.create_task_group() as group:
        await refuse_call(limiter, 600.0)
        before = now()
        group.start_soon(wait)
        await anyio.sleep(1)
        stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))
    assert now() - before < 2


async def test_a_call_keeps_its_slot_for_hold_after_seconds() -> None:
    async with make_limiter(in_flight=1) as limiter:
        async with admitted(limiter) as attempt:
            await wait_to_start(limiter, attempt)
            attempt.hold_after = 5.0
        ended = now()
        (began,) = await start_times(limiter, 1)
    assert 5.0 <= began - ended < 5.01


async def test_an_error_in_the_limiter_block_is_raised_unchanged() -> None:
    with pytest.raises(StoppedError):
        async with make_limiter() as limiter:
            await refuse_call(limiter, 600.0)
            raise StoppedError


async def test_after_a_refusal_a_single_call_is_sent_until_it_is_answered() -> None:
    """A refusal withdraws the slots of calls that wait for the rate limit."""
    in_flight, most_in_flight, times = 0, 0, list[float]()

    async def call(limiter: ConcurrencyLimiter, seconds: float) -> None:
        nonlocal in_flight, most_in_flight
        async with admitted(limiter) as attempt:
            await wait_to_start(limiter, attempt)
            in_flight += 1
            times.append(now())
            most_in_flight = max(most_in_flight, in_flight)
            await anyio.sleep(seconds)
            in_flight -= 1
            limiter.report_accepted(attempt)

    async with make_limiter(in_flight=8, rate=1.0) as limiter, anyio.create_task_group() as group:
        await start_times(limiter, 1)
        for _ in range(3):
            group.start_soon(call, limiter, 30.0)
        await anyio.lowlevel.checkpoint()
        refused = Attempt(limiter.new_call(), started_at=now(), peak_in_flight=8)
        limiter.report_refused(refused, None)
        await anyio.sleep(25.0)
        assert (len(times), most_in_flight) == (1, 1)
    assert len(times) == 3


async def test_a_cancelled_probe_is_followed_by_another() -> None:
    async with make_limiter() as limiter:
        await refuse_call(limiter)
        await anyio.sleep(1.0)
        with anyio.CancelScope() as scope:
            async with admitted(limiter) as attempt:
                await limiter.acquire_slot(attempt)
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            assert len(await start_times(limiter, 1)) == 1
