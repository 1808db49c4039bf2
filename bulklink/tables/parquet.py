"""Parquet writer: rows staged as JSONL, converted by DuckDB."""
# ruff: noqa: S608

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from bulklink.blocking import blocks
from bulklink.duckdb_sql import DuckDBFiles, identifier, metadata_option
from bulklink.tables.formats import Table, TableColumn
from bulklink.tables.text import JsonlTable

_MEMORY = "256MB"
_ROW_GROUP_ROWS = 16_384
"""DuckDB holds a row group in memory: with eight times as many, a million wide rows took 338 MB."""


@contextmanager
def parquet_table(
    path: Path,
    columns: Sequence[TableColumn],
    metadata: Callable[[], Mapping[str, str]] | None = None,
) -> Iterator[Table]:
    """Write a Parquet file of texts and whole numbers.

    Args:
        path: an existing, empty file.
        columns: columns of the table.
        metadata: called at the end; returns texts about the whole table, by name.
    """
    blocks("DuckDB")
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as folder:
        rows_path = Path(folder) / "rows.jsonl"
        names = [f"c{index}" for index in range(len(columns))]
        with rows_path.open("wb", buffering=1 << 20) as file:
            yield JsonlTable(file, names)
        _convert(rows_path, path, columns, {} if metadata is None else metadata())


def _convert(
    rows_path: Path, path: Path, columns: Sequence[TableColumn], metadata: Mapping[str, str]
) -> None:
    types = {f"c{index}": _type(column) for index, column in enumerate(columns)}
    selected = [f"c{index} AS {identifier(column.name)}" for index, column in enumerate(columns)]
    options = ["FORMAT parquet", f"ROW_GROUP_SIZE {_ROW_GROUP_ROWS}"]
    if metadata:
        options.append(metadata_option(metadata))
    with closing(DuckDBFiles()) as files:
        config: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": _MEMORY,
            "temp_directory": files.spill_folder(rows_path.with_name("spill")),
        }
        query = f"SELECT {', '.join(selected)} FROM {files.read_json(rows_path, types)}"
        with closing(duckdb.connect(config=config)) as connection:
            connection.execute(files.copy(query, path, *options))


def _type(column: TableColumn) -> str:
    if column.is_decimal:
        return "DOUBLE"
    return "BIGINT" if column.is_number else "VARCHAR"
