"""The database of a cluster, for commands; its libraries are an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bulklink.errors import ConfigError

if TYPE_CHECKING:
    from bulklink.cluster.database import ClusterDatabase
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
