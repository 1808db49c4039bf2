"""A PostgreSQL server for the tests of clusters, and a database for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.schema import initialize
from bulklink.cluster.timing import ClusterTiming
from tests.cluster.postgres import PostgresServer, serve_postgres
from tests.e2e.command import Command
from tests.e2e.servers import Emulator, connection, serve_world_file

FACTOR = float(os.environ.get("BULKLINK_TEST_CLUSTER_FACTOR", "0.1"))
_SCALED = ClusterTiming().scaled(FACTOR)
TIMING = msgspec.structs.replace(_SCALED, start=max(20.0, _SCALED.start))
"""Times of the clusters of tests: a tenth of the usual ones, but for the start of a process."""
TIMEOUT = round(60 + 600 * FACTOR)
"""Seconds after which a test with several processes has failed."""
_WORLD = ("--messages", "40", "--contacts", "4", "--linked-wrong", "0.5")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep profiles, locks and tokens in the folder of the test, for the workers too."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in os.environ:
        if name.startswith("BULKLINK_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Run a server for all tests of this process."""
    with serve_postgres() as server:
        yield server


@pytest.fixture
def timing() -> ClusterTiming:
    """Return the times of the cluster."""
    return TIMING


@pytest.fixture
def url(postgres: PostgresServer, timing: ClusterTiming, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of a database that is prepared for a cluster."""
    address = postgres.create_database()
    initialize(conninfo_from({"BULKLINK_CLUSTER_URL": address}), timing)
    monkeypatch.setenv("BULKLINK_CLUSTER_URL", address)
    return address


@pytest.fixture
def database(url: str) -> Iterator[ClusterDatabase]:
    """Return a connection to it."""
    connection = ClusterDatabase(conninfo_from({"BULKLINK_CLUSTER_URL": url}))
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a world with a mapping."""
    folder = tmp_path_factory.mktemp("world")
    assert Command(folder)("generate", *_WORLD, "--out", "crm").code == 0
    return folder / "crm"


@pytest.fixture
def crm(world: Path) -> Iterator[Emulator]:
    """Serve the world."""
    with serve_world_file(world / "world.json") as server:
        yield server


@pytest.fixture
def command(url: str, crm: Emulator, world: Path, tmp_path: Path) -> Command:
    """Return the command in a folder with two sealed plans, connected to cluster and CRM."""
    connected = Command(
        tmp_path, {"BULKLINK_CLUSTER_URL": url, **connection(crm.url, BULKLINK_SETTLE_AFTER="0")}
    )
    for name in ("july", "other/july"):
        sealed = connected("plan", "--op", "relink", world / "mapping.csv", "--run-dir", name)
        assert sealed.code == 0, sealed
    return connected
