"""A PostgreSQL server in a temporary folder, run by the programs of the system."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psycopg

_QUIT = getattr(signal, "SIGQUIT", signal.SIGTERM)
_TIMEOUT = 50
_QUIT_TIMEOUT = 10
"""Seconds for its processes to end: it kills them after five."""
_PAUSE = 0.05
_MEMORY_BYTES = 4 << 30
"""Free memory without which the databases are on disk: each process of the tests has a server."""
_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


@dataclass
class PostgresServer:
    """A server on this machine that may be stopped and started again.

    Args:
        programs: folder of its programs.
        data: folder of its databases.
        port: its port on the loopback interface.
        user: user of the system that runs it, as it refuses to be run by root; None for this one.
        settings: settings besides the usual ones.
    """

    programs: Path
    data: Path
    port: int
    user: str | None
    settings: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """Address of its own database."""
        return self.url_of("postgres")

    def url_of(self, database: str, port: int | None = None) -> str:
        """Return the address of a database, if wanted by way of another port."""
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            TimeoutError: if it does not; with the end of its log.
        """
        deadline = time.monotonic() + _TIMEOUT
        while not self._is_ready():
            # It ends at once while processes of one that was killed still hold its memory.
            if self._process is None or self._process.poll() is not None:
                self._process = self._launch()
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL is not ready: {self._log.read_text()[-2000:]}")
            time.sleep(_PAUSE)

    def stop(self) -> None:
        """Stop it at once, as when its machine loses its power."""
        if self._process is None:
            return
        self._process.send_signal(_QUIT)
        try:
            self._process.wait(_QUIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children end when they miss it
            self._process.wait()
        self._process = None

    def reload(self) -> None:
        """Let it read its settings again."""
        self.run("pg_ctl", "-D", str(self.data), "reload")

    def create_database(self) -> str:
        """Create a database, and return its address."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url_of(name)

    @contextmanager
    def demanding_password(self, role: str) -> Iterator[None]:
        """Demand a password of a role, which all others do without."""
        file = self.data / "pg_hba.conf"
        trusting = file.read_text("utf-8")
        file.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n{trusting}", "utf-8")
        self.reload()
        try:
            yield
        finally:
            file.write_text(trusting, "utf-8")
            self.reload()

    @contextmanager
    def replica(self) -> Iterator[PostgresServer]:
        """Start a replica of this server."""
        data = self.data.parent / "replica"
        copy = PostgresServer(self.programs, data, free_port(), self.user)
        here = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres")
        self.run("pg_basebackup", *here, "-D", str(data), "-R", "-c", "fast", "--no-sync")
        copy.start()
        try:
            yield copy
        finally:
            copy.stop()

    @property
    def _log(self) -> Path:
        return self.data.parent / f"{self.data.name}.log"

    def _launch(self) -> subprocess.Popen[bytes]:
        settings = _SETTINGS | self.settings | {"port": str(self.port)}
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self.programs / "postgres", "-D", str(self.data), *options],
                user=self.user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        is_own = self._process is not None and lines[:1] == [str(self._process.pid)]
        return is_own and [line.strip() for line in lines[7:8]] in (["ready"], ["standby"])

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


def _memory_folder() -> Path | None:
    """Return a folder in memory, where flushing to disk takes no time; None without room for it."""
    folder = Path("/dev/shm")
    is_large = folder.is_dir() and shutil.disk_usage(folder).free > _MEMORY_BYTES
    return folder if is_large else None


@contextmanager
def temporary_server(
    programs: Path, *, in_memory: bool = False, **settings: str
) -> Iterator[PostgresServer]:
    """Run a server in a temporary folder.

    Args:
        programs: folder of the programs of PostgreSQL.
        in_memory: whether its databases are in memory, if there is room.
        settings: settings besides the usual ones.
    """
    user = "postgres" if getpass.getuser() == "root" else None
    folder = Path(
        tempfile.mkdtemp(prefix="bulklink-postgres-", dir=_memory_folder() if in_memory else None)
    )
    server = PostgresServer(programs, folder / "data", free_port(), user, settings)
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


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
