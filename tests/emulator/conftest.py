"""Fixtures with worlds of conversations."""

from __future__ import annotations

import pytest

from tests.emulator.made_worlds import KINDS, Library, Made


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("worlds"))


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, worlds: Library) -> Made:
    """Return a world of each kind in turn."""
    return worlds[request.param][0]
