"""A handle on planning from another thread: it ends it, and sees how far it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

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


class Stage(msgspec.Struct, frozen=True):
    """What planning does now, and the part of that which is done; None where it cannot be told.

    `size` is how many bytes are read in it; None where it reads no file from end to end.
    """

    name: str
    share: float | None = None
    size: int | None = None


class Stop:
    """Ends the planning that it was given to, and tells how far it is, from any thread.

    DuckDB does not look at signals while a query runs outside the main thread, and Python loops
    look at none but their own: both are reached through this.
    """

    __slots__ = ("_connections", "_lock", "_name", "_one_query", "_reached", "_size", "_wanted")

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[duckdb.DuckDBPyConnection] = set()
        self._name = ""
        self._size: int | None = None
        self._one_query = False
        self._reached = 0

    def begins(self, stage: str, size: int | None = None, *, one_query: bool = False) -> None:
        """Tell what is done from now on.

        Args:
            stage: what that is, as a person reads it.
            size: bytes of the file that it reads from end to end, if it does.
            one_query: whether it is one query; of several, no share of all can be told.
        """
        self._name, self._size, self._one_query, self._reached = stage, size, one_query, 0

    def reached(self, place: int) -> None:
        """Tell how many bytes of its file the stage has read."""
        self._reached = place

    @property
    def stage(self) -> Stage | None:
        """What is done now; None where nothing has begun."""
        name, size = self._name, self._size
        if not name:
            return None
        if size:
            share: float | None = self._reached / size
        else:
            share = self._share_of_query() if self._one_query else None
        return Stage(name, None if share is None else min(share, 1.0), size)

    def _share_of_query(self) -> float | None:
        """Return how far the running query is, as DuckDB guesses it."""
        with self._lock:
            told = [connection.query_progress() for connection in self._connections]
        most = max(told, default=-1.0)
        return most / 100 if most >= 0 else None

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
