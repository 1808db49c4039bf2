"""Texts of Python values in the cells of a mapping, the same as those of typed columns."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL

#: Types of pandas that stand for a missing value; a comparison with them is no truth value.
_MISSING = ("NAType", "NaTType")
_PRINTABLE = frozenset(range(32, 127)) - frozenset(b"\\'\"")


class UnknownValueError(ValueError):
    """Raised when a value has no text in a mapping."""


def python_cell(value: Any) -> tuple[str, str] | None:
    """Convert a value to the kind of its cell and its text; None for a missing value.

    Args:
        value: a text, number, date, time, bytes, UUID, list or dict, or a scalar of NumPy or
            pandas. None and NaN are missing values.

    Raises:
        UnknownValueError: if it is of another type.
    """
    if isinstance(value, str):
        return "", str.__str__(value)
    if value is None or type(value).__name__ in _MISSING:
        return None
    if isinstance(value, bool):
        return OTHER_CELL, "true" if value else "false"
    if isinstance(value, int):
        return "", int.__repr__(value)
    if isinstance(value, float):
        return None if math.isnan(value) else (FLOAT_CELL, float.__repr__(value))
    if type(value).__module__ == "numpy":
        return _numpy_cell(value)
    if isinstance(value, Decimal):
        return _decimal_cell(value)
    if isinstance(value, UUID):
        return "", str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "", _bytes_text(bytes(value))
    return OTHER_CELL, _time_text(value) or _nested_text(value)


def _numpy_cell(value: Any) -> tuple[str, str] | None:
    """Convert a scalar or array of NumPy by the Python value that it has, or by its text."""
    if getattr(value, "ndim", 0):
        return OTHER_CELL, _nested_text(value.tolist())
    kind, text = value.dtype.kind, str(value)
    if kind == "f":  # a 32-bit float has fewer digits than the 64-bit float of the same value
        return python_cell(float(text))
    if kind == "M":
        return None if text == "NaT" else (OTHER_CELL, _without_zeros(text.replace("T", " ")))
    plain = value.item()
    if type(plain).__module__ == "numpy" or isinstance(plain, complex):
        raise UnknownValueError(type(value).__name__)
    return python_cell(plain)


def _decimal_cell(value: Decimal) -> tuple[str, str] | None:
    if value.is_nan():
        return None
    is_whole = value.is_finite() and int(value.as_tuple().exponent) >= 0
    return ("" if is_whole else FLOAT_CELL), format(value, "f")


def _bytes_text(value: bytes) -> str:
    r"""Decode bytes; those that are not UTF-8 become escapes such as `\xFF`, as in DuckDB."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte in _PRINTABLE else f"\\x{byte:02X}" for byte in value)


def _time_text(value: Any) -> str | None:
    """Format a date, time or duration; None for a value of another type."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            return _datetime_text(value)
        return f"{_datetime_text(value.astimezone(UTC).replace(tzinfo=None))}+00:00"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return _without_zeros(value.isoformat())
    return _duration_text(value) if isinstance(value, timedelta) else None


def _datetime_text(value: datetime) -> str:
    text = value.isoformat(" ", "microseconds")[:26]
    return _without_zeros(f"{text}{getattr(value, 'nanosecond', 0):03}")


def _duration_text(value: timedelta) -> str:
    microseconds = value // timedelta(microseconds=1)
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    sign = "-" if microseconds < 0 else ""
    hours, minutes = divmod(seconds // 60, 60)
    return _without_zeros(f"{sign}{hours:02}:{minutes:02}:{seconds % 60:02}.{fraction:06}")


def _without_zeros(text: str) -> str:
    """Remove the zeros at the end of a fraction."""
    return text.rstrip("0").removesuffix(".") if "." in text else text


def _nested_text(value: Any) -> str:
    if not isinstance(value, dict | list | tuple):
        raise UnknownValueError(type(value).__name__)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_json_value)


def _json_value(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    cell = python_cell(value)
    return None if cell is None else cell[1]
