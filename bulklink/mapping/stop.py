"""A switch that ends planning from another thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bulklink.errors import InterruptedPlanningError

if TYPE_CHECKING:
    import duckdb


def interrupted() -> InterruptedPlanningError:
    """Say that planning was ended."""
    return InterruptedPlanningError(
        "Planning was interrupted; nothing was sent.",
        where="planning",
        advice="The same command begins anew.",
    )


class Stop:
    """Ends the planning that it was given to, from any thread.

    DuckDB does not look at signals while a query runs outside the main thread, and Python loops
    look at none but their own: both are reached through this.
    """

    __slots__ = ("_connections", "_lock", "_wanted")

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[duckdb.DuckDBPyConnection] = set()

    def interrupt(self) -> None:
        """End the running query and every step after it; the work raises."""
        self._wanted.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt()

    def check(self) -> None:
        """Raise if the end is wanted.

        Raises:
            InterruptedPlanningError: after `interrupt` was called.
        """
        if self._wanted.is_set():
            raise interrupted()

    def watch(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let `interrupt` reach the queries of this connection."""
        with self._lock:
            self._connections.add(connection)

    def forget(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection go before it is closed."""
        with self._lock:
            self._connections.discard(connection)
