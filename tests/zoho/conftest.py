"""Event loops of the CRM client's tests: virtual time, but real time for sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.virtual import loop_factories

_VIRTUAL_TIME_MODULES = ("test_tokens", "test_client", "test_sign_in")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    del config
    return loop_factories(Path(item.path).stem in _VIRTUAL_TIME_MODULES)
