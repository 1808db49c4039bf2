"""Guard of the event loop: blocking work on its thread fails the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread

from bulklink.blocking import call_inline
from tests.virtual import VirtualLoop

P = ParamSpec("P")
T = TypeVar("T")


class EventLoopBlockedError(AssertionError):
    """Raised when blocking work runs on the thread of an event loop."""


def refuse_on_event_loop(work: str) -> None:
    """Raise if the calling thread runs an event loop.

    Raises:
        EventLoopBlockedError: if the calling thread runs one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise EventLoopBlockedError(f"{work} on the event loop: run it by `Environment.run_blocking`")


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a blocking function in a thread, or inline on a virtual loop."""
    call = partial(function, *args, **kwargs)
    if isinstance(asyncio.get_running_loop(), VirtualLoop):
        return call_inline(call)
    return await anyio.to_thread.run_sync(call)


def inline(function: Callable[P, T]) -> Callable[P, T]:
    """Return a blocking function that a test on a virtual clock may call in its coroutine."""

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return call_inline(partial(function, *args, **kwargs))

    return call
