"""Having something looked at now and then while it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio

from bulklink.mapping.interrupt import Stop
from bulklink.operations.callbacks import Watch

LOOK_SECONDS = 0.5
"""Between two looks."""


@asynccontextmanager
async def looking(look: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Have something looked at every half second while the block runs.

    What the block raises is raised as it is, not in a group.
    """
    raised: Exception | None = None

    async def look_on() -> None:
        while True:
            await look()
            await anyio.sleep(LOOK_SECONDS)

    async with anyio.create_task_group() as group:
        group.start_soon(look_on)
        try:
            yield
        except Exception as error:
            raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise raised


def planning_told(stop: Stop, watch: Watch) -> AbstractAsyncContextManager[None]:
    """Tell whoever watches how far a planning in another thread is, while the block waits for it.

    Args:
        stop: that the planning was given.
        watch: is told.
    """

    async def look() -> None:
        if (stage := stop.stage) is not None:
            watch.planning(stage)

    return looking(look)
