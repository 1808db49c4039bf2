"""A desk for each test."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import duckdb
import pytest

from bulklink.duckdb_sql import literal
from tests.mapping.planner import HEADER, MappingPlanner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[MappingPlanner]:
    """A folder in which mappings are planned; no temporary file may be left in it."""
    mapping_planner = MappingPlanner(tmp_path)
    yield mapping_planner
    mapping_planner.close()


@pytest.fixture
def empty() -> io.BytesIO:
    """Standard input with nothing in it."""
    return io.BytesIO()


@pytest.fixture
def shuffled(tmp_path: Path) -> Path:
    """A sealed plan whose rows were put into another order."""
    planner = MappingPlanner(tmp_path)
    sealed = planner.plan(HEADER + "".join(f"{n},2,m,5,\n" for n in range(1, 9))).sealed
    planner.close()
    target = tmp_path / "shuffled.parquet"
    with duckdb.connect() as connection:
        plan = f"read_parquet('{sealed.path}')"
        key_values = connection.execute(
            f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{sealed.path}')"
        ).fetchall()
        metadata = ", ".join(f"{key}: {literal(value)}" for key, value in key_values)
        connection.execute(
            f"COPY (SELECT * FROM {plan} ORDER BY bulklink_row % 3) "
            f"TO '{target}' (FORMAT parquet, KV_METADATA {{{metadata}}})"
        )
    return target
