"""What the first Ctrl-C and the second do to work that a run was stopped in before."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from bulklink.cli.signals import run_with_signals
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy

T = TypeVar("T")
TOO_MANY = RunStoppedError(StoppedBy.MAX_FAILURES, "Too many emails failed.")


async def run_stoppable(work: Callable[[StopController], Awaitable[T]]) -> T:
    stop = StopController()
    return await run_with_signals(lambda: work(stop), stop)


async def press(stop: StopController) -> None:
    """Press Ctrl-C and wait until it was heard."""
    heard = anyio.Event()
    stop.on_stop(heard.set)
    os.kill(os.getpid(), signal.SIGINT)
    await heard.wait()


def test_the_first_ctrl_c_after_a_stop_for_failures_lets_what_is_in_flight_finish() -> None:
    async def finishing(stop: StopController) -> str:
        stop.request(TOO_MANY)
        await press(stop)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert stop.reason is TOO_MANY
        return "finished"

    assert anyio.run(run_stoppable, finishing) == "finished"


def test_the_second_ends_it_at_once() -> None:
    async def finishing(stop: StopController) -> None:
        stop.request(TOO_MANY)
        await press(stop)
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    with pytest.raises(RunStoppedError, match="at once"):
        anyio.run(run_stoppable, finishing)
