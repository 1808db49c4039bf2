"""Blocking work and the one door to threads; a guard that keeps such work off the event loop.

Blocking are DuckDB, passes over a ledger or a plan, hashing of files, and spreadsheets. In a
coroutine they run through `Environment.run_blocking`. Each declares itself with `blocks`, which the
tests turn into an error on a thread that runs an event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class ThreadRunner(Protocol):
    """Runs blocking functions outside the event loop."""

    async def __call__(self, function: Callable[[], T], /) -> T:
        """Return what the function returns."""
        ...


class _Guard:
    """What is checked before blocking work.

    Attributes:
        check: called with the name of the work; None checks nothing.
        inline: whether `run_inline` runs.
    """

    __slots__ = ("check", "inline")

    def __init__(self) -> None:
        self.check: Callable[[str], None] | None = None
        self.inline = False


_guard = _Guard()


def blocks(work: str) -> None:
    """Declare that what follows blocks the calling thread.

    Args:
        work: what it is, for the error of the guard.
    """
    if _guard.check is not None and not _guard.inline:
        _guard.check(work)


def guard_blocking(check: Callable[[str], None] | None) -> None:
    """Have blocking work checked, in the tests.

    Args:
        check: called with the name of the work, in its thread; raises where it may not run. None
            ends the checks.
    """
    _guard.check = check


async def run_inline(function: Callable[[], T]) -> T:
    """Run a blocking function in this thread: the door where time is virtual.

    An event loop on a virtual clock cannot wait for threads.
    """
    return call_inline(function)


def call_inline(function: Callable[[], T]) -> T:
    """Call a blocking function as `run_inline` does, from a function that cannot await."""
    previous, _guard.inline = _guard.inline, True
    try:
        return function()
    finally:
        _guard.inline = previous
