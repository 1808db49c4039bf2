"""Rows that a program passes in place of a file: dicts, frames and Arrow streams.

A frame is recognised by its interface, so that no library of frames is needed: by
`__arrow_c_stream__`, or as a `DataFrame` of a pandas that is already imported, because pandas has
that interface only where pyarrow is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from bulklink.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_WHERE = "mappings"
_AS_PATHS = 'Pass a tuple of paths, such as ("mapping.csv",).'
_AS_ROWS = "Pass paths, a DataFrame, an Arrow table or stream, or an iterable of dicts."
ROWS = "rows"
"""Name of rows that are no frame, where a file would have its own."""


class RowsKind(Enum):
    """Kinds of rows, by how they are read."""

    DICTS = auto()
    ARROW = auto()
    PANDAS = auto()


class Rows:
    """Rows that a program passes in place of a file.

    Args:
        data: the object that holds or makes them.
        kind: how they are read.
        number: position among the mappings of the job, from 1.

    Attributes:
        name: what the object is, such as `polars.DataFrame`, with its number from the second on;
            shown where a file has its name.
    """

    __slots__ = ("_data", "_taken", "kind", "name")

    def __init__(self, data: Any, kind: RowsKind, number: int = 1) -> None:
        self._data = data
        self._taken = False
        self.kind = kind
        name = ROWS if kind is RowsKind.DICTS else type_name(data)
        self.name = name if number == 1 else f"{name} {number}"

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def take(self) -> Any:
        """Return the object to read its rows.

        Raises:
            UsageError: if it gives its rows once, and was read before.
        """
        if self._taken and hasattr(self._data, "__next__"):
            raise UsageError(
                "The rows were read before, and an iterator gives them only once.",
                where=self.name,
                advice="Pass a new iterator, or a list or a frame, which can be read again.",
            )
        self._taken = True
        return self._data

    @property
    def library(self) -> str:
        """Name of the library that the object is from."""
        return self.name.partition(".")[0]


class ArrowStream(Protocol):
    """A frame, table or stream with the Arrow C stream interface."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return a capsule that owns a stream."""
        ...


Mappings: TypeAlias = (
    ArrowStream
    | Iterable[Mapping[str, Any]]
    | tuple[str | PathLike[str] | ArrowStream | Rows, ...]
    | list[str]
)
"""What `to_mappings` takes."""


def to_mappings(value: object) -> tuple[str | Rows, ...]:
    """Return the mappings of a job as paths and rows.

    Args:
        value: paths and frames in a tuple, list or other sequence, a single frame, or an iterable
            of dicts. A converted value is returned as it is.

    Raises:
        UsageError: if it is something else.
    """
    _refuse_lookalikes(value)
    kind = _frame_kind(value)
    if kind is not None:
        return (Rows(value, kind),)
    if not isinstance(value, Iterable):
        raise _unusable(value, _AS_ROWS)
    if isinstance(value, tuple | list) and all(map(_is_mapping, value[:1])) and value != []:
        return tuple(_to_mapping(item, number) for number, item in enumerate(value, 1))
    return (Rows(value, RowsKind.DICTS),)


def _is_mapping(value: object) -> bool:
    return isinstance(value, str | PathLike | Rows) or _frame_kind(value) is not None


def _to_mapping(value: object, number: int) -> str | Rows:
    if isinstance(value, Rows):
        return value
    if isinstance(value, str | PathLike):
        return str(fspath(value))
    _refuse_lookalikes(value)
    kind = _frame_kind(value)
    if kind is None:
        raise _unusable(value, _AS_ROWS)
    return Rows(value, kind, number)


def type_name(value: object) -> str:
    """Return the name of an object's type, with its library: `polars.DataFrame`."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__qualname__ if library == "builtins" else f"{library}.{kind.__qualname__}"


def _frame_kind(value: object) -> RowsKind | None:
    """Return how a frame is read; None if the object is no frame."""
    if is_pandas_frame(value):
        return RowsKind.PANDAS
    if hasattr(value, "__arrow_c_stream__") and not isinstance(value, type):
        return RowsKind.ARROW
    return None


def is_pandas_frame(value: object) -> bool:
    """Return whether an object is a DataFrame of pandas, which it then has imported."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, "DataFrame", ()))


_ADVICE_BY_NAME = {
    "LazyFrame": "Collect it first: frame.collect().",
    "GroupBy": "Pass the frame itself, or one of the groups.",
    "DataFrameGroupBy": "Pass the frame itself, or one of the groups.",
    "SeriesGroupBy": "Pass the frame itself, or one of the groups.",
    "Series": "A series is one column: pass the frame that has all columns of the mapping.",
    "Index": "An index is one column: pass the frame, after frame.reset_index().",
    "RangeIndex": "An index is one column: pass the frame, after frame.reset_index().",
    "ChunkedArray": "This is one column: pass the table that has all columns of the mapping.",
    "ndarray": "An array names no columns: pass pandas.DataFrame(array, columns=[…]).",
    "Dataset": "Read it first: dataset.to_table(), or dataset.scanner().to_reader().",
}
_ADVICE: tuple[tuple[Callable[[object], bool], str], ...] = (
    (lambda value: isinstance(value, str | PathLike), _AS_PATHS),
    (lambda value: isinstance(value, bytes | bytearray | memoryview), _AS_ROWS),
    (
        lambda value: isinstance(value, Mapping),
        "A dict is one row: pass a list of dicts. If its values are whole columns, pass"
        " pandas.DataFrame(columns) or polars.DataFrame(columns).",
    ),
    (lambda value: isinstance(value, type) or callable(value), "Pass what it returns."),
    (
        lambda value: hasattr(value, "__aiter__"),
        "Collect its rows first: [row async for row in rows].",
    ),
    (lambda value: hasattr(value, "readline"), "Pass the path of the file, in a tuple."),
)


def _refuse_lookalikes(value: object) -> None:
    """Refuse what can be iterated, or has an Arrow stream, but has no rows.

    Raises:
        UsageError: with what to pass instead.
    """
    advice = _ADVICE_BY_NAME.get(type(value).__name__)
    if advice is not None:
        raise _unusable(value, advice)
    if _frame_kind(value) is None:
        for applies, text in _ADVICE:
            if applies(value):
                raise _unusable(value, text)


def _unusable(value: object, advice: str) -> UsageError:
    described = describe_type(value)
    return UsageError(
        f"{described[0].upper()}{described[1:]} is not a mapping.", where=_WHERE, advice=advice
    )


def describe_type(value: object) -> str:
    """Return the name of an object's type after its article: `an int`."""
    name = type_name(value)
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def row_dict(value: object) -> dict[str, Any] | None:
    """Return a row as a dict; None if it is another type of object."""
    if isinstance(value, dict):
        return value
    if hasattr(value, "keys") and hasattr(value, "__getitem__") and _frame_kind(value) is None:
        return {key: value[key] for key in value.keys()}  # noqa: SIM118 - a row of sqlite3
    return None
