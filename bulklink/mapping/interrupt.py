"""Stop token and progress of planning, shared between threads."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from bulklink.errors import InterruptedPlanningError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb


def interrupted_planning_error() -> InterruptedPlanningError:
    """Build the error of a planning run that was stopped."""
    return InterruptedPlanningError(
        "Planning was interrupted; nothing was sent.",
        where="planning",
        advice="Run the same command to start again.",
    )


class PlanningStage(msgspec.Struct, frozen=True):
    """Current stage of planning and its progress.

    Args:
        name: description of the stage for the user.
        share: completed share of the stage, from 0 to 1; None if unknown.
        size: size in bytes of the file that the stage reads from end to end; None if there is none.
    """

    name: str
    share: float | None = None
    size: int | None = None


class PlanningStop:
    """Stop token of a planning run; also reports its progress. Thread-safe.

    Signals reach neither a DuckDB query outside the main thread nor a Python loop in a thread;
    this stops both.
    """

    __slots__ = (
        "_actions",
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
        self._lock = threading.RLock()  # a signal handler may interrupt `stage`
        self._connections: set[duckdb.DuckDBPyConnection] = set()
        self._actions: set[Callable[[], object]] = set()
        self._name = ""
        self._size: int | None = None
        self._single_query = False
        self._position = 0

    def begin_stage(
        self, stage: str, size: int | None = None, *, single_query: bool = False
    ) -> None:
        """Start a stage.

        Args:
            stage: description of the stage for the user.
            size: bytes of the file that it reads from end to end, if any.
            single_query: whether the stage is one query; the progress of several is unknown.
        """
        self._name, self._size, self._single_query, self._position = stage, size, single_query, 0

    def report_position(self, position: int) -> None:
        """Report the number of bytes that the stage has read of its file."""
        self._position = position

    @property
    def stage(self) -> PlanningStage | None:
        """Current stage; None before the first one."""
        name, size = self._name, self._size
        if not name:
            return None
        if size:
            share: float | None = self._position / size
        else:
            share = self._query_share() if self._single_query else None
        return PlanningStage(name, None if share is None else min(share, 1.0), size)

    def _query_share(self) -> float | None:
        """Return the completed share of the running query, as DuckDB estimates it."""
        with self._lock:
            percentages = [connection.query_progress() for connection in self._connections]
        percentage = max(percentages, default=-1.0)
        return percentage / 100 if percentage >= 0 else None

    def interrupt(self) -> None:
        """Interrupt the running query and every later step, which then raise."""
        self._interrupted.set()
        with self._lock:
            for connection in self._connections:
                connection.interrupt()
            for action in self._actions:
                action()

    @contextmanager
    def calling(self, action: Callable[[], object]) -> Iterator[None]:
        """Make `interrupt` call a function, in the thread of its caller, while the block runs.

        The function is called immediately if planning was already interrupted.
        """
        with self._lock:
            self._actions.add(action)
            if self._interrupted.is_set():
                action()
        try:
            yield
        finally:
            with self._lock:
                self._actions.discard(action)

    def check(self) -> None:
        """Raise if planning is to stop.

        Raises:
            InterruptedPlanningError: after `interrupt` was called.
        """
        if self._interrupted.is_set():
            raise interrupted_planning_error()

    def add_connection(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register a connection whose queries `interrupt` interrupts."""
        with self._lock:
            self._connections.add(connection)

    def remove_connection(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Forget a connection before it is closed."""
        with self._lock:
            self._connections.discard(connection)
