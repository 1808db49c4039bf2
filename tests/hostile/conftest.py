"""Good folders, created once per session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.servers import serve_world
from tests.e2e.world import make_stocked_world
from tests.hostile.folders import GoodFolders, make_good_folders


@pytest.fixture(scope="session")
def good_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoodFolders]:
    """Serve a CRM and create a run folder of each kind."""
    folder = tmp_path_factory.mktemp("hostile")
    with serve_world(make_stocked_world(4), folder, "--tokens-per-window", "0") as emulator:
        yield make_good_folders(folder, emulator)
