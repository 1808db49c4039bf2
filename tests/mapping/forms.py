"""Forms in which a program has the rows of a mapping, each made from the same dicts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa

Records = list[dict[str, Any]]


def as_pandas(records: Records) -> pd.DataFrame:
    """Return a frame whose whole numbers stay so: pandas turns them to floats next to None."""
    frame = pd.DataFrame(records)
    for name in frame.columns:
        values = [record[name] for record in records]
        if None in values and all(type(value) in (int, type(None)) for value in values):
            frame[name] = pd.array(values, dtype="Int64")
    return frame


def as_pandas_objects(records: Records) -> pd.DataFrame:
    """Return a frame whose cells are the Python values themselves."""
    return pd.DataFrame(records, dtype=object)


def as_pandas_arrow(records: Records) -> pd.DataFrame:
    """Return a frame whose columns are those of an Arrow table."""
    table: Any = pa.Table.from_pylist(records)
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def as_polars(records: Records) -> pl.DataFrame:
    return pl.DataFrame(records, infer_schema_length=None)


def as_arrow(records: Records) -> pa.Table:
    return pa.Table.from_pylist(records)


def as_batches(records: Records) -> pa.RecordBatchReader:
    """Return a stream of batches of two rows."""
    return pa.Table.from_pylist(records).to_reader(2)


def as_chunks(records: Records) -> pl.DataFrame:
    """Return a frame of several chunks."""
    frames = [pl.DataFrame([record], infer_schema_length=None) for record in records]
    return pl.concat(frames, rechunk=False, how="vertical_relaxed")


FRAMES: dict[str, Callable[[Records], Any]] = {
    "pandas": as_pandas,
    "pandas-objects": as_pandas_objects,
    "pandas-arrow": as_pandas_arrow,
    "polars": as_polars,
    "polars-chunks": as_chunks,
    "pyarrow": as_arrow,
    "batches": as_batches,
}
"""Frames and streams by name."""
FORMS: dict[str, Callable[[Records], Any]] = FRAMES | {
    "list": list,
    "iterator": iter,
    "tuple": tuple,
}
"""All forms by name."""

TEXTS: list[tuple[str, Any, str]] = [
    ("whole", 1, "1"),
    ("large", 2**63 - 1, "9223372036854775807"),
    ("float", 1.0, "1.0"),
    ("small", 1e-05, "1e-05"),
    ("exponent", 1e16, "1e+16"),
    ("infinite", float("-inf"), "-inf"),
    ("nan", float("nan"), ""),
    ("none", None, ""),
    ("true", True, "true"),
    ("false", False, "false"),
    ("date", date(2026, 11, 22), "2026-11-22"),
    ("time", datetime(2026, 11, 22, 10, 15), "2026-11-22 10:15:00"),
    ("fraction", datetime(2026, 11, 22, 10, 15, 0, 120_000), "2026-11-22 10:15:00.12"),
    (
        "zoned",
        datetime(2026, 11, 22, 10, 15, tzinfo=timezone(timedelta(hours=2))),
        "2026-11-22 08:15:00+00:00",
    ),
    ("clock", time(10, 15), "10:15:00"),
    ("duration", timedelta(days=1, hours=2), "26:00:00"),
    ("negative", timedelta(seconds=-1.5), "-00:00:01.5"),
    ("decimal", Decimal("1.50"), "1.50"),
    ("bytes", b"abc", "abc"),
    ("binary", b"\xff'", r"\xFF\x27"),
    ("list", [1, 2], "[1,2]"),
    ("struct", {"a": "é", "b": 1}, '{"a":"é","b":1}'),
]
"""Values by a name, each with its documented text."""
