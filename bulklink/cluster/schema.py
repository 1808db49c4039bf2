"""Schema of the database: created by `cluster init`, checked by every other command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from importlib import resources

import msgspec
import procrastinate

from bulklink.cluster.database import SCHEMA, ClusterDatabase, database_errors, describe
from bulklink.cluster.timing import ClusterTiming
from bulklink.decoding import decode_json
from bulklink.errors import ConfigError

SCHEMA_VERSION = 1
_MIN_SERVER = 140_000
_UPDATES: Mapping[int, str] = {}
"""The script that leads from a version of the schema to the next one."""
_SETTINGS = """
SELECT pg_is_in_recovery(), current_setting('server_version_num')::int,
       current_setting('synchronous_commit'), current_setting('fsync')
"""


def initialize(
    conninfo: str,
    timing: ClusterTiming | None = None,
    *,
    updates: Mapping[int, str] = _UPDATES,
) -> bool:
    """Create the schema, or update that of an older version.

    Args:
        conninfo: how to connect.
        timing: times of a new cluster; None for the usual ones.
        updates: the script that leads from a version of the schema to the next one.

    Returns:
        Whether anything was created or updated.

    Raises:
        ConfigError: if the database cannot be used, has the schema of a newer version, or one that
            cannot be updated.
    """
    database = ClusterDatabase(conninfo)
    with closing(database), database_errors(conninfo):
        _check_server(database)
        with database.transaction():
            database.query("SELECT pg_advisory_xact_lock(hashtext('bulklink cluster init'))")
            version = _read_version(database)
            if version is None:
                _create(database, timing or ClusterTiming())
            else:
                _update(database, version, updates)
    return version != SCHEMA_VERSION


def _create(database: ClusterDatabase, timing: ClusterTiming) -> None:
    content = resources.files("bulklink.cluster").joinpath("schema.sql").read_text("utf-8")
    database.run_script(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    database.run_script(_queue_schema())
    database.run_script(content)
    database.query(
        "INSERT INTO setting (version, timing) VALUES (%(version)s, %(timing)s::jsonb)",
        {"version": SCHEMA_VERSION, "timing": msgspec.json.encode(timing).decode()},
    )


def _update(database: ClusterDatabase, version: int, updates: Mapping[int, str]) -> None:
    if version > SCHEMA_VERSION:
        _check_version(version, database.conninfo)
    for older in range(version, SCHEMA_VERSION):
        if older not in updates:
            raise ConfigError(
                f"The schema of this database is version {older}, which this bulklink cannot"
                " update.",
                where=describe(database.conninfo),
                advice="Pull its runs with the bulklink that made it, and prepare a new database.",
            )
        database.run_script(updates[older])
    database.query("UPDATE setting SET version = %(version)s", {"version": SCHEMA_VERSION})


def open_cluster_database(conninfo: str) -> tuple[ClusterDatabase, ClusterTiming]:
    """Connect to the database of a cluster, and return it with the cluster's times.

    Args:
        conninfo: how to connect.

    Raises:
        ConfigError: if it cannot be used: no server, a refused password, a replica, a server that
            may lose what it has confirmed, or the schema of another version.
    """
    database = ClusterDatabase(conninfo)
    with ExitStack() as stack:
        stack.callback(database.close)
        with database_errors(conninfo):
            _check_server(database)
            _check_version(_read_version(database), conninfo)
            ((timing,),) = database.query("SELECT timing::text FROM setting")
        stack.pop_all()
    return database, decode_json(timing, ClusterTiming)


def _queue_schema() -> str:
    """Return the schema of the queue's library, for the schema of the cluster."""
    return procrastinate.schema.SchemaManager.get_schema()


def _read_version(database: ClusterDatabase) -> int | None:
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


def _check_server(database: ClusterDatabase) -> None:
    """Refuse a server that must not be relied on."""
    where = describe(database.conninfo)
    if _is_pooled(database):
        raise ConfigError(
            "A pooler gives each statement another connection, so settings and notifications of a"
            " session are lost.",
            where=where,
            advice="Connect to the server itself, or let the pooler pool sessions.",
        )
    ((is_replica, version, commits, flushes),) = database.query(_SETTINGS)
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
    if unsafe := list(_unsafe_settings(commits, flushes)):
        raise ConfigError(
            f"This server may lose what it has confirmed: {' and '.join(unsafe)}.",
            where=where,
            advice="Set both to on: synchronous_commit by ALTER ROLE … SET, fsync in"
            " postgresql.conf.",
        )


def _unsafe_settings(commits: str, flushes: str) -> Iterator[str]:
    if commits in ("off", "local"):
        yield f"synchronous_commit is {commits}"
    if flushes == "off":
        yield "fsync is off"


def _is_pooled(database: ClusterDatabase) -> bool:
    """Return whether connections share the processes of the server.

    Then another connection is served by the same process, or this one by another process while that
    one is in use.
    """
    process, other = database.process(), ClusterDatabase(database.conninfo)
    try:
        with other.transaction():
            return other.process() == process or database.process() != process
    finally:
        other.close()
