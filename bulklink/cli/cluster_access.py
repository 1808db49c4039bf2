"""The database of a cluster, for commands; its libraries are an extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bulklink.counts import count_of
from bulklink.errors import ConfigError, RunDirError, UsageError

if TYPE_CHECKING:
    from bulklink.cluster.database import ClusterDatabase
    from bulklink.cluster.runs import ClusterRun, RunTable
    from bulklink.cluster.timing import ClusterTiming


def import_schema() -> Any:
    """Return the module `schema` of clusters.

    Raises:
        ConfigError: if the extra is not installed.
    """
    try:
        from bulklink.cluster import schema  # noqa: PLC0415 - an extra
    except ImportError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(
            f"The libraries of clusters are not installed: {reason}.",
            where="bulklink[cluster]",
            advice="Install them: pip install 'bulklink[cluster]'.",
        ) from None
    return schema


def open_cluster() -> tuple[ClusterDatabase, ClusterTiming]:
    """Connect to the database of `BULKLINK_CLUSTER_URL`, and return it with the cluster's times.

    The connection is closed at the end of the command.

    Raises:
        ConfigError: if it cannot be used, or the extra is not installed.
    """
    import_schema()
    from bulklink.cluster.database import conninfo_from  # noqa: PLC0415 - an extra
    from bulklink.cluster.schema import open_cluster_database  # noqa: PLC0415 - an extra

    database, timing = open_cluster_database(conninfo_from())
    click.get_current_context().call_on_close(database.close)
    return database, timing


@contextmanager
def open_runs(
    name: str, *, whole_jobs: bool = False
) -> Iterator[tuple[RunTable, list[ClusterRun]]]:
    """Yield the runs of the cluster, and of these the one with a name, or those of a job.

    Args:
        name: name or id of a run or of a job.
        whole_jobs: whether a shard alone is refused.

    Raises:
        ConfigError: if the database cannot be used, in the block too.
        RunDirError: if there is no such run, or it is a shard alone.
        UsageError: if several have that name.
    """
    database, _ = open_cluster()
    from bulklink.cluster.database import database_errors  # noqa: PLC0415 - an extra
    from bulklink.cluster.runs import RunTable  # noqa: PLC0415 - an extra

    table = RunTable(database)
    with database_errors(database.conninfo):
        runs = _find(table, name)
        if whole_jobs:
            _refuse_shard(table, runs, name)
        yield table, runs


def _refuse_shard(table: RunTable, runs: list[ClusterRun], name: str) -> None:
    job = runs[0].job
    if job is not None and len(runs) < len(table.find(str(job))):
        raise RunDirError(
            "This is a shard of a job.", where=name, advice=f"Name the job, by its name or {job}."
        )


def _find(table: RunTable, name: str) -> list[ClusterRun]:
    is_text = name.encode("utf-8", "replace").decode() == name  # as all names in the database
    runs = table.find(name) if is_text else []
    if not runs:
        raise RunDirError(
            "The cluster has no such run.",
            where=name,
            advice="See what it has: `bulklink status --cluster`.",
        )
    ids = list(dict.fromkeys(str(each.job or each.run) for each in runs))
    if len(ids) > 1:
        raise UsageError(
            f"{count_of(len(ids), 'run')} have this name.",
            where=name,
            advice=f"Name one by its id: {', '.join(ids)}.",
        )
    return runs
