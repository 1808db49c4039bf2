"""Wrong addresses, servers, databases and runs: each error says where, what and what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bulklink.cluster.database import conninfo_from
from bulklink.cluster.schema import initialize
from bulklink.errors import ConfigError
from tests.cluster.postgres import PostgresServer, find_program, serve_postgres
from tests.cluster.postgres_server import free_port
from tests.e2e.command import Command

pytestmark = pytest.mark.timeout(120)
PASSWORD = "hunter2-%40-secret"
COMMANDS = [
    ("cluster", "init"),
    ("cluster", "worker", "--drain"),
    ("status", "--cluster"),
    ("cluster", "cancel", "july"),
    ("cluster", "resume", "july"),
    ("cluster", "pull", "july", "-o", "pulled"),
    ("cluster", "forget", "july"),
]
"""Commands that need the database and nothing else."""


def refused(command: Command, *words: str) -> dict[str, str]:
    """Return the error of a command that is refused; it shows no password, also on a terminal."""
    result = command(*words, "--json")
    assert result.code == 2, result
    shown = command(*words)
    assert shown.code == 2, shown
    for part in ("hunter2", "secret"):
        assert part not in result.output + shown.output
    error: dict[str, str] = result.error
    assert error["where"]
    assert error["advice"]
    assert error["advice"].split()[0] in shown.err.replace("\n", " ")
    return error


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Return the command, in an empty folder, without the address of a database."""
    return Command(tmp_path)


def with_url(command: Command, url: str) -> Command:
    """Return the command with the address of a database."""
    return command.with_env(BULKLINK_CLUSTER_URL=url)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


# The address


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_missing_address_is_named(command: Command, words: tuple[str, ...]) -> None:
    error = refused(command, *words)
    assert error["where"] == "BULKLINK_CLUSTER_URL"
    assert "missing" in error["message"]
    assert "postgresql://USER@HOST/DATABASE" in error["advice"]


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{PASSWORD}@127.0.0.1/crm",
        f"postgres//me:{PASSWORD}@127.0.0.1/crm",
        "postgresql://me:hunter2%zzsecret@127.0.0.1/crm",
        "host=127.0.0.1 password=hunter2 secret",
        "hunter2secret",
        "postgresql://me:top@hunter2@localhost/crm",
        "postgresql://hunter2\udcff@127.0.0.1/crm",
    ],
    ids=ascii,
)
def test_what_is_no_address_of_postgresql_is_refused_without_its_text(
    command: Command, url: str
) -> None:
    error = refused(with_url(command, url), "status", "--cluster")
    assert error["where"] == "BULKLINK_CLUSTER_URL"
    assert error["message"] == "This is not the address of a PostgreSQL database."


def test_an_unknown_parameter_of_the_address_is_named(command: Command) -> None:
    url = f"postgresql://me:{PASSWORD}@127.0.0.1/crm?sslmod=require"
    error = refused(with_url(command, url), "status", "--cluster")
    assert 'invalid URI query parameter: "sslmod"' in error["message"]


@pytest.mark.parametrize("port", ["99999", "hello"])
def test_a_port_that_is_none_is_named(command: Command, port: str) -> None:
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/crm"
    error = refused(with_url(command, url), "status", "--cluster")
    assert port in error["message"]


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "nonsense"])
def test_another_machine_is_not_reached_without_encryption(command: Command, mode: str) -> None:
    url = f"postgresql://me:{PASSWORD}@db.example.com/crm?sslmode={mode}"
    error = refused(with_url(command, url), "cluster", "worker")
    assert error["where"] == "BULKLINK_CLUSTER_URL"
    assert f"sslmode={mode}" in error["message"]
    assert "verify-full" in error["advice"]


@pytest.mark.parametrize(
    ("url", "environ", "mode", "roots"),
    [
        ("postgresql://db.example.com/crm", {}, "verify-full", "system"),
        ("postgresql://localhost,db.example.com/crm", {}, "verify-full", "system"),
        ("postgresql:///crm", {"PGHOST": "db.example.com"}, "verify-full", "system"),
        ("postgresql:///crm", {"PGHOSTADDR": "10.0.0.5"}, "verify-full", "system"),
        ("postgresql:///crm", {"PGSERVICE": "crm"}, "verify-full", "system"),
        ("service=crm", {}, "verify-full", "system"),
        ("postgresql://db.example.com/crm?sslmode=require", {}, "require", None),
        ("postgresql://db.example.com/crm?sslrootcert=/ca", {}, "verify-full", "/ca"),
        ("postgresql://localhost/crm", {}, None, None),
        ("postgresql://[::1]/crm", {}, None, None),
        ("postgresql:///crm?host=/run/postgresql", {}, None, None),
        ("postgresql:///crm", {"PGHOST": "127.0.0.1"}, None, None),
    ],
)
def test_only_a_server_on_this_machine_is_reached_without_tls(
    url: str, environ: dict[str, str], mode: str | None, roots: str | None
) -> None:
    parts = conninfo_to_dict(conninfo_from(environ | {"BULKLINK_CLUSTER_URL": url}))
    assert (parts.get("sslmode"), parts.get("sslrootcert")) == (mode, roots)


def test_sslmode_require_suits_libpq(postgres: PostgresServer) -> None:
    conninfo = conninfo_from(
        {"BULKLINK_CLUSTER_URL": "postgresql://postgres@db.example.com/x?sslmode=require"}
    )
    # Only to get past the name, which no test may look up: TLS is refused by a server without it.
    there = make_conninfo(conninfo, hostaddr="127.0.0.1", port=postgres.port)
    with pytest.raises(ConfigError, match="does not support SSL") as refusal:
        initialize(there)
    assert "ssl=on" in refusal.value.advice


# The server


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_server_that_is_down_is_named(command: Command, words: tuple[str, ...]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        url = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/crm"
        error = refused(with_url(command, url), *words)
    assert error["where"] == f"127.0.0.1:{port}/crm"
    assert "Connection refused" in error["message"]
    assert error["advice"].startswith("Start the server")


def test_a_host_that_is_unknown_is_named(command: Command) -> None:
    url = f"postgresql://me:{PASSWORD}@nohost.invalid/crm"
    error = refused(with_url(command, url), "status", "--cluster")
    assert error["where"] == "nohost.invalid:5432/crm"
    assert "nohost.invalid" in error["message"]


def test_a_wrong_password_is_refused_and_not_shown(
    command: Command, postgres: PostgresServer
) -> None:
    with postgres.demanding_password("keeper"):
        with connected(postgres.url) as connection:
            connection.execute("CREATE ROLE keeper LOGIN PASSWORD 'right'")
        url = f"postgresql://keeper:{PASSWORD}@127.0.0.1:{postgres.port}/postgres"
        error = refused(with_url(command, url), "status", "--cluster")
        assert "password authentication failed" in error["message"]
        assert "~/.pgpass" in error["advice"]
        error = refused(with_url(command, url.replace(f":{PASSWORD}", "")), "status", "--cluster")
        assert "no password supplied" in error["message"]
        assert "~/.pgpass" in error["advice"]


def test_a_database_that_is_missing_is_named(command: Command, postgres: PostgresServer) -> None:
    error = refused(with_url(command, postgres.url_of("nowhere")), "cluster", "init")
    assert 'database "nowhere" does not exist' in error["message"]
    assert error["advice"].startswith("Create it")


def test_a_user_who_may_not_create_a_schema_is_told_what_to_grant(
    command: Command, postgres: PostgresServer
) -> None:
    address = postgres.create_database()
    with connected(address) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    guest = with_url(command, address.replace("postgres@", "guest@"))
    error = refused(guest, "cluster", "init")
    assert "permission denied" in error["message"]
    assert "GRANT CREATE ON DATABASE" in error["advice"]
    initialize(conninfo_from({"BULKLINK_CLUSTER_URL": address}))
    error = refused(guest, "status", "--cluster")
    assert "permission denied" in error["message"] or "not been prepared" in error["message"]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_replica_is_refused(
    command: Command, replica: PostgresServer, words: tuple[str, ...]
) -> None:
    error = refused(with_url(command, replica.url), *words)
    assert error["where"] == f"127.0.0.1:{replica.port}/postgres"
    assert "replica" in error["message"]
    assert "primary" in error["advice"]


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Run a primary of its own with a replica, and return the replica."""
    with serve_postgres() as primary, primary.replica() as copy:
        yield copy


@pytest.mark.parametrize("value", ["off", "local"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_server_that_does_not_wait_for_its_disk_is_refused(
    command: Command, url: str, words: tuple[str, ...], value: str
) -> None:
    with connected(url) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {value}".encode())
    error = refused(with_url(command, url), *words)
    assert f"synchronous_commit is {value}" in error["message"]
    assert "fsync is" not in error["message"]
    assert "synchronous_commit" in error["advice"]


def test_a_server_that_does_not_flush_is_refused(command: Command) -> None:
    with serve_postgres(fsync="off") as server:
        error = refused(with_url(command, server.url), "cluster", "init")
    assert "fsync is off" in error["message"]
    assert "synchronous_commit is" not in error["message"]


@pytest.mark.parametrize(
    ("ignored", "reason"), [("", "startup parameter"), ("options", "A pooler gives")], ids=str
)
def test_a_pooler_of_transactions_is_refused(
    command: Command, postgres: PostgresServer, tmp_path: Path, ignored: str, reason: str
) -> None:
    with pooler(postgres, tmp_path, ignored) as port:
        error = refused(with_url(command, postgres.url_of("postgres", port)), "cluster", "init")
    assert reason in error["message"]
    assert "connect to the server itself" in error["advice"].lower()


@contextmanager
def pooler(postgres: PostgresServer, folder: Path, ignored: str) -> Iterator[int]:
    """Run a pooler that gives each transaction any connection; return its port."""
    program = find_program("pgbouncer")
    port = free_port()
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "any",
        "pool_mode": "transaction",
        "ignore_startup_parameters": ignored,
    }
    lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
    server = f"* = host=127.0.0.1 port={postgres.port} user=postgres\n"
    file = folder / "pgbouncer.ini"
    file.write_text(f"[databases]\n{server}[pgbouncer]\n{lines}")
    process = subprocess.Popen(
        [program, *(["-u", postgres.user] if postgres.user else []), str(file)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        while "process up" not in (line := process.stderr.readline()):
            assert line, "it ended"
        yield port
    finally:
        process.terminate()
        process.communicate()


# The schema


@pytest.mark.parametrize("words", COMMANDS[1:], ids=" ".join)
def test_a_database_that_is_not_prepared_is_named(
    command: Command, postgres: PostgresServer, words: tuple[str, ...]
) -> None:
    error = refused(with_url(command, postgres.create_database()), *words)
    assert "not been prepared" in error["message"]
    assert "bulklink cluster init" in error["advice"]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_newer_schema_is_left_alone(command: Command, url: str, words: tuple[str, ...]) -> None:
    set_version(url, 2)
    error = refused(with_url(command, url), *words)
    assert "version 2" in error["message"]
    assert "Update bulklink" in error["advice"]
    assert version(url) == 2


@pytest.mark.parametrize("words", COMMANDS[1:], ids=" ".join)
def test_an_older_schema_is_named(command: Command, url: str, words: tuple[str, ...]) -> None:
    set_version(url, 0)
    error = refused(with_url(command, url), *words)
    assert "version 0" in error["message"]
    assert "bulklink cluster init" in error["advice"]


def test_an_older_schema_is_updated_or_left_alone(command: Command, url: str) -> None:
    set_version(url, 0)
    error = refused(with_url(command, url), "cluster", "init")
    assert "version 0" in error["message"]
    assert "Pull its runs" in error["advice"]
    assert version(url) == 0
    script = "ALTER TABLE run ADD COLUMN note text; ALTER TABLE run ADD COLUMN other text"
    conninfo = conninfo_from({"BULKLINK_CLUSTER_URL": url})
    with pytest.raises(ConfigError, match="syntax error"):
        initialize(conninfo, updates={0: f"{script}; ALTER"})
    assert initialize(conninfo, updates={0: script})
    assert version(url) == 1
    assert not initialize(conninfo, updates={0: script})
    assert with_url(command, url)("status", "--cluster").code == 0


def set_version(url: str, number: int) -> None:
    with connected(url) as connection:
        connection.execute("UPDATE bulklink.setting SET version = %s", (number,))


def version(url: str) -> int:
    with connected(url) as connection:
        row = connection.execute("SELECT version FROM bulklink.setting").fetchone()
    assert row is not None
    return int(row[0])


def test_the_second_init_changes_nothing(command: Command, postgres: PostgresServer) -> None:
    prepared = with_url(command, postgres.create_database())
    assert prepared("cluster", "init").out.endswith(" is ready.\n")
    assert prepared("cluster", "init").out.endswith(" was prepared before.\n")


# The extra


@pytest.mark.parametrize("missing", ["psycopg", "procrastinate"])
def test_a_missing_extra_is_named(
    command: Command, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("bulklink.cluster.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("bulklink.cluster.schema", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    for words in COMMANDS:
        error = refused(with_url(command, "postgresql://127.0.0.1/crm"), *words)
        assert missing in error["message"]
        assert "pip install 'bulklink[cluster]'" in error["advice"]
