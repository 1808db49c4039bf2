"""What the first Ctrl-C and the second do to work that a run was stopped in before."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest

from bulklink.cli.signals import run_with_signals
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy

SIGHUP = getattr(signal, "SIGHUP", signal.SIGTERM)

T = TypeVar("T")
TOO_MANY = RunStoppedError(StoppedBy.MAX_FAILURES, "Too many emails failed.")


@pytest.fixture(autouse=True)
def restored_handlers() -> Iterator[None]:
    """An immediate stop leaves signals ignored, which processes started later would inherit."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, handlers[number])


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


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_closed_terminal_never_ends_it_at_once(first: str) -> None:
    async def finishing(stop: StopController) -> str:
        heard = anyio.Event()
        stop.on_stop(heard.set)
        os.kill(os.getpid(), getattr(signal, first))
        await heard.wait()
        for _ in range(3):
            os.kill(os.getpid(), SIGHUP)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
        return "finished"

    assert anyio.run(run_stoppable, finishing) == "finished"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no SIGHUP")
def test_a_sighup_that_nohup_ignores_stays_ignored() -> None:
    async def finishing(stop: StopController) -> str:
        os.kill(os.getpid(), SIGHUP)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert stop.reason is None
        return "finished"

    previous = signal.signal(SIGHUP, signal.SIG_IGN)
    try:
        assert anyio.run(run_stoppable, finishing) == "finished"
        assert signal.getsignal(SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(SIGHUP, previous)


def test_the_second_ends_it_at_once() -> None:
    async def finishing(stop: StopController) -> None:
        stop.request(TOO_MANY)
        await press(stop)
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    with pytest.raises(RunStoppedError, match="immediately"):
        anyio.run(run_stoppable, finishing)
