"""Event loop of a command: uvloop, or winloop on Windows, where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio

from bulklink.cli.console import is_option_set, note

T = TypeVar("T")
FAST_LOOP = "winloop" if sys.platform == "win32" else "uvloop"


def run_in_loop(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run a coroutine function in a new event loop; with --debug, say which."""
    is_fast = importlib.util.find_spec(FAST_LOOP) is not None
    if is_option_set("--debug", "BULKLINK_DEBUG"):
        advice = (
            "" if is_fast else f" {FAST_LOOP} is not installed: the extra bulklink[fast] has it."
        )
        note(f"Event loop: {FAST_LOOP if is_fast else 'asyncio'}.{advice}")
    return anyio.run(function, *args, backend_options={"use_uvloop": is_fast})
