"""Digest of a plan: the rows that are sent and the options that belong to it.

Each column is a SHA-256 of the lengths of its values and one of the values themselves, in the order
of the plan. The digest therefore depends only on the content, not on the layout of the file, memory
limits, threads or the version of DuckDB.
"""

# ruff: noqa: S608

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from bulklink.errors import RunDirError
from bulklink.mapping.database import Database, open_database, spill_folder
from bulklink.mapping.plan_layout import load_layout
from bulklink.mapping.schema import (
    FETCHED_COLUMNS,
    GUARD,
    ID_COLUMNS,
    NAME_COLUMNS,
    OWN_PREFIX,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

    from bulklink.mapping.interrupt import PlanningStop

DIGEST_VERSION = 2
"""Version of the digest; version 1 covered the mapping files and the options to read them."""
_NUMBERS = ("row", "duplicate_of")
_TEXTS = ("op", *ID_COLUMNS, *NAME_COLUMNS, GUARD)
_MEMORY = "256MB"
_NUMBER_BYTES = 8
_NO_VALUE = -1
"""Stands for the length of a missing value; an empty text has the length 0."""
_REPEATED_ROWS = 2048
_MAX_THREADS = 4
_MAX_SMALL_BYTES = 2**20
"""Size of a plan up to which one query for all columns takes less than one for each."""


class RowHashes(msgspec.Struct, frozen=True):
    """Hashes of the rows of a plan, in its order.

    Args:
        rows: number of rows, duplicates included.
        columns: SHA-256 of the lengths and of the values of each column, in hex.
    """

    rows: int
    columns: dict[str, tuple[str, str]]

    def digest(self, settings: Mapping[str, Any]) -> str:
        """Return the digest of the plan, a SHA-256 in hex.

        Args:
            settings: options that belong to the plan, as JSON values.
        """
        content = {
            "version": DIGEST_VERSION,
            "rows": self.rows,
            "columns": self.columns,
            "settings": dict(settings),
        }
        return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


NO_ROWS = RowHashes(0, {})
"""Hashes of a plan without rows."""


class PlanContent(msgspec.Struct, frozen=True):
    """Content of a sealed plan.

    Args:
        hashes: hashes of its rows.
        messages: rows that are sent, by op.
    """

    hashes: RowHashes
    messages: dict[str, int]


def read_plan_content(plan: Path, stop: PlanningStop | None = None) -> PlanContent:
    """Read and hash a sealed plan.

    Args:
        plan: its file.
        stop: stops the work from another thread.

    Raises:
        RunDirError: if it is not a plan, or damaged.
        InterruptedPlanningError: if `stop` stopped it.
    """
    with open_database(spill_folder(plan), memory=_MEMORY, stop=stop) as database:
        try:
            layout = load_layout(database, plan)
            relation = layout.relation(database.files.read_parquet(plan))
            is_large = database.files.linked_bytes > _MAX_SMALL_BYTES
            hashes = hash_rows(database, relation, layout.constants, by_column=is_large)
            messages = {str(op): int(rows) for op, rows in database.rows(_messages_sql(relation))}
        except duckdb.Error:
            raise RunDirError(
                "The plan is damaged.",
                where=str(plan),
                advice="Restore the file from a copy, or make the plan again.",
            ) from None
    return PlanContent(hashes, messages)


def _messages_sql(relation: str) -> str:
    return (
        f"SELECT {OWN_PREFIX}op, count(*) FROM {relation} "
        f"WHERE {OWN_PREFIX}duplicate_of IS NULL GROUP BY {OWN_PREFIX}op"
    )


def hash_rows(
    database: Database,
    relation: str,
    constants: Mapping[str, str | None],
    *,
    by_column: bool = False,
) -> RowHashes:
    """Hash the rows of a plan in the order of sending.

    Args:
        database: database to query with.
        relation: SQL of the plan's rows.
        constants: value of each column that is known to have one value in every row.
        by_column: whether each column is read by a query of its own, several at once; only for
            rows that are cheap to read.
    """
    known = {name: constants[name] for name in _TEXTS if name in constants}
    # Without a comparison, the digest must not depend on these columns: older plans lack them.
    fetched = [name for name in FETCHED_COLUMNS if name not in constants]
    stored = [name for name in (*_NUMBERS, *_TEXTS, *fetched) if name not in known]
    parts = [[name] for name in stored] if by_column else [stored]
    with ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as executor:
        results = list(executor.map(partial(_hash_columns, database, relation), parts))
    rows = results[0].rows
    columns = {name: hashes for result in results for name, hashes in result.columns.items()}
    return RowHashes(
        rows, columns | {name: _hash_repeated(value, rows) for name, value in known.items()}
    )


def _hash_columns(database: Database, relation: str, names: Sequence[str]) -> RowHashes:
    """Hash some columns of a plan; the work in DuckDB and on the hashes does not hold the GIL."""
    lengths, values = ({name: hashlib.sha256() for name in names} for _ in range(2))
    expressions = [*map(_length_sql, names), *map(_value_sql, names)]
    rows = 0
    for batch in database.column_bytes(f"SELECT {', '.join(expressions)} FROM {relation}"):
        rows += len(batch[0]) // struct.calcsize("i")
        for sha256, column in zip((*lengths.values(), *values.values()), batch, strict=True):
            sha256.update(column)
    return RowHashes(
        rows, {name: (lengths[name].hexdigest(), values[name].hexdigest()) for name in names}
    )


class RowHasher:
    """Hasher of a plan's rows that are streamed in its order; none of them is a duplicate."""

    def __init__(self) -> None:
        names = (*_NUMBERS, *_TEXTS)
        self._rows = 0
        self._lengths, self._values = ({name: hashlib.sha256() for name in names} for _ in "ab")

    def add(self, columns: Mapping[str, Sequence[str | None]]) -> None:
        """Hash further rows.

        Args:
            columns: the texts of each column, at least one; None for a missing one.
        """
        count = len(columns["op"])
        for name in _TEXTS:
            self._add_texts(name, columns[name])
        numbers = array("q", range(self._rows + 1, self._rows + count + 1))
        self._add("row", array("i", [_NUMBER_BYTES]) * count, numbers)
        self._add("duplicate_of", array("i", [_NO_VALUE]) * count, bytes(_NUMBER_BYTES * count))
        self._rows += count

    def hashes(self) -> RowHashes:
        """Return the hashes of the rows so far."""
        return RowHashes(
            self._rows,
            {
                name: (lengths.hexdigest(), self._values[name].hexdigest())
                for name, lengths in self._lengths.items()
            },
        )

    def _add_texts(self, name: str, texts: Sequence[str | None]) -> None:
        first = texts[0]
        if texts.count(first) == len(texts):
            value = (first or "").encode()
            length = _NO_VALUE if first is None else len(value)
            self._add(name, array("i", [length]) * len(texts), value * len(texts))
            return
        values = [(text or "").encode() for text in texts]
        lengths = array("i", map(len, values))
        if None in texts:
            for place, text in enumerate(texts):
                if text is None:
                    lengths[place] = _NO_VALUE
        self._add(name, lengths, b"".join(values))

    def _add(self, name: str, lengths: Buffer, values: Buffer) -> None:
        self._lengths[name].update(lengths)
        self._values[name].update(values)


def _length_sql(name: str) -> str:
    column = OWN_PREFIX + name
    length = _NUMBER_BYTES if name in _NUMBERS else f"strlen({column}::VARCHAR)"
    return f"CASE WHEN {column} IS NULL THEN {_NO_VALUE} ELSE {length} END::INTEGER"


def _value_sql(name: str) -> str:
    column = OWN_PREFIX + name
    is_number = name in _NUMBERS
    return f"coalesce({column}::BIGINT, 0)" if is_number else f"coalesce({column}::VARCHAR, '')"


def _hash_repeated(value: str | None, rows: int) -> tuple[str, str]:
    """Hash a column that has one value in every row, as `hash_rows` hashes others."""
    text = (value or "").encode()
    length = struct.pack("i", _NO_VALUE if value is None else len(text))
    return _sha256_of_repeated(length, rows), _sha256_of_repeated(text, rows)


def _sha256_of_repeated(item: bytes, count: int) -> str:
    sha256 = hashlib.sha256()
    block = item * _REPEATED_ROWS
    for _ in range(count // _REPEATED_ROWS):
        sha256.update(block)
    sha256.update(item * (count % _REPEATED_ROWS))
    return sha256.hexdigest()
