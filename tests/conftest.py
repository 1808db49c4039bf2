"""Configuration of the tests: virtual time in some folders, number of workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bulklink.blocking import guard_blocking
from tests.guard import refuse_on_event_loop
from tests.virtual import loop_factories

# A machine at work makes no example wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
_VIRTUAL_TIME_FOLDERS = ("engine", "ledger", "ratelimit", "simulation")


def pytest_configure(config: pytest.Config) -> None:
    """Take Ctrl-C as at a terminal: what a shell starts in the background ignores it.

    Commands that the tests start keep their compiled modules.
    """
    del config
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # tests start commands by the hundred
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    del config
    folder = Path(item.path).parent.name
    return loop_factories(folder in _VIRTUAL_TIME_FOLDERS)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of processors plus one: some tests wait for commands they started."""
    del config
    return (os.cpu_count() or 1) + 1


@pytest.fixture(autouse=True)
def guarded_event_loop() -> Iterator[None]:
    """Fail blocking work on the thread of an event loop."""
    guard_blocking(refuse_on_event_loop)
    yield
    guard_blocking(None)
