"""Fixtures of the operation tests: a CRM in this process, a state folder per test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bulklink import Connection
from tests.operations.local_crm import LocalCrm, local_crm


@pytest.fixture(autouse=True)
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep credit usage and tokens in the folder of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
async def crm() -> AsyncIterator[LocalCrm]:
    """Serve a CRM for this test only."""
    async with local_crm() as running_crm:
        yield running_crm


@pytest.fixture
def connection(crm: LocalCrm) -> Connection:
    """Return the connection to it."""
    return crm.connection
