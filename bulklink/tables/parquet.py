"""Parquet: rows wait as JSONL beside the file, then DuckDB writes them as columns."""
# ruff: noqa: S608

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from bulklink.tables.formats import TableColumn
from bulklink.tables.writer import JsonlTable, Table

_MEMORY = "256MB"
_ROW_GROUP_ROWS = 122_880


@contextmanager
def parquet_table(path: Path, columns: Sequence[TableColumn]) -> Iterator[Table]:
    """Write a Parquet file: texts, and whole numbers where a column has such.

    Args:
        path: the file, which is there and empty.
        columns: its columns.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as folder:
        rows_path = Path(folder) / "rows.jsonl"
        names = [f"c{index}" for index in range(len(columns))]
        with rows_path.open("wb", buffering=1 << 20) as file:
            yield JsonlTable(file, names)
        _copy(path, folder, _select_query(columns, rows_path))


def _copy(path: Path, folder: str, query: str) -> None:
    with closing(
        duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": folder})
    ) as connection:
        connection.execute(
            f"COPY ({query}) TO {_literal(str(path))} "
            f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {_ROW_GROUP_ROWS})"
        )


def _select_query(columns: Sequence[TableColumn], rows_path: Path) -> str:
    selected = [f"c{index} AS {_identifier(column.name)}" for index, column in enumerate(columns)]
    types = [f"c{index}: '{_type(column)}'" for index, column in enumerate(columns)]
    return (
        f"SELECT {', '.join(selected)} FROM read_json({_literal(str(rows_path))}, "
        f"format = 'newline_delimited', columns = {{{', '.join(types)}}})"
    )


def _type(column: TableColumn) -> str:
    return "BIGINT" if column.is_number else "VARCHAR"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
