"""A PostgreSQL server of the tests: the system's programs, in a temporary folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

_TIMEOUT = 50
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "unix_socket_directories": "''",
    "listen_addresses": "127.0.0.1",
}


@dataclass(frozen=True)
class PostgresServer:
    """A server on this machine that may be stopped and started again.

    Args:
        programs: folder of its programs.
        data: folder of its databases.
        port: its port on the loopback interface.
        user: user of the system that runs it, as it refuses to be run by root; None for this one.
    """

    programs: Path
    data: Path
    port: int
    user: str | None

    @property
    def url(self) -> str:
        """Address of its own database."""
        return self.url_of("postgres")

    def url_of(self, database: str, port: int | None = None) -> str:
        """Return the address of a database, if wanted by way of another port."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [f"-c {name}={value}" for name, value in _SETTINGS.items()]
        options = " ".join([*settings, f"-p {self.port}"])
        self._control("start", "-o", options, "-l", str(self.data / "log"))

    def stop(self) -> None:
        """Stop it at once, as when its machine loses its power."""
        self._control("stop", "-m", "immediate")

    def create_database(self) -> str:
        """Create a database, and return its address."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url_of(name)

    def _control(self, *arguments: str) -> None:
        self.run("pg_ctl", "-w", "-D", str(self.data), *arguments)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of its programs."""
        subprocess.run(
            [self.programs / program, *arguments],
            check=True,
            user=self.user,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=_TIMEOUT,
        )


def find_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server of the system; None without one."""
    found = [
        *Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"),
        *Path("/usr").glob("pgsql-*/bin/pg_ctl"),
    ]
    if found:
        return max(found, key=lambda path: int("".join(filter(str.isdigit, str(path))))).parent
    on_path = shutil.which("pg_ctl")
    return Path(on_path).resolve().parent if on_path else None


@contextmanager
def serve_postgres() -> Iterator[PostgresServer]:
    """Start a server in a temporary folder; skip the test, or fail in CI, where there is none."""
    programs = find_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed: install it to run the tests of clusters")
    user = "postgres" if getpass.getuser() == "root" else None
    folder = Path(tempfile.mkdtemp(prefix="bulklink-postgres-"))
    server = PostgresServer(programs, folder / "data", _free_port(), user)
    try:
        if user is not None:
            shutil.chown(folder, user)
        options = ("-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")
        server.run("initdb", "-D", str(server.data), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
