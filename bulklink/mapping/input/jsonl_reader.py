"""The exact JSONL reader: ids keep their digits, whatever their JSON type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bulklink.mapping.input.csv_reader import Broken, Lines, not_text, readable, too_long

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Other JSON than text and whole numbers is no id: these mark what a cell was.
FLOAT, OTHER = "f", "x"


class Digits(str):
    """A whole number, as it is written."""

    __slots__ = ()


class Decimal(str):
    """A number with a point or an exponent, as it is written."""

    __slots__ = ()


class _RepeatedKeyError(ValueError):
    """Raised when an object has two values for one key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _RepeatedKeyError("a key stands twice in it")
    return made


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    parse_int=Digits, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_object
)


def jsonl_records(lines: Lines) -> Iterator[tuple[int, dict[str, Any] | Broken]]:
    """Read one object after another; lines that are blank are passed over."""
    for line in lines:
        if line.cut:
            yield line.number, too_long(line.content)
        elif not line.content.isspace():
            yield line.number, _record(line.content, lines.encoding)


def _record(content: bytes, encoding: str) -> dict[str, Any] | Broken:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return not_text(content, encoding)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        return _broken("it is nested too deeply", content)
    except json.JSONDecodeError as error:
        return _broken(f"{error.msg} at character {error.colno}", content)
    except ValueError as error:
        return _broken(str(error), content)
    if not isinstance(value, dict):
        return _broken("it is no object", content)
    if "\\u" in text and not _is_text(value):
        return not_text(content, encoding)
    return value


def _is_text(value: Any) -> bool:
    """Tell whether a value can be written as UTF-8: half a surrogate pair cannot."""
    try:
        compact(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _broken(why: str, content: bytes) -> Broken:
    return Broken("broken-record", f"the line is no JSON object: {why}", readable(content))


def cell(value: Any) -> tuple[str, str]:
    """Turn a JSON value other than null into a mark of its kind and a cell's text."""
    if isinstance(value, Decimal):
        return FLOAT, str(value)
    if isinstance(value, str):
        return "", str(value)
    return OTHER, compact(value)


def compact(value: Any) -> str:
    """Write a JSON value without spaces, its numbers as they were written."""
    if isinstance(value, Digits | Decimal):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(k)}:{compact(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
