"""Frames and Arrow streams, read by DuckDB in the form of a staging file."""

# ruff: noqa: S608

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import duckdb

from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError
from bulklink.mapping.arrow_stream import StreamColumn, stream_columns
from bulklink.mapping.database import FRAME, DamagedTableError
from bulklink.mapping.input.csv_reader import record_too_long
from bulklink.mapping.input.jsonl_reader import FLOAT_CELL
from bulklink.mapping.input.rows import RowsKind, type_name
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.input.staging import (
    ESCAPE_CHAR,
    ESCAPES,
    MAX_COLUMNS,
    NO_LINE,
    python_staged_cell,
    too_many_columns_error,
)
from bulklink.mapping.input.typed_columns import TypedColumn
from bulklink.mapping.schema import GUARD, ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.input.rows import Rows

    Insert = Callable[[str, list["TypedColumn"]], int]

#: Rows of a pandas frame whose objects are held as texts at once.
_CHUNK_ROWS = 200_000
#: Types of pandas, beside those of NumPy, whose values DuckDB reads as they are.
_READ_TYPES = frozenset(
    ("StringDtype", "DatetimeTZDtype", "BooleanDtype", "Float32Dtype", "Float64Dtype")
) | {f"{sign}Int{bits}Dtype" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_READ_KINDS = "iufbM"
_MAX_ITEM_BYTES = 8
_ESCAPE_LETTER = next(letter for letter, character in ESCAPES.items() if character == ESCAPE_CHAR)
_TEXT_OPTIONS = {
    "pandas": ", with dtype=str",
    "polars": ", with schema_overrides={{{column!r}: polars.String}}",
    "pyarrow": ", with ConvertOptions(column_types={{{column!r}: pyarrow.string()}})",
}
"""Options to read ids as text, by library."""
_DETAILS = (". Detail: ", "\n")


class FrameChunk(NamedTuple):
    """Part of a frame that DuckDB reads with one query.

    Args:
        data: a capsule with an Arrow stream, or a frame of pandas.
        staged: places of the columns whose cells are those of a staging file.
    """

    data: object
    staged: frozenset[int] = frozenset()


class Frame:
    """A frame or an Arrow stream; its rows can be read once.

    Args:
        rows: the object that a program passed.

    Attributes:
        headers: names of its columns.
        records: number of its rows; None if it is unknown.

    Raises:
        BadFileError: if it cannot be read, or is no table.
        UsageError: if its rows can be read once, and were.
    """

    staged: ClassVar = True
    skip_lines: ClassVar = 0
    sheet_columns: ClassVar[None] = None

    def __init__(self, rows: Rows) -> None:
        self._name, self._library = rows.name, rows.library
        self._is_pandas = rows.kind is RowsKind.PANDAS
        self._data: Any = rows.take()
        self._stream_columns: tuple[StreamColumn, ...] = ()
        self._float_types: dict[str, str] = {}
        self._objects: dict[int, Any] = {}
        self._frame: Any = None
        self.records: int | None = None
        if self._is_pandas:
            self.headers = tuple(map(str, self._data.columns))
            self.records = len(self._data)
            self._float_types = _float_types(self._data)
        else:
            self._objects = _polars_objects(self._data, self._library)
            if self._objects:
                self._frame = self._data
                # A stream has only their addresses; they are converted when they are used.
                self._data = _with_texts(self._frame, dict.fromkeys(self._objects))
            self._data, columns = self._open_stream(self._data)
            self._stream_columns = columns
            self.headers = tuple(column.name for column in columns)
        if len(self.headers) > MAX_COLUMNS:
            raise too_many_columns_error(self._name)

    def _open_stream(self, data: Any) -> tuple[object, tuple[StreamColumn, ...]]:
        """Return a capsule that owns the stream, and the columns of the stream."""
        try:
            capsule: object = data.__arrow_c_stream__()
            columns = stream_columns(capsule)
        except Exception as error:  # whatever the library raises
            raise self._unreadable(f"{type_name(error)}: {error}") from error
        if columns is None:
            raise BadFileError(
                "This is one column, not a table.",
                where=self._name,
                advice="Pass the table that has all columns of the mapping.",
            )
        return capsule, columns

    def load(self, database: Database, used: Collection[int], insert: Insert) -> int:
        """Read the rows, part by part, and return the sum of what `insert` returns.

        Args:
            database: reads them.
            used: places of the columns that are used; the others are not read.
            insert: called with SQL of the columns of a staging file, which one query may read, and
                with the columns of the frame; returns a number of rows.

        Raises:
            BadFileError: if they cannot be read.
        """
        rows = 0
        for chunk in self._pandas_chunks(used) if self._is_pandas else self._stream_chunks(used):
            try:
                with database.registered(chunk.data) as described:
                    columns = [
                        TypedColumn(header, alias, kind)
                        for header, (alias, kind) in zip(self.headers, described, strict=True)
                    ]
                    rows += insert(_staged_sql(columns, used, chunk.staged), columns)
            except DamagedTableError as error:
                raise self._unreadable(str(error.__context__)) from None
            except duckdb.NotImplementedException as error:
                raise self._unknown_type_error(str(error)) from None
            except duckdb.Error as error:
                raise self._unreadable(str(error)) from None
        return rows

    def check_id_type(self, column: TypedColumn, known: str | None) -> None:
        """Refuse a column of ids whose type may change their digits, or holds no ids.

        Args:
            column: the column.
            known: bulklink's name for it; None if it is the user's own.

        Raises:
            BadFileError: if it is refused, whatever its values.
        """
        float_type = self._float_types.get(column.name)
        if known not in (*ID_COLUMNS, GUARD) or not (column.cell_kind or float_type):
            return
        option = _TEXT_OPTIONS.get(self._library, "").format(column=column.name)
        advice = f"Read the ids as text{option}."
        if not float_type and column.cell_kind != FLOAT_CELL:
            problem = f"has the type {column.kind}; ids are text or whole numbers"
        else:
            kind = float_type or column.kind
            name = "numbers with decimals" if kind.startswith("DECIMAL") else "floats"
            problem = f"holds {name} ({kind}), which do not keep every digit of an id"
            advice = f"{advice} They cannot be converted back."
        raise BadFileError(f"The column {column.name} {problem}.", where=self._name, advice=advice)

    def _stream_chunks(self, used: Collection[int]) -> Iterator[FrameChunk]:
        texts = {
            place: self._staged_cells(values.to_list(), self.headers[place], 0)
            for place, values in self._objects.items()
            if place in used
        }
        data = self._data
        if texts:
            data, _ = self._open_stream(
                _with_texts(self._frame, dict.fromkeys(self._objects) | texts)
            )
        yield FrameChunk(data, frozenset(texts))

    def _pandas_chunks(self, used: Collection[int]) -> Iterator[FrameChunk]:
        frame: Any = self._data
        pandas = sys.modules["pandas"]
        for start in range(0, len(frame), _CHUNK_ROWS):
            part = frame.iloc[start : start + _CHUNK_ROWS]
            columns: dict[str, Any] = {}
            staged: set[int] = set()
            for place, header in enumerate(self.headers):
                series = part.iloc[:, place]
                values, dtype = series.array, series.dtype  # without the index of the frame
                if place not in used:
                    values, dtype = [None] * len(part), object
                elif not _is_read_as_is(series, pandas):
                    staged.add(place)
                    values, dtype = self._staged_cells(values, header, start), object
                columns[f"f{place}"] = pandas.Series(values, dtype=dtype)
            yield FrameChunk(pandas.DataFrame(columns), frozenset(staged))

    def _staged_cells(self, values: Any, header: str, start: int) -> list[str | None]:
        cells = []
        for number, value in enumerate(values, start + 1):
            cells.append(python_staged_cell(value, self._name, number, header))
        return cells

    def _unknown_type_error(self, message: str) -> BadFileError:
        """Build the error of a type that DuckDB has no counterpart of."""
        names = [name for name, format_ in self._stream_columns if message.endswith(f" {format_}")]
        return BadFileError(
            f"The column {names[0]} has a type that cannot be read."
            if names
            else f"A column has a type that cannot be read: {message}",
            where=self._name,
            advice="Convert it to text, or leave it out of the frame.",
        )

    def _unreadable(self, message: str) -> BadFileError:
        reason = message.rpartition(" failed: ")[2] or message
        for detail in _DETAILS:
            reason = reason.partition(detail)[0]
        return BadFileError(
            f"The rows cannot be read: {reason.rstrip('.')}.",
            where=self._name,
            advice="Check what makes them; none of them was used.",
        )


def _polars_objects(data: Any, library: str) -> dict[int, Any]:
    """Return the columns of a polars frame that hold Python objects, by place."""
    if library != "polars":
        return {}
    kind: Any = sys.modules["polars"].Object
    columns: Any = getattr(data, "get_columns", list)()  # a series has none
    return {place: column for place, column in enumerate(columns) if column.dtype == kind}


def _with_texts(data: Any, columns: Mapping[int, list[str | None] | None]) -> Any:
    """Return a polars frame with texts in place of some columns; None stands for no texts."""
    polars: Any = sys.modules["polars"]
    return data.with_columns(
        polars.Series(data.columns[place], texts or [None] * len(data), dtype=polars.String)
        for place, texts in columns.items()
    )


def _float_types(data: Any) -> dict[str, str]:
    """Return the types of a pandas frame's columns that hold floats in some form, by header."""
    types = {}
    for header, dtype in zip(map(str, data.columns), data.dtypes, strict=True):
        categories = getattr(dtype, "categories", None)
        values = dtype if categories is None else categories.dtype
        if getattr(values, "kind", "") == "f":
            types[header] = str(dtype) if categories is None else f"categories of {values}"
    return types


def _is_read_as_is(series: Any, pandas: Any) -> bool:
    """Return whether DuckDB reads the values of a column as the texts that others have."""
    dtype = series.dtype
    if isinstance(dtype, sys.modules["numpy"].dtype):
        if dtype.kind == "O":
            return bool(pandas.api.types.infer_dtype(series, skipna=True) == "string")
        return dtype.kind in _READ_KINDS and dtype.itemsize <= _MAX_ITEM_BYTES
    return type(dtype).__name__ in _READ_TYPES


def _staged_sql(
    columns: Sequence[TypedColumn], used: Collection[int], staged: Collection[int]
) -> str:
    """Build the relation of the registered frame with the columns of a staging file."""
    texts = [
        column.text_sql() if place in used else "NULL::VARCHAR"
        for place, column in enumerate(columns)
    ]
    selected = ", ".join(f"{text} AS t{place}" for place, text in enumerate(texts))
    size = " + ".join(f"coalesce(strlen(t{place}), 0)" for place in used) or "0"
    cells = ", ".join(
        f"CASE WHEN fits THEN {_cell_sql(f't{place}', column, staged=place in staged)} END"
        f" AS f{place}"
        for place, column in enumerate(columns)
    )
    fault = record_too_long(b"")
    leading = (
        f"{NO_LINE} AS line, CASE WHEN NOT fits THEN {literal(fault.reason)} END AS reason,"
        f" CASE WHEN NOT fits THEN {literal(fault.message)} END AS message, NULL::VARCHAR AS raw"
    )
    rows = f"(SELECT *, {size} <= {MAX_RECORD_BYTES} AS fits FROM (SELECT {selected} FROM {FRAME}))"
    return f"(SELECT {leading}, {cells} FROM {rows})"


def _cell_sql(text: str, column: TypedColumn, *, staged: bool) -> str:
    """Build the cell of a staging file from the text of a cell."""
    if staged or not column.may_hold_any_text:
        return text if staged or not column.cell_kind else f"{_mark(column)} || {text}"
    mark = literal(ESCAPE_CHAR)
    escaped = f"replace({text}, {mark}, {literal(ESCAPE_CHAR + _ESCAPE_LETTER)})"
    return f"CASE WHEN contains({text}, {mark}) THEN {escaped} ELSE {text} END"


def _mark(column: TypedColumn) -> str:
    return literal(ESCAPE_CHAR + column.cell_kind)
