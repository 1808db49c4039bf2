"""A handle on planning from another thread: it ends it, and sees how far it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from bulklink.errors import InterruptedPlanningError

if TYPE_CHECKING:
    import duckdb


def interrupted_planning_error() -> InterruptedPlanningError:
    """Say that planning was ended."""
    return InterruptedPlanningError(
        "Planning was interrupted; nothing was sent.",
        where="planning",
        advice="The same command begins anew.",
    )


class PlanningStage(msgspec.Struct, frozen=True):
    """What planning does now, and the part of that which is done; None where it cannot be told.

    `size` is how many bytes are read in it; None where it reads no file from end to end.
    """

    name: str
    share: float | None = None
    size: int | None = None


class PlanningStop:
    """Ends the planning that it was given to, and tells how far it is, from any thread.

    DuckDB does not look at signals while a query runs outside the main thread, and Python loops
    look at none but their own: both are reached through this.
    """

    __slots__ = (
        "_connections",
        "_interrupted",
        "_lock",
        "_name",
        "_position",
        "_single_query",
        "_size",
    )

    def __init__(self) -> None:
        self._interrupted = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[duckdb.DuckDBPyConnection] = set()
        self._name = ""
        self._size: int | None = None
        self._single_query = False
        self._position = 0

    def begin_stage(
        self, stage: str, size: int | None = None, *, single_query: bool = False
    ) -> None:
        """Tell what is done from now on.

        Args:
            stage: what that is, as a person reads it.
            size: bytes of the file that it reads from end to end, if it does.
            single_query: whether it is one query; of several, no share of all can be told.
        """
        self._name, self._size, self._single_query, self._position = stage, size, single_query, 0

    def report_position(self, position: int) -> None:
        """Tell how many bytes of its file the stage has read."""
        self._position = position

    @property
    def stage(self) -> PlanningStage | None:
        """What is done now; None where nothing has begun."""
        name, size = self._name, self._size
        if not name:
            return None
        if size:
            share: float | None = self._position / size
        else:
            share = self._query_share() if self._single_query else None
        return PlanningStage(name, None if share is None else min(share, 1.0), size)

    def _query_share(self) -> float | None:
        """Return how far the running query is, as DuckDB guesses it."""
        with self._lock:
            percentages = [connection.query_progress() for connection in self._connections]
        most = max(percentages, default=-1.0)
        return most / 100 if most >= 0 else None

    def interrupt(self) -> None:
        """End the running query and every step after it; the work raises."""
        self._interrupted.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt()

    def check(self) -> None:
        """Raise if the end is wanted.

        Raises:
            InterruptedPlanningError: after `interrupt` was called.
        """
        if self._interrupted.is_set():
            raise interrupted_planning_error()

    def add_connection(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let `interrupt` reach the queries of this connection."""
        with self._lock:
            self._connections.add(connection)

    def remove_connection(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection go before it is closed."""
        with self._lock:
            self._connections.discard(connection)
