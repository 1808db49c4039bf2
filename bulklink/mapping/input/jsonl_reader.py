"""Exact JSONL reader that keeps the digits of ids, whatever their JSON type."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from bulklink.mapping.faults import BROKEN_RECORD
from bulklink.mapping.input.csv_reader import (
    BrokenRecord,
    record_not_text,
    record_text,
    record_too_long,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulklink.mapping.input.lines import LineReader

#: Kinds of cells that cannot be ids: neither text nor a whole number.
FLOAT_CELL, OTHER_CELL = "f", "x"


_STRAY_COMMA = re.compile(r",\s*[}\]]")


class IntegerLiteral(str):
    """A whole number as written."""

    __slots__ = ()


class DecimalLiteral(str):
    """A number with a point or an exponent, as written."""

    __slots__ = ()


class _RepeatedKeyError(ValueError):
    """Raised when an object has two values for one key."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RepeatedKeyError("it has the same key twice")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    parse_int=IntegerLiteral,
    parse_float=DecimalLiteral,
    parse_constant=_no_constant,
    object_pairs_hook=_object,
)


def jsonl_records(lines: LineReader) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord]]:
    """Yield the line number and the object or fault of each line; skip blank lines."""
    for line in lines:
        if line.truncated:
            yield line.number, record_too_long(line.content)
        elif not line.content.isspace():
            yield line.number, read_object(line.content, lines.encoding)


def read_object(content: bytes, encoding: str) -> dict[str, Any] | BrokenRecord:
    """Read an object, with numbers as written.

    Args:
        content: its text as UTF-8.
        encoding: encoding of the text before it was recoded.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return record_not_text(content, encoding)
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        return _broken("it is nested too deeply", content)
    except json.JSONDecodeError as error:
        if _stray_comma_at(text, error):
            return _broken("there is a comma before a closing bracket; delete it", content)
        return _broken(f"invalid JSON at character {error.pos + 1}", content)
    except ValueError as error:
        return _broken(str(error), content)
    if not isinstance(value, dict):
        return _broken("it is another type of value", content)
    if "\\u" in text and not _is_text(value):
        return record_not_text(content, encoding)
    return value


def has_stray_comma(content: bytes) -> bool:
    """Return whether an entry is not JSON because of a comma before a closing bracket."""
    try:
        _DECODER.decode(content.decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        return _stray_comma_at(error.doc, error)
    except (ValueError, RecursionError):
        pass
    return False


def _stray_comma_at(text: str, error: json.JSONDecodeError) -> bool:
    """Return whether the decoder stopped at such a comma, or at the bracket after it."""
    comma = text.rfind(",", 0, error.pos + 1)
    return _STRAY_COMMA.match(text, comma) is not None if comma >= 0 else False


def _is_text(value: Any) -> bool:
    """Return whether a value can be written as UTF-8, as a lone surrogate cannot."""
    try:
        compact_json(value).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _broken(detail: str, content: bytes) -> BrokenRecord:
    return BrokenRecord(
        BROKEN_RECORD, f"the entry is not a JSON object: {detail}", record_text(content)
    )


def json_cell_text(value: Any) -> tuple[str, str]:
    """Convert a JSON value other than null to its kind and the text of the cell."""
    if isinstance(value, DecimalLiteral):
        return FLOAT_CELL, str(value)
    if isinstance(value, str):
        return "", str(value)
    return OTHER_CELL, compact_json(value)


def compact_json(value: Any) -> str:
    """Format a JSON value without spaces, its numbers as written."""
    if isinstance(value, IntegerLiteral | DecimalLiteral):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(k)}:{compact_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(compact_json, value)) + "]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
