"""Every test that waits in these folders does so on a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.virtual import loop_for

_VIRTUAL = ("engine", "ledger", "simulation")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    del config
    folder = Path(item.path).parent.name
    return loop_for(folder in _VIRTUAL)
