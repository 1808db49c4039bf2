"""Private DuckDB database with interruptible queries and streamed rows."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import duckdb

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import temporary_path
from bulklink.blocking import blocks
from bulklink.duckdb_sql import DuckDBFiles, literal
from bulklink.errors import RunDirError
from bulklink.mapping.arrow_stream import column_bytes
from bulklink.mapping.interrupt import PlanningStop, interrupted_planning_error

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

#: DuckDB's memory limit; beyond it data spills to disk.
PLANNING_MEMORY = "512MB"
#: Relation of a registered frame.
FRAME = "registered_frame"
#: Rows of a batch: DuckDB's vector size; larger batches are not faster.
BATCH_ROWS = 2048
#: Rows of a batch that is read by columns: with more, the values leave the processor's cache.
COLUMN_ROWS = 512
_MAX_THREADS = min(4, os.cpu_count() or 1)
_DUCKDB = "DuckDB"
#: Errors that DuckDB raises for a Parquet file with damaged pages; `Error` itself is Thrift's.
_DAMAGE = (duckdb.Error, duckdb.InvalidInputException, duckdb.SerializationException)


_UNIT_BYTES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


def memory_bytes(memory: str) -> int:
    """Return the bytes of a memory limit, such as `512MB`."""
    number = memory.rstrip("MGiB")
    return int(number) * _UNIT_BYTES[memory.removeprefix(number)]


class DamagedTableError(RunDirError):
    """Raised when a table that bulklink wrote is damaged."""


@contextmanager
def _translate_errors(folder: Path, *, adjustable: bool) -> Iterator[None]:
    """Translate DuckDB's interrupt, memory and I/O errors into bulklink's.

    Args:
        folder: folder of the data that is spilled or written.
        adjustable: whether the user sets the memory limit.
    """
    try:
        yield
    except duckdb.InterruptException:
        raise interrupted_planning_error() from None
    except (duckdb.OutOfMemoryException, duckdb.IOException):
        free_space = "free some space on the disks of this folder and the temporary folder"
        raise RunDirError(
            "Memory or disk space ran out.",
            where=str(folder),
            advice=Advice(f"Raise {{}}, or {free_space}.", Keyword("memory"))
            if adjustable
            else f"Close other programs, or {free_space}.",
        ) from None


@contextmanager
def _translate_damage() -> Iterator[None]:
    """Translate DuckDB's errors about damaged files into bulklink's."""
    try:
        yield
    except duckdb.Error as error:
        if type(error) not in _DAMAGE:
            raise
        raise DamagedTableError(
            "A table of the run is damaged, or was changed.",
            where="plan.parquet, names.parquet",
            advice="Restore the files of the run folder from a copy.",
        ) from None


#: Maximum bytes of the files that an instance worked on if it is reused: it keeps their memory.
_MAX_REUSED_BYTES = 2**17
#: Maximum number of idle instances: planning uses two at once.
_MAX_IDLE = 2
#: Idle instances of DuckDB; closed before a fork, as a child that has one hangs at its end.
_idle: list[duckdb.DuckDBPyConnection] = []
atexit.register(_idle.clear)
if sys.platform != "win32":
    os.register_at_fork(before=_idle.clear)


def _open_instance(settings: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """Return an instance of DuckDB without data; to open one takes 20 ms, to reuse one 2 ms."""
    with suppress(IndexError):
        connection = _idle.pop()
        try:
            for name, value in settings.items():
                connection.execute(f"SET GLOBAL {name} = {literal(value)}")
        except duckdb.Error:
            connection.close()
        else:
            return connection
    connection = duckdb.connect(
        config={
            **settings,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            # It would outlive the database whose files it holds.
            "enable_external_file_cache": False,
        }
    )
    # DuckDB's row estimates for the filters of the checks are far off, and a join that builds
    # its hash table from all rows of the mapping never finishes. Every join here has its
    # smaller side on the right.
    connection.execute("SET GLOBAL disabled_optimizers = 'join_order,build_side_probe_side'")
    # Needed for `query_progress`; nothing is drawn.
    connection.execute("SET enable_progress_bar = true")
    connection.execute("SET enable_progress_bar_print = false")
    return connection


def _close_instance(connection: duckdb.DuckDBPyConnection, *, reusable: bool) -> None:
    """Drop the data of an instance and keep it for the next database, or close it."""
    try:
        if reusable and len(_idle) < _MAX_IDLE:
            connection.execute("USE memory")
            connection.execute("DETACH plan")
            _idle.append(connection)
            return
    except duckdb.Error:
        pass  # a query is still open, or the instance is broken
    connection.close()


_USE_PLAN = "USE plan"
_MIN_HALVED_MIB = 400
"""Limit from which on it can be halved, in MiB."""


class Database:
    """In-memory database that spills into a folder.

    Args:
        spill: folder for data beyond the memory limit; created on demand, removed on close.
        stop: interrupts the running query.
        threads: threads of a query; at most four if None.
        memory: DuckDB's memory limit, such as `512MB`.
        adjustable: whether the user sets this limit, so that errors advise to raise it.
        reads_parts: whether it reads a small part of its files, so that it leaves little memory.

    Attributes:
        files: the files that its queries read and write.
    """

    def __init__(
        self,
        spill: Path,
        stop: PlanningStop,
        *,
        threads: int | None = None,
        memory: str = PLANNING_MEMORY,
        adjustable: bool = False,
        reads_parts: bool = False,
    ) -> None:
        blocks(_DUCKDB)
        self._stop = stop
        self._reads_parts = reads_parts
        self._reusable = True
        self._spill = spill
        self._adjustable = adjustable
        self._translate_errors = partial(
            _translate_errors, spill.absolute().parent, adjustable=adjustable
        )
        self.files = DuckDBFiles()
        self._connection = _open_instance(
            {
                "threads": str(threads or _MAX_THREADS),
                # Row numbers and the order of the sealed plan depend on this.
                "preserve_insertion_order": "true",
                "memory_limit": memory,
                "temp_directory": self.files.spill_folder(spill),
            }
        )
        # DuckDB compresses in-memory tables only on request.
        self._connection.execute("ATTACH ':memory:' AS plan (COMPRESS)")
        self._use = _USE_PLAN
        self._connection.execute(self._use)
        stop.add_connection(self._connection)

    def execute(self, sql: str) -> int:
        """Run one statement and return the number of rows that it wrote; 0 if it reports none.

        Raises:
            DamagedTableError: if a file that it reads is damaged.
        """
        with self._translate_errors():
            return self._execute(sql)

    def copy(self, query: str, path: Path, *options: str) -> int:
        """Write the rows of a query to a file that may be on another disk than the spilled data.

        Args:
            query: a SELECT.
            path: the file; created if missing, readable only by its owner.
            options: options of COPY.

        Returns:
            The number of rows.

        Raises:
            DamagedTableError: if a file that it reads is damaged.
            RunDirError: if memory or disk space ran out; it names the folder of the file.
        """
        with _translate_errors(path.absolute().parent, adjustable=self._adjustable):
            return self._execute(self.files.copy(query, path, *options))

    def _execute(self, sql: str) -> int:
        self._begin()
        with _translate_damage():
            row = self._connection.execute(sql).fetchone()
        return int(row[0]) if row and isinstance(row[0], int) else 0

    @contextmanager
    def schema(self, name: str) -> Iterator[None]:
        """Create what the block creates in a schema of its own, which is dropped at its end.

        Names mean the relations of the schema before those of `plan.main`.

        Args:
            name: name of the schema.
        """
        self.execute(f"CREATE SCHEMA {name}")
        self._use = f"SET search_path = 'plan.{name},plan.main'"
        try:
            self.execute(self._use)
            yield
        finally:
            self._use = _USE_PLAN
            self._connection.execute(self._use)
            self._connection.execute(f"DROP SCHEMA {name} CASCADE")

    def limit_memory(self, memory: str) -> None:
        """Change the memory limit.

        Args:
            memory: DuckDB's memory limit, such as `512MB`.
        """
        self._begin()
        self._connection.execute(f"SET GLOBAL memory_limit = {literal(memory)}")

    def halve_memory(self) -> None:
        """Halve the memory limit, unless little would be left; others can use the other half."""
        (limit,) = self.fetch_one("SELECT current_setting('memory_limit')")
        amount, unit = limit.split()
        if unit == "GiB" or float(amount) >= _MIN_HALVED_MIB:
            self.limit_memory(f"{float(amount) / 2}{unit}")

    def forgo_order(self) -> None:
        """Use several threads from now on, and do not keep the order of rows."""
        self._begin()
        self._connection.execute(f"SET GLOBAL threads = {_MAX_THREADS}")
        self._connection.execute("SET GLOBAL preserve_insertion_order = false")

    def fetch_one(self, sql: str) -> tuple[Any, ...]:
        """Run a query of exactly one row and return the row."""
        self._begin()
        with _translate_damage(), self._translate_errors():
            row = self._connection.execute(sql).fetchone()
        if row is None:
            raise LookupError("a query for one row had none")
        return row

    def batches(self, sql: str, size: int = BATCH_ROWS) -> Iterator[list[tuple[Any, ...]]]:
        """Run a query and stream its rows in batches of limited size."""
        self._begin()
        cursor = self._connection.cursor()
        self._stop.add_connection(cursor)
        try:
            with _translate_damage(), self._translate_errors():
                cursor.execute(self._use)
                cursor.execute(sql)
                while batch := cursor.fetchmany(size):
                    yield batch
                    self._begin()
        finally:
            self._stop.remove_connection(cursor)
            cursor.close()

    def columns(self, sql: str) -> Iterator[tuple[tuple[Any, ...], ...]]:
        """Run a query and stream its columns in batches of rows."""
        for batch in self.batches(sql, COLUMN_ROWS):
            yield tuple(zip(*batch, strict=True))

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run a query and stream its rows one by one."""
        for batch in self.batches(sql):
            yield from batch

    def column_bytes(self, sql: str) -> Iterator[list[ctypes.Array[ctypes.c_char]]]:
        """Run a query and stream its columns as bytes, which are valid until the next batch.

        Args:
            sql: query whose columns are INTEGER, BIGINT or VARCHAR and never NULL.
        """
        self._begin()
        cursor = self._connection.cursor()
        self._stop.add_connection(cursor)
        try:
            with self._translate_errors():
                cursor.execute(self._use)
                for batch in column_bytes(cursor.sql(sql)):
                    yield batch
                    self._begin()
        except duckdb.Error:
            self._stop.check()  # the stream reports an interrupt like any other error
            raise
        finally:
            self._stop.remove_connection(cursor)
            cursor.close()

    def insert(self, table: str, rows: Sequence[tuple[str | None, ...]]) -> None:
        """Insert a batch of rows of texts into a table with as many columns."""
        self._begin()
        columns = [list(column) for column in zip(*rows, strict=True)]
        values = ", ".join(f"unnest(${number}::VARCHAR[])" for number in range(1, len(columns) + 1))
        with self._translate_errors():
            self._connection.execute(f"INSERT INTO {table} SELECT {values}", columns)

    def insert_all(self, table: str, rows: Iterable[tuple[str | None, ...]]) -> None:
        """Insert any number of rows of texts, batch by batch."""
        iterator = iter(rows)
        while batch := list(islice(iterator, BATCH_ROWS)):
            self.insert(table, batch)

    @contextmanager
    def registered(self, frame: object) -> Iterator[list[tuple[str, str]]]:
        """Make a frame readable as the relation `FRAME` during the block.

        Args:
            frame: a capsule with an Arrow stream, which one query may read, or a frame of pandas.

        Yields:
            The name and the type of each column; names are unique.
        """
        self._begin()
        # DuckDB would hold the memory of the frame's batches.
        self._reusable = False
        self._connection.register(FRAME, frame)
        try:
            described = self._connection.execute(f"DESCRIBE {FRAME}").fetchall()
            yield [(name, kind) for name, kind, *_ in described]
        finally:
            with suppress(duckdb.Error):  # the connection is broken
                self._connection.unregister(FRAME)

    def interrupt(self) -> None:
        """Interrupt the running statement, which raises `InterruptedPlanningError`. Thread-safe."""
        self._connection.interrupt()

    def check_stop(self) -> None:
        """Raise if planning is to stop.

        Raises:
            InterruptedPlanningError: if it was stopped.
        """
        self._stop.check()

    def _begin(self) -> None:
        blocks(_DUCKDB)
        self._stop.check()

    def close(self) -> None:
        """Close the database and drop its data."""
        self._stop.remove_connection(self._connection)
        small = self._reads_parts or self.files.linked_bytes <= _MAX_REUSED_BYTES
        reusable = self._reusable and small and not self._spill.exists()
        _close_instance(self._connection, reusable=reusable)
        self.files.close()


def spill_folder(path: Path) -> Path:
    """Return a new spill folder next to the file that a database works on."""
    return temporary_path(path.parent, f".{path.name}.spill")


@contextmanager
def open_database(
    spill: Path,
    *,
    memory: str = PLANNING_MEMORY,
    adjustable: bool = False,
    stop: PlanningStop | None = None,
    reads_parts: bool = False,
) -> Iterator[Database]:
    """Open a database that reads and writes plans in order, and close it after the block.

    It uses one thread: several would not keep a plan in its order, the order of sending.

    Args:
        spill: folder for data beyond the memory limit.
        memory: DuckDB's memory limit, such as `512MB`.
        adjustable: whether the user sets this limit.
        stop: interrupts the running query.
        reads_parts: whether it reads a small part of its files, so that it leaves little memory.
    """
    database = Database(
        spill,
        stop or PlanningStop(),
        threads=1,
        memory=memory,
        adjustable=adjustable,
        reads_parts=reads_parts,
    )
    with closing(database):
        yield database
