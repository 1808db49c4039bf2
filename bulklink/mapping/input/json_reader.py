"""JSON documents: an array of objects, or objects one after another.

The array may be inside an object, as in `{"data": [...], "info": {...}}`.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import BrokenRecord, record_too_long
from bulklink.mapping.input.json_format import (
    find_json_fault,
    find_wrapping_key,
    known_keys,
    not_json_error,
)
from bulklink.mapping.input.json_text import JsonText
from bulklink.mapping.input.jsonl_reader import read_object
from bulklink.mapping.input.lines import LineReader
from bulklink.mapping.input.scan import MAX_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.input.json_text import JsonValue
    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions

_OBJECT, _LIST = b"{", b"["
_CUT_OFF = "the list does not end; the file is cut off"


def json_records(
    content: InputContent, options: MappingOptions, stop: PlanningStop
) -> Generator[tuple[int, dict[str, Any] | BrokenRecord]]:
    """Yield the line on which each entry of a document begins, and the entry or its fault.

    Raises:
        BadFileError: if the document is not JSON, or its first entry is not an object.
    """
    with content.path.open("rb") as file:
        lines = LineReader(file)
        lines.skip(options.skip_lines)
        file.seek(lines.offset)
        start = file.read(MAX_RECORD_BYTES + len(codecs.BOM_UTF8))
        bom = codecs.BOM_UTF8 if start.startswith(codecs.BOM_UTF8) else b""
        file.seek(lines.offset + len(bom))
        text = JsonText(file, content.source.name, lines.number + 1, stop)
        entries = _entries(text, find_wrapping_key(start[len(bom) :], known_keys(options)))
        for number, value in enumerate(entries):
            record = _record(value, content.encoding)
            if not number and isinstance(record, BrokenRecord):
                _refuse_first(value, f"{content.source.name}, line {value.line}")
            yield value.line, record


def _record(value: JsonValue, encoding: str) -> dict[str, Any] | BrokenRecord:
    if value.truncated:
        return record_too_long(value.content)
    return read_object(value.content, encoding)


def _refuse_first(value: JsonValue, where: str) -> None:
    """Refuse a document whose first entry shows that none can be read."""
    if not value.content.startswith(_OBJECT):
        raise BadFileError(
            "The entries of the list are not objects.",
            where=where,
            advice="Write each row as an object whose keys are the names of the columns.",
        )
    fault = None if value.truncated else find_json_fault(value.content)
    if fault is not None:
        raise not_json_error(fault, where)


def _entries(text: JsonText, wrapping_key: bytes | None) -> Iterator[JsonValue]:
    """Yield the rows of a document, from an array, a wrapped array or a sequence of objects."""
    if text.peek() == _LIST:
        yield from _list_entries(text)
    elif wrapping_key is not None:
        yield from _wrapped_entries(text, wrapping_key)
    else:
        while text.peek() == _OBJECT:
            yield text.take_value()
    if text.peek():
        raise text.error("there is text after the last object or the end of the list")


def _wrapped_entries(text: JsonText, wrapping_key: bytes) -> Iterator[JsonValue]:
    text.take(_OBJECT)
    while not text.take(b"}"):
        key = text.take_value().content
        if not text.take(b":"):
            raise text.error("a colon is missing")
        if key == wrapping_key:
            yield from _list_entries(text)
        else:
            text.take_value()
        if not text.take(b",") and text.peek() != b"}":
            raise text.error("a comma is missing, or the file is cut off")


def _list_entries(text: JsonText) -> Iterator[JsonValue]:
    text.take(_LIST)
    if text.take(b"]"):
        return
    while True:
        yield text.take_value()
        if text.take(b"]"):
            return
        if not text.take(b","):
            problem = "a comma is missing between two entries" if text.peek() else _CUT_OFF
            raise text.error(problem)
        if text.peek() == b"]":
            raise text.error("there is a comma before the ] that ends the list; delete it")
