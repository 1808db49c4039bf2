"""Arrow streams of a table, through a temporary Parquet file and DuckDB."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from bulklink.duckdb_sql import DuckDBFiles
from bulklink.tables.formats import FileType, Table, TableColumn, TableFormat
from bulklink.tables.writer import write_table

_MEMORY = "256MB"


class ArrowTable:
    """A table that is read as Arrow streams.

    Its rows are in a temporary file, which is removed with this object: memory stays small whatever
    their number.

    Args:
        columns: columns of the table.
        write: writes its rows.
    """

    def __init__(self, columns: Sequence[TableColumn], write: Callable[[Table], object]) -> None:
        folder = tempfile.mkdtemp(prefix="bulklink-")
        self._remove = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._path = Path(folder, "table.parquet")
        with write_table(self._path, TableFormat(FileType.PARQUET), columns) as table:
            write(table)
        self._files = DuckDBFiles()

    def stream(self) -> object:
        """Return a capsule with an Arrow stream of the rows."""
        relation = self._files.read_parquet(self._path)
        # The stream keeps the connection open.
        connection = duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY})
        return connection.sql(f"FROM {relation}").__arrow_c_stream__()
