"""Columns of a query's result as raw bytes, and those of a stream, by the Arrow C interface.

DuckDB offers that interface without pyarrow, and hashing bytes needs no Python object per cell.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPSULE_NAME = b"arrow_array_stream"
_TEXT, _ROWS = b"u", b"+s"
_ITEM_BYTES = {b"i": 4, b"l": 8}
"""Arrow's formats of 32 and 64 bit integers, and their sizes."""


class _Schema(ctypes.Structure):
    """`struct ArrowSchema`."""


class _Array(ctypes.Structure):
    """`struct ArrowArray`."""


class _Stream(ctypes.Structure):
    """`struct ArrowArrayStream`."""


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    (
        "get_schema",
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema)),
    ),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]


def column_bytes(relation: duckdb.DuckDBPyRelation) -> Iterator[list[ctypes.Array[ctypes.c_char]]]:
    """Stream the columns of a relation in batches of rows.

    Args:
        relation: query whose columns are INTEGER, BIGINT or VARCHAR and never NULL.

    Yields:
        For each column, the values of a batch back to back: integers in native byte order, texts
        in UTF-8. They are valid until the next batch.

    Raises:
        duckdb.Error: if the query fails or is interrupted.
    """
    capsule = relation.__arrow_c_stream__()  # owns the stream
    stream = _stream(capsule)
    formats = _column_formats(stream)
    while (batch := _next_batch(stream)) is not None:
        try:
            yield [_column(batch.children[n].contents, form) for n, form in enumerate(formats)]
        finally:
            batch.release(batch)


class StreamColumn(NamedTuple):
    """A column of a stream.

    Args:
        name: its name.
        format: its type, in the notation of Arrow's C interface.
    """

    name: str
    format: str


def stream_columns(capsule: object) -> tuple[StreamColumn, ...] | None:
    """Return the columns of a stream; None if its items are values and no rows.

    Args:
        capsule: owns the stream; it is not read.

    Raises:
        duckdb.Error: if the stream reports an error.
    """
    stream = _stream(capsule)
    with _schema(stream) as schema:
        if schema.format != _ROWS:
            return None
        children = (schema.children[n].contents for n in range(schema.n_children))
        return tuple(
            StreamColumn((child.name or b"").decode("utf-8", "replace"), child.format.decode())
            for child in children
        )


def _stream(capsule: object) -> Any:
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return _Stream.from_address(get_pointer(capsule, _CAPSULE_NAME))


@contextmanager
def _schema(stream: Any) -> Iterator[Any]:
    schema: Any = _Schema()
    _check(stream, stream.get_schema(stream, schema))
    try:
        yield schema
    finally:
        schema.release(schema)


def _column_formats(stream: Any) -> list[bytes]:
    with _schema(stream) as schema:
        formats = [schema.children[n].contents.format for n in range(schema.n_children)]
    if not {*formats} <= {_TEXT, *_ITEM_BYTES}:
        raise duckdb.NotSupportedError(f"columns in the formats {formats}")
    return formats


def _next_batch(stream: Any) -> Any:
    batch = _Array()
    _check(stream, stream.get_next(stream, batch))
    return batch if batch.release else None  # released: the end of the stream


def _check(stream: Any, error_number: int) -> None:
    if error_number:
        raise duckdb.Error(stream.get_last_error(stream))


def _column(column: Any, form: bytes) -> ctypes.Array[ctypes.c_char]:
    start, end, data = column.offset, column.offset + column.length, column.buffers[1]
    item_bytes = _ITEM_BYTES.get(form)
    if item_bytes is not None:
        start, end = start * item_bytes, end * item_bytes
    elif column.length:
        offsets = (ctypes.c_int32 * (end + 1)).from_address(data)
        start, end, data = offsets[start], offsets[end], column.buffers[2]
    if start == end:
        return (ctypes.c_char * 0)()
    values: ctypes.Array[ctypes.c_char] = (ctypes.c_char * (end - start)).from_address(data + start)
    return values
