"""A private DuckDB database: queries that can be interrupted, rows as a stream."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb

from bulklink.errors import RunDirError
from bulklink.mapping.interrupt import interrupted_planning_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulklink.mapping.interrupt import PlanningStop

#: Memory of the engine; beyond it DuckDB goes on in its temporary folder.
PLANNING_MEMORY = "512MB"
#: DuckDB's own batches are of this size; a multiple of it adds nothing.
FETCH_ROWS = 2048


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn DuckDB's errors that a person can do something about into bulklink's own."""
    try:
        yield
    except duckdb.InterruptException:
        raise interrupted_planning_error() from None
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise RunDirError(
            "The plan cannot be made: " + str(error).splitlines()[0][:300],
            where="--memory, --run-dir",
            advice="Give it more by --memory, or make room on the disks of the run folder and of"
            " the temporary folder.",
        ) from None


class Database:
    """An in-memory database that spills into `spill`, a folder it makes when it needs it.

    Args:
        spill: where data beyond the memory limit goes; removed when the database is closed.
        stop: ends the running query when it is told to.
        threads: how many threads a query uses; None for at most four of the machine's.
        memory: DuckDB's memory limit, such as `512MB`.
    """

    def __init__(
        self,
        spill: Path,
        stop: PlanningStop,
        *,
        threads: int | None = None,
        memory: str = PLANNING_MEMORY,
    ) -> None:
        self._stop = stop
        self._connection = duckdb.connect(
            config={
                "threads": threads or min(4, os.cpu_count() or 1),
                "memory_limit": memory,
                "temp_directory": str(spill),
                # Row numbers and the order of the sealed plan stand on this.
                "preserve_insertion_order": True,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        # Tables that are in memory alone are not compressed unless their database asks for it.
        self._connection.execute("ATTACH ':memory:' AS plan (COMPRESS)")
        self._connection.execute("USE plan")
        # Estimates of the checks' filters are far off, and a join that keeps the rows of the
        # mapping in memory instead of the few that it looks up does not end. Every join here
        # has the smaller side on the right.
        self._connection.execute(
            "SET GLOBAL disabled_optimizers = 'join_order,build_side_probe_side'"
        )
        # It draws nothing: `stop` asks how far a query is.
        self._connection.execute("SET enable_progress_bar = true")
        self._connection.execute("SET enable_progress_bar_print = false")
        stop.add_connection(self._connection)

    def execute(self, sql: str) -> int:
        """Run one statement; return the number of rows it wrote, if it says one."""
        self._stop.check()
        with translate_errors():
            answer = self._connection.execute(sql).fetchone()
        return int(answer[0]) if answer and isinstance(answer[0], int) else 0

    def fetch_one(self, sql: str) -> tuple[Any, ...]:
        """Run a query that has exactly one row and return it."""
        self._stop.check()
        with translate_errors():
            answer = self._connection.execute(sql).fetchone()
        if answer is None:
            raise LookupError("a query for one row had none")
        return answer

    def batches(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and stream its rows, some two thousand at a time."""
        self._stop.check()
        cursor = self._connection.cursor()
        self._stop.add_connection(cursor)
        try:
            with translate_errors():
                cursor.execute("USE plan")
                cursor.execute(sql)
                while batch := cursor.fetchmany(FETCH_ROWS):
                    yield batch
                    self._stop.check()
        finally:
            self._stop.remove_connection(cursor)
            cursor.close()

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run a query and stream its rows one by one."""
        for batch in self.batches(sql):
            yield from batch

    def insert(self, table: str, rows: Sequence[tuple[str | None, ...]]) -> None:
        """Put some rows of texts into a table that has as many columns."""
        self._stop.check()
        columns = [list(column) for column in zip(*rows, strict=True)]
        values = ", ".join(f"unnest(${place}::VARCHAR[])" for place in range(1, len(columns) + 1))
        with translate_errors():
            self._connection.execute(f"INSERT INTO {table} SELECT {values}", columns)

    def close(self) -> None:
        """Close the database; its data is gone."""
        self._stop.remove_connection(self._connection)
        self._connection.close()
