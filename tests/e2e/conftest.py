"""Fixtures of the end-to-end tests: one emulator per session, scripted servers, the command."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import Command
from tests.e2e.servers import Emulator, StandIn, serve_stand_in, serve_world
from tests.e2e.world import Contact, World, make_stocked_world

CONTACTS = 500


@pytest.fixture
def bulklink(tmp_path: Path) -> Command:
    """Return the command, in a folder of this test."""
    return Command(tmp_path)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Serve a world with contacts for all tests; a test takes contacts of its own."""
    folder = tmp_path_factory.mktemp("emulator")
    with serve_world(make_stocked_world(CONTACTS), folder, "--tokens-per-window", "0") as server:
        yield server


@pytest.fixture(scope="session")
def unused_contacts(emulator: Emulator) -> Iterator[Contact]:
    """Hand out each contact of the session's emulator once."""
    return iter(emulator.world.contacts)


@pytest.fixture
def contact(unused_contacts: Iterator[Contact]) -> Contact:
    """Return a contact that no other test has touched."""
    return next(unused_contacts)


@pytest.fixture
def contacts(unused_contacts: Iterator[Contact]) -> list[Contact]:
    """Return three contacts that no other test has touched."""
    return list(itertools.islice(unused_contacts, 3))


@pytest.fixture
def connected_command(bulklink: Command, emulator: Emulator) -> Command:
    """Return the command, connected to the emulator."""
    return bulklink.with_env(**emulator.env())


@pytest.fixture
def world() -> World:
    """Return an empty world, to be filled before the first request to the stand-in."""
    return World()


@pytest.fixture
def standin(world: World) -> Iterator[StandIn]:
    """Serve the test's world from a thread, with the test's script."""
    with serve_stand_in(world) as server:
        yield server
