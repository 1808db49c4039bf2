"""Configuration of the tests: virtual clocks, parallel workers and the guard of the event loop."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bulklink.blocking import guard_blocking
from tests.guard import refuse_on_event_loop
from tests.virtual import loop_factories

# Examples may be slow on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
_VIRTUAL_TIME_FOLDERS = ("engine", "ledger", "load", "ratelimit", "simulation")


def pytest_configure(config: pytest.Config) -> None:
    """Handle Ctrl-C as at a terminal, since a process started in the background ignores it.

    Also cache compiled modules: tests start hundreds of commands, and each worker loads all tests.
    """
    del config
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    del config
    folder = Path(item.path).parent.name
    return loop_factories(folder in _VIRTUAL_TIME_FOLDERS)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processors plus one, as some tests wait for commands they start."""
    del config
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def guarded_event_loop() -> Iterator[None]:
    """Make blocking work on the thread of an event loop fail the test."""
    guard_blocking(refuse_on_event_loop)
    yield
    guard_blocking(None)
