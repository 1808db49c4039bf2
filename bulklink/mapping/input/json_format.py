"""Detection of JSON: JSONL, other documents, rows inside an object, and common mistakes."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

from bulklink.errors import BadFileError
from bulklink.mapping.input.csv_reader import BrokenRecord
from bulklink.mapping.input.encodings import UTF8
from bulklink.mapping.input.files import InputFormat
from bulklink.mapping.input.json_text import JsonText
from bulklink.mapping.input.jsonl_reader import has_stray_comma, read_object
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.schema import KNOWN_COLUMNS, normalize_header
from bulklink.shell import format_command, path_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulklink.mapping.input.json_text import JsonValue
    from bulklink.mapping.input.lines import LineReader
    from bulklink.mapping.schema import MappingOptions

#: Beginning of JSON, or of the near-JSON that people and other languages write.
_JSON_START = re.compile(rb"\{\s*+(?:[\"'}]|[A-Za-z_]\w*+\s*+:|\Z)|\[\s*+(?:[\[{\]]|\Z)")
_JSON_FORMATS = (InputFormat.JSONL, InputFormat.JSON)
_MAX_KEY_BYTES = 100
_OBJECT, _LIST = b"{", b"["


def find_json_format(
    lines: LineReader, name: str, hint: InputFormat | None, options: MappingOptions
) -> InputFormat | None:
    """Determine whether a text is JSONL, another JSON document, or neither.

    Args:
        lines: lines of the text.
        name: the file as the user named it.
        hint: format by its name.
        options: options for reading the mapping.

    Raises:
        BadFileError: if the text is nearly JSON; the error names the mistake.
    """
    lines.skip(options.skip_lines)
    first = next((line.content for line in lines if not line.content.isspace()), b"").lstrip()
    is_json = hint in _JSON_FORMATS and first.startswith((_OBJECT, _LIST))
    if not is_json and not _JSON_START.match(first):
        return None
    text = b"".join(_first_lines(first, lines))
    if text.startswith(_LIST):
        return InputFormat.JSON
    return _objects_format(text, name, known_keys(options))


def _first_lines(first: bytes, lines: LineReader) -> Iterator[bytes]:
    """Yield the first lines of a text, up to the maximum size of a record."""
    yield first
    size = len(first)
    for line in lines:
        if size > MAX_RECORD_BYTES:
            return
        size += len(line.content)
        yield line.content


def _objects_format(text: bytes, name: str, known: set[str]) -> InputFormat:
    """Distinguish JSONL from objects over several lines and from rows inside an object."""
    json_text = JsonText(io.BytesIO(text), name)
    try:
        first = json_text.take_value()
    except BadFileError:
        one_object_per_line = all(line.lstrip()[:1] in (_OBJECT, b"") for line in text.splitlines())
        return InputFormat.JSONL if one_object_per_line else InputFormat.JSON
    last_line = json_text.line
    following = json_text.peek()
    if following == b",":
        raise BadFileError(
            "The file is not JSON: commas separate the objects, but no brackets enclose them.",
            where=name,
            advice="Put [ before the first object and ] after the last, without a comma before it.",
        )
    key = find_wrapping_key(text, known)
    if key is not None and following == _OBJECT:
        text_key = key[:_MAX_KEY_BYTES].decode("utf-8", "replace")
        raise BadFileError(
            f"The file has several objects, each with rows in {text_key}.",
            where=name,
            advice="Extract the rows, for example with"
            f" {format_command('jq', '-c', f'.[{text_key}][]', path_word(name))} > rows.jsonl",
        )
    if key is not None or last_line != first.line:
        return InputFormat.JSON
    _refuse_nearly_json(first, json_text, name)
    return InputFormat.JSON if following and json_text.line == last_line else InputFormat.JSONL


def _refuse_nearly_json(first: JsonValue, json_text: JsonText, name: str) -> None:
    """Refuse lines if the first two have the same fault, to report it once."""
    try:
        values = [first, json_text.take_value()] if json_text.peek() else [first]
    except BadFileError:
        return
    faults = [find_json_fault(value.content) for value in values]
    if faults[0] is not None and faults[0] == faults[-1]:
        raise not_json_error(faults[0], f"{name}, line {first.line}")


def find_json_fault(entry: bytes) -> str | None:
    """Return the common mistake that makes an entry invalid JSON; None if there is none."""
    if re.match(rb"\{\s*'", entry):
        return "names and strings are in single quotes instead of double quotes"
    if re.match(rb"\{\s*[A-Za-z_]", entry):
        return "names have no quotes"
    return "there is a comma before a closing bracket" if has_stray_comma(entry) else None


def not_json_error(problem: str, where: str) -> BadFileError:
    """Build the error of a file whose entries are nearly JSON."""
    return BadFileError(
        f"The file is not JSON: {problem}.",
        where=where,
        advice="Write the file again with a JSON library (in Python, json.dump), or fix every such"
        " place.",
    )


def find_wrapping_key(text: bytes, known: set[str]) -> bytes | None:
    """Return the key, as written, under which an object has a list of rows.

    Args:
        text: the object, or its beginning.
        known: headers that only a row has, normalized.

    Returns:
        The key; None if the object is a row itself, or it is uncertain which list has the rows.
    """
    json_text = JsonText(io.BytesIO(text), "")
    lists: dict[bytes, int] = {}
    try:
        json_text.take(_OBJECT)
        while json_text.peek() == b'"':
            key = json_text.take_value().content
            if normalize_header(str(json.loads(key))) in known:
                return None
            json_text.take(b":")
            if json_text.take(_LIST):
                _count_headers(json_text, key, known, lists)
            else:
                json_text.take_value()
            json_text.take(b",")
    except (BadFileError, ValueError):
        pass  # cut off, or not JSON
    best = [key for key, count in lists.items() if count == max(lists.values())]
    return best[0] if len(best) == 1 else None


def _count_headers(
    json_text: JsonText, key: bytes, known: set[str], lists: dict[bytes, int]
) -> None:
    """Count the known headers of the first object of a list, and skip the list."""
    if json_text.peek() == _OBJECT:
        first = read_object(json_text.take_value().content, UTF8)
        keys = () if isinstance(first, BrokenRecord) else first
        lists[key] = sum(normalize_header(name) in known for name in keys)
        json_text.take(b",")
    while not json_text.take(b"]"):
        json_text.take_value()
        json_text.take(b",")


def known_keys(options: MappingOptions) -> set[str]:
    """Return the keys of rows, normalized."""
    names = (*KNOWN_COLUMNS, *(header for _, header in options.columns))
    return set(map(normalize_header, names))
