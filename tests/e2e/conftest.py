"""What the end-to-end tests share: one emulator a session, scripted servers, the command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import Command
from tests.e2e.servers import Emulator, StandIn, serve_stand_in, serve_world
from tests.e2e.world import Contact, World, make_stocked_world

CONTACTS = 90


@pytest.fixture
def bulklink(tmp_path: Path) -> Command:
    """Return the command, which runs in a folder of this test alone."""
    return Command(tmp_path)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Serve a world with contacts for all tests; a test takes contacts of its own."""
    folder = tmp_path_factory.mktemp("emulator")
    with serve_world(make_stocked_world(CONTACTS), folder, "--tokens-per-window", "0") as server:
        yield server


@pytest.fixture(scope="session")
def untaken(emulator: Emulator) -> Iterator[Contact]:
    """Hand out each contact of the session's emulator once."""
    return iter(emulator.world.contacts)


@pytest.fixture
def contact(untaken: Iterator[Contact]) -> Contact:
    """Return a contact that no other test has touched."""
    return next(untaken)


@pytest.fixture
def contacts(untaken: Iterator[Contact]) -> list[Contact]:
    """Return three contacts that no other test has touched."""
    return list(itertools.islice(untaken, 3))


@pytest.fixture
def linker(bulklink: Command, emulator: Emulator) -> Command:
    """Return the command, connected to the emulator."""
    return bulklink.with_env(**emulator.env())


@pytest.fixture
def world() -> World:
    """Return an empty world, to be filled before the stand-in is asked anything."""
    return World()


@pytest.fixture
def standin(world: World) -> Iterator[StandIn]:
    """Serve the test's world from a thread, as the test scripts."""
    with serve_stand_in(world) as server:
        yield server
