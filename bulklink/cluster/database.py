"""Connections to the database of a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio.to_thread
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bulklink.cluster.clocks import now
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
_ENCRYPTED = ("require", "verify-ca", "verify-full")
_NAMES_OF_HOSTS = {"host", "hostaddr", "service"}
_ADVICE = {
    "startup parameter": "A pooler refuses the settings of a session: connect to the server"
    " itself.",
    "prepared statement": "A pooler mixes up the sessions: connect to the server itself, or let it"
    " pool sessions.",
    "certificate": "Use the name of the host that is in its certificate; for a certificate of your"
    " own, add sslrootcert=FILE to the address.",
    "SSL": "Set up TLS on the server (ssl=on), and sslmode=verify-full in the address.",
    "too many": "Raise max_connections on the server, or use fewer slots: each run takes four"
    " connections.",
    "pg_hba.conf": "Allow this machine and user in the server's pg_hba.conf.",
    "password": f"Compare user and password in {URL_VARIABLE} and ~/.pgpass, which must have mode"
    " 0600.",
    "read-only": "Give the address of the primary; this one cannot be written.",
    "permission denied": "Use the user that ran `bulklink cluster init`; it needs the right to"
    " create a schema: GRANT CREATE ON DATABASE … TO ….",
    "does not exist": f"Create it, or correct {URL_VARIABLE}.",
}
"""What to do, by a part of what the server says; the first one counts."""


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
        raise _address_error(first_line(error)) from None
    except UnicodeEncodeError:
        raise _address_error() from None
    if "@" in str(parts.get("host")):  # a part of a password, which no message may show
        raise _address_error()
    if not _NAMES_OF_HOSTS & parts.keys():
        hosts = {"host": environ.get("PGHOST"), "hostaddr": environ.get("PGHOSTADDR")}
        parts |= {name: host for name, host in hosts.items() if host}
    is_here = _is_here(parts) and not (parts.get("service") or environ.get("PGSERVICE"))
    return make_conninfo(**{**_defaults(parts, is_here=is_here), **parts, **_settings(parts)})


def _address_error(text: str = "") -> ConfigError:
    """Return what is wrong with an address, without its text, which may have a password.

    Args:
        text: what the library says about it.
    """
    reason = f": {text}" if text.startswith("invalid URI query parameter") else ""
    return ConfigError(
        f"This is not the address of a PostgreSQL database{reason}.",
        where=URL_VARIABLE,
        advice="Set it to postgresql://USER@HOST/DATABASE. A password belongs in ~/.pgpass; in the"
        " address, its special characters are written as %40 for @, %2F for /, %25 for %.",
    )


def _defaults(parts: Mapping[str, Any], *, is_here: bool) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": _STATEMENT_MILLISECONDS,
    }
    if is_here:
        return defaults
    mode = parts.get("sslmode", "verify-full")
    if mode not in _ENCRYPTED:
        raise ConfigError(
            f"sslmode={mode} may send the users' data unencrypted.",
            where=URL_VARIABLE,
            advice="Leave it out, or set sslmode=verify-full, and sslrootcert=FILE for a"
            " certificate of your own.",
        )
    # The certificates of the system, which libpq allows with verify-full alone.
    roots = {"sslrootcert": "system"} if mode == "verify-full" else {}
    return defaults | {"sslmode": mode} | roots


def _is_here(parts: Mapping[str, Any]) -> bool:
    """Return whether all hosts of an address are this machine, as without any."""
    hosts = f"{parts.get('host') or ''},{parts.get('hostaddr') or ''}".split(",")
    return all(map(_is_local, hosts))


def _is_local(host: str) -> bool:
    shown = f"[{host}]" if ":" in host else host
    return not host or host.startswith(("/", "@")) or is_loopback(f"http://{shown}")


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
    end = now().boot + seconds
    is_ready: Any = None
    while True:
        try:
            wanted = operation.send(is_ready)
        except StopIteration as result:
            answer: T = result.value
            return answer
        is_ready = yield wanted
        if not is_ready and now().boot > end:
            raise psycopg.OperationalError("the server does not answer")


class ClusterDatabase:
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

    def process(self) -> int:
        """Return the process of the server that serves this connection now."""
        row = self._connected().execute(b"SELECT pg_backend_pid()", prepare=False).fetchone()
        return int(row[0]) if row else 0

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

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Execute the queries of the block on the database as it is at the first of them."""
        with self.transaction():
            self.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield

    def stream(self, statement: str, values: Mapping[str, Any]) -> Generator[Any, None, None]:
        """Yield the rows of a query as they arrive, so that memory holds few of them.

        It is to be closed, as its transaction ends with it.
        """
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


async def call_in_thread(function: Callable[..., T], *args: object) -> T:
    """Call a function that uses the database in a thread; its statements have time-outs."""
    return await anyio.to_thread.run_sync(function, *args)


@contextmanager
def database_errors(conninfo: str) -> Iterator[None]:
    """Raise errors of the database as what a command reports that cannot go on without it.

    Args:
        conninfo: how it connects.

    Raises:
        ConfigError: if the database cannot be used; an `UnreachableDatabaseError` if it is away.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _database_error(error, conninfo) from None


def _database_error(error: psycopg.Error, conninfo: str) -> ConfigError:
    """Return the error of a command that cannot use the database, without its password."""
    text = first_line(error)
    advice = [advice for part, advice in _ADVICE.items() if part in text]
    is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return (UnreachableDatabaseError if is_away else ConfigError)(
        f"The database of the cluster cannot be used: {text}.",
        where=describe(conninfo),
        advice=advice[0]
        if advice
        else f"Start the server, and compare its address in {URL_VARIABLE}. Its log says more.",
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
    return text.removeprefix("connection failed: ").removeprefix("connection is bad: ").rstrip(".")
