"""Fixtures of the mapping tests: a planner and its inputs."""

from __future__ import annotations

import io
import zlib
from contextlib import closing
from typing import TYPE_CHECKING

import duckdb
import pytest

from bulklink.duckdb_sql import literal
from bulklink.mapping import validate
from tests.mapping.planner import HEADER, MappingPlanner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def long_mapping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the rows of every fourth test by views, as those of long mappings are."""
    if zlib.crc32(request.node.nodeid.encode()) % 4 == 0:
        monkeypatch.setattr(validate, "MAX_STORED_ROWS", 0)


@pytest.fixture
def planner(tmp_path: Path) -> Iterator[MappingPlanner]:
    """Return a planner in its own folder, and check that no temporary file is left in it."""
    with closing(MappingPlanner(tmp_path)) as mapping_planner:
        yield mapping_planner


@pytest.fixture
def empty_stdin() -> io.BytesIO:
    """Return an empty standard input."""
    return io.BytesIO()


@pytest.fixture
def shuffled_plan(tmp_path: Path) -> Path:
    """Return a sealed plan with its rows in another order."""
    with closing(MappingPlanner(tmp_path)) as mapping_planner:
        sealed = mapping_planner.plan(HEADER + "".join(f"{n},2,m,5,\n" for n in range(1, 9))).sealed
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
