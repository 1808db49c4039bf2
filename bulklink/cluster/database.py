"""Connections to the database of a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio.to_thread
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bulklink.errors import ConfigError
from bulklink.zoho.connection import is_loopback

T = TypeVar("T")
SCHEMA = "bulklink"
URL_VARIABLE = "BULKLINK_CLUSTER_URL"
_CONNECT_SECONDS = 5
_STATEMENT_MILLISECONDS = 10_000
_IDLE_MILLISECONDS = 10_000
"""Time after which the server ends a transaction whose client has stopped."""
ANSWER_SECONDS = 15.0
"""Time after which a statement counts as lost: longer than the server lets it take."""
_VERIFIED = ("require", "verify-ca", "verify-full")


def conninfo_from(environ: Mapping[str, str] = os.environ) -> str:
    """Return how to connect to the database, from the environment.

    The connection is encrypted, and the server's certificate checked, unless the server is on this
    machine; other addresses may lower that to `sslmode=require`, not further.

    Args:
        environ: variables of the environment.

    Raises:
        ConfigError: if the address is missing, is invalid, or asks for no encryption.
    """
    url = environ.get(URL_VARIABLE, "").strip()
    if not url:
        raise ConfigError(
            "The address of the cluster's database is missing.",
            where=URL_VARIABLE,
            advice="Set it to postgresql://USER@HOST/DATABASE; the password belongs in ~/.pgpass.",
        )
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise ConfigError(
            f"This is no address of a PostgreSQL database: {first_line(error)}.",
            where=URL_VARIABLE,
            advice="Set it to postgresql://USER@HOST/DATABASE.",
        ) from None
    return make_conninfo(**{**_defaults(parts), **parts, **_settings(parts)})


def _defaults(parts: Mapping[str, Any]) -> dict[str, Any]:
    hosts = f"{parts.get('host') or ''},{parts.get('hostaddr') or ''}".split(",")
    defaults: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": _STATEMENT_MILLISECONDS,
    }
    if all(map(_is_here, hosts)):
        return defaults
    if "sslmode" in parts and parts["sslmode"] not in _VERIFIED:
        raise ConfigError(
            f"sslmode={parts['sslmode']} would send the users' data unencrypted.",
            where=URL_VARIABLE,
            advice="Leave it out, or set sslmode=verify-full, and sslrootcert=FILE for a"
            " certificate of your own.",
        )
    return defaults | {"sslmode": "verify-full", "sslrootcert": "system"}


def _is_here(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or is_loopback(f"http://{host}")


def _settings(parts: Mapping[str, Any]) -> dict[str, Any]:
    own = (
        f"-c search_path={SCHEMA} -c statement_timeout={_STATEMENT_MILLISECONDS}"
        f" -c idle_in_transaction_session_timeout={_IDLE_MILLISECONDS}"
    )
    return {
        "application_name": "bulklink",
        "options": f"{parts.get('options') or ''} {own}".strip(),
    }


class _Connection(psycopg.Connection[Any]):
    """A connection that waits no longer than some seconds for the server.

    The system notices a connection that is lost, but not a server, or something in between, that
    keeps it open and answers nothing.
    """

    within = ANSWER_SECONDS

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        return super().wait(_limit(gen, self.within), *args, **options)


def _limit(operation: Generator[Any, Any, T], seconds: float) -> Generator[Any, Any, T]:
    """Return an operation that fails if the server is silent after some seconds."""
    end = time.monotonic() + seconds
    is_ready: Any = None
    while True:
        try:
            wanted = operation.send(is_ready)
        except StopIteration as result:
            answer: T = result.value
            return answer
        is_ready = yield wanted
        if not is_ready and time.monotonic() > end:
            raise psycopg.OperationalError("the server does not answer")


class Database:
    """One connection to the database, made when it is needed and again once it is lost.

    Each statement is a transaction of its own, so that no lock is held over a round trip. Not for
    several threads at once.

    Args:
        conninfo: how to connect.
    """

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self._connection: _Connection | None = None

    def query(
        self,
        statement: str,
        values: Mapping[str, Any] | None = None,
        *,
        within: float = ANSWER_SECONDS,
    ) -> list[Any]:
        """Execute a statement, and return its rows.

        Args:
            statement: the statement, with places such as %(run)s.
            values: values of the places.
            within: seconds after which it counts as lost; a new connection may take 2 s longer.

        Raises:
            psycopg.Error: if that failed; after an `OperationalError` it is unknown whether it was
                carried out.
        """
        connection = self._connected(within)
        try:
            cursor = connection.execute(statement.encode(), values, prepare=True)
            return cursor.fetchall() if cursor.description else []
        except (psycopg.OperationalError, psycopg.InterfaceError):
            self.close()
            raise

    def query_one(
        self,
        statement: str,
        values: Mapping[str, Any] | None = None,
        *,
        within: float = ANSWER_SECONDS,
    ) -> Any:
        """Execute a statement as `query` does, and return its only row; None if it has none."""
        rows = self.query(statement, values, within=within)
        return rows[0] if rows else None

    def run_script(self, script: str) -> None:
        """Execute several statements.

        Raises:
            psycopg.Error: if that failed.
        """
        self._connected().execute(script.encode())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Execute the statements of the block together or not at all; for no one who is driving."""
        with self._connected().transaction():
            yield

    def stream(self, statement: str, values: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the rows of a query as they arrive, so that memory holds few of them."""
        with self._connected().transaction(), self._connected().cursor("rows") as cursor:
            cursor.itersize = 16
            cursor.execute(statement.encode(), values)
            yield from cursor

    def close(self) -> None:
        """Close the connection; the next statement makes another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self, within: float = ANSWER_SECONDS) -> _Connection:
        within = min(within, ANSWER_SECONDS)
        if self._connection is None or self._connection.closed:
            seconds = max(1, min(_CONNECT_SECONDS, int(within)))  # libpq takes 1 as 2
            self._connection = _Connection.connect(
                self.conninfo, autocommit=True, connect_timeout=seconds
            )
        self._connection.within = within
        return self._connection


class UnreachableDatabaseError(ConfigError):
    """Raised when the database of a cluster does not answer."""

    code = "unreachable"


async def in_thread(function: Callable[[], T]) -> T:
    """Call a function that uses the database in a thread."""
    return await anyio.to_thread.run_sync(function)


def ask(database: Database, function: Callable[[], T]) -> T:
    """Call a function that uses the database, for a command that cannot go on without it.

    Raises:
        ConfigError: if the database cannot be used.
    """
    try:
        return function()
    except psycopg.Error as error:
        raise unreachable_error(error, database.conninfo) from None


def unreachable_error(error: psycopg.Error, conninfo: str) -> ConfigError:
    """Return the error of a command that cannot use the database, without its password."""
    is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return (UnreachableDatabaseError if is_away else ConfigError)(
        f"The database of the cluster cannot be used: {first_line(error)}.",
        where=describe(conninfo),
        advice="Start the server, and compare the address, the user and the password in"
        f" {URL_VARIABLE} and ~/.pgpass.",
    )


def describe(conninfo: str) -> str:
    """Return where a database is, without secrets: host, port and name."""
    parts = conninfo_to_dict(conninfo)
    host = parts.get("host") or parts.get("hostaddr") or "this machine"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or parts.get('user') or ''}"


def first_line(error: psycopg.Error) -> str:
    """Return what the server or the connection says, in a line."""
    diagnosis = error.diag.message_primary
    text = diagnosis or str(error).strip().partition("\n")[0] or type(error).__name__
    return text.rstrip(".")
