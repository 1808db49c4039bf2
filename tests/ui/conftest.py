"""Fixtures of the tests of the page: a CRM in this process, a folder of runs, the page itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bulklink import Connection
from bulklink.operations.environment import real_environment
from bulklink.ui.commands import Commands
from bulklink.ui.server import serve_page
from bulklink.worker.overview import overview
from tests.operations.conftest import connection, crm, state_home
from tests.ui.page_client import PageClient

__all__ = ["connection", "crm", "state_home"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return the folder of runs, which is not there yet."""
    return tmp_path / "runs"


@pytest.fixture
async def commands(runs: Path, connection: Connection) -> AsyncIterator[Commands]:
    """Return the commands of the page; those that still work are stopped after the test."""
    page_commands = Commands(runs, lambda profile: connection, real_environment(), overview)
    yield page_commands
    await page_commands.close()


@pytest.fixture
async def page(commands: Commands) -> AsyncIterator[PageClient]:
    """Serve the page, and return a client that knows its token."""
    async with serve_page(commands) as url, aiohttp.ClientSession() as session:
        yield PageClient(session, url)
