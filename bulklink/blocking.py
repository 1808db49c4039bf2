"""Guard that keeps blocking work off the event loop.

DuckDB, passes over a ledger or a plan, hashing of files, and spreadsheets block. Coroutines run
them through `Environment.run_blocking`. Each declares itself with `blocks`, which the tests turn
into an error on a thread that runs an event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class ThreadRunner(Protocol):
    """Runs blocking functions outside the event loop."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Run a function and return its result."""
        ...


class _Guard:
    """The check before blocking work.

    Attributes:
        check: called with a description of the work; None for no check.
        inline: whether `run_inline` is running.
    """

    __slots__ = ("check", "inline")

    def __init__(self) -> None:
        self.check: Callable[[str], None] | None = None
        self.inline = False


_guard = _Guard()


def blocks(work: str) -> None:
    """Declare that the following code blocks the calling thread.

    Args:
        work: description of the work, for the guard's error.
    """
    if _guard.check is not None and not _guard.inline:
        _guard.check(work)


def guard_blocking(check: Callable[[str], None] | None) -> None:
    """Set the check of blocking work; for tests.

    Args:
        check: called with a description of the work, in its thread; raises if it may not run
            there. None for no check.
    """
    _guard.check = check


async def run_inline(function: Callable[[], T]) -> T:
    """Run a blocking function in this thread.

    Used with virtual time: an event loop on a virtual clock cannot wait for threads.
    """
    return call_inline(function)


def call_inline(function: Callable[[], T]) -> T:
    """Run a blocking function in this thread, like `run_inline`, without `await`."""
    previous, _guard.inline = _guard.inline, True
    try:
        return function()
    finally:
        _guard.inline = previous
