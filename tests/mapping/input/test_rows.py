"""What a program may pass as mappings, and the errors for anything else."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from bulklink.errors import UsageError
from bulklink.mapping.input.rows import Rows, to_mappings

PANDAS = pd.DataFrame({"a": [1]})
POLARS = pl.DataFrame({"a": [1]})
ARROW = pa.table({"a": [1]})


class OwnFrame(pd.DataFrame):
    """A frame of a library on top of pandas."""


async def rows_later() -> AsyncIterator[dict[str, str]]:
    yield {}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ((), []),
        (("a.csv", Path("b.csv"), "-"), ["a.csv", "b.csv", "-"]),
        (["a.csv"], ["a.csv"]),
        ([{}], ["rows"]),
        ([], ["rows"]),
        (({},), ["rows"]),
        (iter(()), ["rows"]),
        (PANDAS, ["pandas.DataFrame"]),
        (OwnFrame(PANDAS), ["tests.OwnFrame"]),
        (POLARS, ["polars.DataFrame"]),
        (ARROW, ["pyarrow.Table"]),
        (ARROW.to_batches()[0], ["pyarrow.RecordBatch"]),
        (ARROW.to_reader(), ["pyarrow.RecordBatchReader"]),
        (("a.csv", POLARS, PANDAS), ["a.csv", "polars.DataFrame 2", "pandas.DataFrame 3"]),
        ([POLARS, POLARS], ["polars.DataFrame", "polars.DataFrame 2"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else type(value).__name__,
)
def test_paths_frames_and_rows_are_mappings(value: Any, names: list[str]) -> None:
    converted = to_mappings(value)
    assert [item.name if isinstance(item, Rows) else item for item in converted] == names
    again = to_mappings(converted)
    assert len(again) == len(converted)
    assert all(a is b for a, b in zip(again, converted, strict=True))


@pytest.mark.parametrize(
    ("value", "problem", "advice"),
    [
        ("mapping.csv", "A str", 'such as ("mapping.csv",)'),
        (Path("mapping.csv"), "A pathlib.PosixPath|A pathlib.WindowsPath", "a tuple of paths"),
        (b"contact_id", "A bytes", "iterable of dicts"),
        ({"contact_id": "1"}, "A dict", "a list of dicts"),
        (None, "A NoneType", "Pass paths"),
        (7, "An int", "Pass paths"),
        (PANDAS["a"], "A pandas.Series", "pass the frame"),
        (POLARS["a"], "A polars.Series", "pass the frame"),
        (PANDAS.index, "A pandas.RangeIndex|A pandas.Index", "frame"),
        (POLARS.lazy(), "A polars.LazyFrame", "collect()"),
        (PANDAS.groupby("a"), "A pandas.DataFrameGroupBy", "one of the groups"),
        (PANDAS.groupby("a")["a"], "A pandas.SeriesGroupBy", "one of the groups"),
        (POLARS.group_by("a"), "A polars.GroupBy", "one of the groups"),
        (ARROW["a"], "A pyarrow.ChunkedArray", "pass the table"),
        (np.zeros((2, 2)), "A numpy.ndarray", "pandas.DataFrame(array"),
        (io.StringIO("contact_id"), "A _io.StringIO", "the path of the file"),
        (rows_later, "A function", "what it returns"),
        (rows_later(), "An async_generator", "async for"),
        (pl.DataFrame, "A type", "what it returns"),
        (("a.csv", 7), "An int", "Pass paths"),
        (("a.csv", {"contact_id": "1"}), "A dict", "a list of dicts"),
        ((PANDAS, PANDAS["a"]), "A pandas.Series", "pass the frame"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value).__name__,
)
def test_anything_else_is_named_with_what_to_pass(value: Any, problem: str, advice: str) -> None:
    with pytest.raises(UsageError, match=f"({problem}) is not a mapping") as raised:
        to_mappings(value)
    assert advice in raised.value.advice
    assert raised.value.where == "mappings"
