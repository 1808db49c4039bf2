"""Rows of a Parquet file as the texts of their cells, with marks for inexact numbers."""

# ruff: noqa: S608

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import temporary_path
from bulklink.errors import BadFileError, RunDirError
from bulklink.mapping.database import DamagedTableError, Database
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.input.typed_columns import TypedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.interrupt import PlanningStop

#: Rows held as Python values at once; each takes at most the maximum size of a record.
_BATCH_ROWS = 64
_MARK = b"PAR1"


class ParquetRows:
    """Rows of a Parquet file.

    Args:
        content: the input.
        folder: folder for data beyond the memory limit.
        memory: memory limit, such as `512MB`.
        stop: stops the work.

    Attributes:
        columns: its columns.

    Raises:
        BadFileError: if it is damaged.
    """

    def __init__(
        self, content: InputContent, folder: Path, memory: str, stop: PlanningStop
    ) -> None:
        self._name = content.source.name
        self._database = Database(temporary_path(folder), stop, threads=1, memory=memory)
        self._relation = self._database.files.read_parquet(content.path)
        try:
            _check_end(content.path)
            self.columns = self._find_columns(content.path)
        except (duckdb.Error, RunDirError, ValueError):
            self.close()
            stop.check()
            raise self._damaged() from None

    def _find_columns(self, path: Path) -> list[TypedColumn]:
        described = list(self._database.rows(f"DESCRIBE FROM {self._relation}"))
        schema = self._database.files.parquet_schema(path)
        names = _top_names(self._database.rows(f"SELECT name, num_children FROM {schema}"))
        return [
            TypedColumn(name, alias, kind)
            for name, (alias, kind, *_) in zip(names, described, strict=True)
        ]

    def close(self) -> None:
        """Release the file and the memory."""
        self._database.close()

    def __iter__(self) -> Iterator[list[str | None] | None]:
        """Yield the texts of each row; None for one that is longer than a record may be.

        Raises:
            BadFileError: if the file is damaged, or needs more memory.
        """
        texts = [f"{column.text_sql()} AS t{n}" for n, column in enumerate(self.columns)]
        size = " + ".join(f"coalesce(strlen(t{n}), 0)" for n in range(len(texts)))
        cells = ", ".join(f"CASE WHEN fits THEN t{n} END" for n in range(len(texts)))
        fits = f"{size} <= {MAX_RECORD_BYTES} AS fits"
        source = f"(SELECT *, {fits} FROM (SELECT {', '.join(texts)} FROM {self._relation}))"
        query = f"SELECT fits, {cells} FROM {source}"
        with self._translate_errors():
            for batch in self._database.batches(query, _BATCH_ROWS):
                for row_fits, *row in batch:
                    yield row if row_fits else None

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (DamagedTableError, duckdb.Error):
            raise self._damaged() from None
        except RunDirError:
            raise BadFileError(
                "The rows need more memory than the limit.",
                where=self._name,
                advice=Advice(
                    "Raise {}, or write the file again with smaller row groups or as CSV.",
                    Keyword("memory"),
                ),
            ) from None

    def _damaged(self) -> BadFileError:
        return BadFileError(
            "The Parquet file is cut off or damaged, or compressed in an unsupported way.",
            where=self._name,
            advice="Copy it again, or write the table again, as Parquet or CSV.",
        )


def _check_end(path: Path) -> None:
    """Raise ValueError if a file does not end as a Parquet file does."""
    with path.open("rb") as file:
        file.seek(-len(_MARK), io.SEEK_END)
        if file.read() != _MARK:
            raise ValueError(path)


def _top_names(elements: Iterator[tuple[str, int | None]]) -> list[str]:
    """Return the names of the columns from the elements of a schema, its root first."""
    _, count = next(elements)
    names = []
    for _ in range(count or 0):
        name, children = next(elements)
        names.append(name)
        below = children or 0
        while below:
            below += (next(elements)[1] or 0) - 1
    return names
