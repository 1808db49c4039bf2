"""Schema of the database: created by `cluster init`, checked by every other command."""

from __future__ import annotations

from importlib import resources

import msgspec
import procrastinate
import psycopg

from bulklink.cluster.database import SCHEMA, Database, describe, unreachable_error
from bulklink.cluster.timing import ClusterTiming
from bulklink.errors import ConfigError

SCHEMA_VERSION = 1
_MIN_SERVER = 140_000
_UNDEFINED = (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)
_SETTINGS = """
SELECT pg_is_in_recovery(), current_setting('server_version_num')::int,
       current_setting('synchronous_commit'), current_setting('fsync'), pg_backend_pid()
"""


def initialize(conninfo: str, timing: ClusterTiming | None = None) -> bool:
    """Create the schema, unless it is there.

    Args:
        conninfo: how to connect.
        timing: times of the cluster; None for the usual ones.

    Returns:
        Whether it was created now.

    Raises:
        ConfigError: if the database cannot be used, or has the schema of another version.
    """
    database = Database(conninfo)
    try:
        _check_server(database)
        version = _read_version(database)
        if version is not None:
            _check_version(version, conninfo)
            return False
        content = resources.files("bulklink.cluster").joinpath("schema.sql").read_text("utf-8")
        with database.transaction():
            database.query("SELECT pg_advisory_xact_lock(hashtext('bulklink cluster init'))")
            if _read_version(database) is not None:
                return False
            database.run_script(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            database.run_script(_queue_schema())
            database.run_script(content)
            database.query(
                "INSERT INTO setting (version, timing) VALUES (%(version)s, %(timing)s::jsonb)",
                {
                    "version": SCHEMA_VERSION,
                    "timing": msgspec.json.encode(timing or ClusterTiming()).decode(),
                },
            )
    except psycopg.Error as error:
        raise unreachable_error(error, conninfo) from None
    finally:
        database.close()
    return True


def open_database(conninfo: str) -> tuple[Database, ClusterTiming]:
    """Connect to the database of a cluster, and return it with the cluster's times.

    Args:
        conninfo: how to connect.

    Raises:
        ConfigError: if it cannot be used: no server, a refused password, a replica, a server that
            may lose what it has confirmed, or the schema of another version.
    """
    database = Database(conninfo)
    try:
        _check_server(database)
        _check_version(_read_version(database), conninfo)
        ((timing,),) = database.query("SELECT timing::text FROM setting")
    except psycopg.Error as error:
        database.close()
        raise unreachable_error(error, conninfo) from None
    except BaseException:
        database.close()
        raise
    return database, msgspec.json.decode(timing, type=ClusterTiming)


def _queue_schema() -> str:
    """Return the schema of the queue's library, for the schema of the cluster."""
    return procrastinate.schema.SchemaManager.get_schema()


def _read_version(database: Database) -> int | None:
    """Return the version of the schema; None if there is none."""
    ((exists,),) = database.query("SELECT to_regclass(%(name)s) IS NOT NULL", {"name": "setting"})
    if not exists:
        return None
    row = database.query_one("SELECT version FROM setting")
    return None if row is None else int(row[0])


def _check_version(version: int | None, conninfo: str) -> None:
    if version is None:
        raise ConfigError(
            "This database has not been prepared for a cluster.",
            where=describe(conninfo),
            advice="Prepare it with `bulklink cluster init`, or correct BULKLINK_CLUSTER_URL.",
        )
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"The schema of this database is version {version}; this bulklink knows"
            f" {SCHEMA_VERSION}.",
            where=describe(conninfo),
            advice="Update bulklink on this machine.",
        )
    if version < SCHEMA_VERSION:
        raise ConfigError(
            f"The schema of this database is version {version}; this bulklink needs"
            f" {SCHEMA_VERSION}.",
            where=describe(conninfo),
            advice="Stop all workers, and run `bulklink cluster init`.",
        )


def _check_server(database: Database) -> None:
    """Refuse a server that must not be relied on."""
    where = describe(database.conninfo)
    ((is_replica, version, commits, flushes, process),) = database.query(_SETTINGS)
    if is_replica:
        raise ConfigError(
            "This server is a replica, which cannot be written.",
            where=where,
            advice="Give the address of the primary.",
        )
    if version < _MIN_SERVER:
        raise ConfigError(
            f"This is PostgreSQL {version // 10_000}; 14 or later is needed.",
            where=where,
            advice="Update the server.",
        )
    if commits in ("off", "local") or flushes == "off":
        raise ConfigError(
            f"This server may lose what it has confirmed: synchronous_commit is {commits}, fsync"
            f" {flushes}.",
            where=where,
            advice="Set both to on, for this user or for the server.",
        )
    if _is_pooled(database, process):
        raise ConfigError(
            "A pooler gives each statement another connection, so settings and notifications of a"
            " session are lost.",
            where=where,
            advice="Connect to the server itself, or let the pooler pool sessions.",
        )


def _is_pooled(database: Database, process: int) -> bool:
    """Return whether another connection is served by the same process of the server."""
    other = Database(database.conninfo)
    try:
        ((its_process,),) = other.query("SELECT pg_backend_pid()")
    finally:
        other.close()
    return bool(its_process == process)
