"""Columns of a query's result, through the Arrow C stream interface.

DuckDB offers that interface without pyarrow. Hashing the bytes of a column needs no Python object
per cell, and splitting them into texts takes a third of the time of fetching rows.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPSULE_NAME = b"arrow_array_stream"
_TEXTS = (b"u", b"z")
"""Arrow's formats of texts and blobs, which are stored alike."""
_ITEM_BYTES = {b"i": 4, b"l": 8}
"""Arrow's formats of 32 and 64 bit integers, and their sizes."""
_NULL, _END = b"\xfe", b"\xff"


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
    for columns in _stream(relation):
        yield [_column(column, form, 0, column.length) for column, form in columns]


def text_sql(text: str) -> str:
    r"""Build a column of texts for `column_values`, which may be NULL.

    The bytes FE and FF are in no text in UTF-8; they stand for NULL and for the end of a text.
    """
    return rf"coalesce(encode({text}), '\xFE'::BLOB) || '\xFF'::BLOB"


def column_values(relation: duckdb.DuckDBPyRelation, rows: int) -> Iterator[list[list[Any]]]:
    """Stream the columns of a relation in batches of limited size.

    Args:
        relation: query whose columns are BIGINT and never NULL, or built by `text_sql`.
        rows: maximum number of rows of a batch.

    Yields:
        For each column, its integers or texts.

    Raises:
        duckdb.Error: if the query fails or is interrupted.
    """
    for columns in _stream(relation):
        length = columns[0][0].length
        for start in range(0, length, rows):
            end = min(start + rows, length)
            yield [_values(_column(column, form, start, end), form) for column, form in columns]


def _values(column: ctypes.Array[ctypes.c_char], form: bytes) -> list[Any]:
    if form in _ITEM_BYTES:
        return memoryview(column).cast("B").cast("q").tolist()
    cells = column.raw
    if _NULL in cells or b"\n" in cells:
        return [None if cell == _NULL else cell.decode() for cell in cells.split(_END)[:-1]]
    return cells.replace(_END, b"\n").decode().split("\n")[:-1]


def _stream(relation: duckdb.DuckDBPyRelation) -> Iterator[list[tuple[Any, bytes]]]:
    """Stream the columns of a relation and their formats; they are valid until the next batch."""
    capsule = relation.__arrow_c_stream__()  # owns the stream
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype = ctypes.c_void_p
    get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    stream = _Stream.from_address(get_pointer(capsule, _CAPSULE_NAME))
    formats = _column_formats(stream)
    while (batch := _next_batch(stream)) is not None:
        try:
            yield [(batch.children[n].contents, form) for n, form in enumerate(formats)]
        finally:
            batch.release(batch)


def _column_formats(stream: Any) -> list[bytes]:
    schema = _Schema()
    _check(stream, stream.get_schema(stream, schema))
    try:
        formats = [schema.children[n].contents.format for n in range(schema.n_children)]
    finally:
        schema.release(schema)
    if not {*formats} <= {*_TEXTS, *_ITEM_BYTES}:
        raise duckdb.NotSupportedError(f"columns in the formats {formats}")
    return formats


def _next_batch(stream: Any) -> Any:
    batch = _Array()
    _check(stream, stream.get_next(stream, batch))
    return batch if batch.release else None  # released: the end of the stream


def _check(stream: Any, error_number: int) -> None:
    if error_number:
        raise duckdb.Error(stream.get_last_error(stream))


def _column(column: Any, form: bytes, start: int, end: int) -> ctypes.Array[ctypes.c_char]:
    """Return the bytes of some rows of a column."""
    start, end, data = column.offset + start, column.offset + end, column.buffers[1]
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
