"""Parquet: rows wait as JSONL beside the file, then DuckDB writes them as columns."""
# ruff: noqa: S608

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb

from bulklink.tables.formats import Column
from bulklink.tables.writer import Jsonl, Table

_MEMORY = "256MB"
_ROW_GROUP_ROWS = 122_880


@contextmanager
def parquet(path: Path, columns: Sequence[Column]) -> Iterator[Table]:
    """Write a Parquet file: texts, and whole numbers where a column has such.

    Args:
        path: the file, which is there and empty.
        columns: its columns.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as folder:
        waiting = Path(folder) / "rows.jsonl"
        names = [f"c{place}" for place in range(len(columns))]
        with waiting.open("wb", buffering=1 << 20) as file:
            yield Jsonl(file, names)
        _copy(path, folder, _selected(columns, waiting))


def _copy(path: Path, folder: str, query: str) -> None:
    with closing(
        duckdb.connect(config={"threads": 1, "memory_limit": _MEMORY, "temp_directory": folder})
    ) as connection:
        connection.execute(
            f"COPY ({query}) TO {_literal(str(path))} "
            f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {_ROW_GROUP_ROWS})"
        )


def _selected(columns: Sequence[Column], waiting: Path) -> str:
    named = [f"c{place} AS {_identifier(column.name)}" for place, column in enumerate(columns)]
    types = [f"c{place}: '{_type(column)}'" for place, column in enumerate(columns)]
    return (
        f"SELECT {', '.join(named)} FROM read_json({_literal(str(waiting))}, "
        f"format = 'newline_delimited', columns = {{{', '.join(types)}}})"
    )


def _type(column: Column) -> str:
    return "BIGINT" if column.number else "VARCHAR"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
