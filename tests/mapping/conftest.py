"""A desk for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A folder in which mappings are planned; no temporary file may be left in it."""
    made = Desk(tmp_path)
    yield made
    made.close()
