"""Python values become the texts that typed columns have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL
from bulklink.mapping.input.python_cells import UnknownValueError, python_cell


class Text(StrEnum):
    A = "a"


class OldText(str, Enum):  # noqa: UP042 - many programs have such enumerations
    A = "a"


class Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("1", ("", "1")),
        (Text.A, ("", "a")),
        (OldText.A, ("", "a")),
        (np.str_("a"), ("", "a")),
        (1, ("", "1")),
        (Number.ONE, ("", "1")),
        (2**70, ("", "1180591620717411303424")),
        (np.int64(5843104000000424162), ("", "5843104000000424162")),
        (np.uint64(2**64 - 1), ("", "18446744073709551615")),
        (True, (OTHER_CELL, "true")),
        (np.bool_(False), (OTHER_CELL, "false")),
        (1.0, (FLOAT_CELL, "1.0")),
        (-0.0, (FLOAT_CELL, "-0.0")),
        (np.float64(0.1), (FLOAT_CELL, "0.1")),
        (np.float32(0.1), (FLOAT_CELL, "0.1")),
        (np.float32(16777216), (FLOAT_CELL, "16777216.0")),
        (np.float16(1.5), (FLOAT_CELL, "1.5")),
        (np.float32("nan"), None),
        (float("nan"), None),
        (None, None),
        (pd.NA, None),
        (pd.NaT, None),
        (Decimal("NaN"), None),
        (np.datetime64("NaT"), None),
        (np.timedelta64("NaT"), None),
        (Decimal(5), ("", "5")),
        (Decimal("5E+3"), ("", "5000")),
        (Decimal("5.00"), (FLOAT_CELL, "5.00")),
        (Decimal("1E-7"), (FLOAT_CELL, "0.0000001")),
        (UUID(int=1), ("", "00000000-0000-0000-0000-000000000001")),
        (b"\xc3\xa9", ("", "é")),
        (np.bytes_(b"a"), ("", "a")),
        (bytearray(b"\xff\\"), ("", r"\xFF\x5C")),
        (memoryview(b"a"), ("", "a")),
        (np.datetime64("2026-11-22"), (OTHER_CELL, "2026-11-22")),
        (np.datetime64("2026-11-22T10:15:00.500"), (OTHER_CELL, "2026-11-22 10:15:00.5")),
        (np.timedelta64(90, "s"), (OTHER_CELL, "00:01:30")),
        (
            pd.Timestamp("2026-11-22 10:15:00.000000120"),
            (OTHER_CELL, "2026-11-22 10:15:00.00000012"),
        ),
        (
            pd.Timestamp("2026-11-22 10:15", tz="Europe/Berlin"),
            (OTHER_CELL, "2026-11-22 09:15:00+00:00"),
        ),
        (pd.Timedelta(hours=26), (OTHER_CELL, "26:00:00")),
        (datetime(1, 1, 1), (OTHER_CELL, "0001-01-01 00:00:00")),
        (timedelta(0), (OTHER_CELL, "00:00:00")),
        ((1, "é"), (OTHER_CELL, '[1,"é"]')),
        (np.array([1, 2]), (OTHER_CELL, "[1,2]")),
        (
            {"a": Decimal("1.5"), "b": [None, datetime(2026, 11, 22, tzinfo=UTC)]},
            (OTHER_CELL, '{"a":"1.5","b":[null,"2026-11-22 00:00:00+00:00"]}'),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_has_its_kind_and_text(value: Any, cell: tuple[str, str] | None) -> None:
    assert python_cell(value) == cell


@pytest.mark.parametrize(
    "value",
    [object(), 1j, np.complex128(1), {1, 2}, len, pd.Series([1]), [object()], pd.Interval(0, 1)],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_another_type_has_no_text(value: Any) -> None:
    with pytest.raises(UnknownValueError):
        python_cell(value)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(allow_nan=False, width=64), min_size=50, max_size=50))
def test_floats_have_the_text_that_duckdb_gives_them(values: list[float]) -> None:
    with duckdb.connect() as connection:
        query = "SELECT list_transform(?::DOUBLE[], lambda value: value::VARCHAR)"
        (texts,) = connection.execute(query, [values]).fetchall()[0]
    assert texts == [cell[1] for value in values if (cell := python_cell(value))]
