"""Encodings other than UTF-8, and recoding to UTF-8.

Invalid bytes must remain a fault of their record. They are written as lone surrogates, which are
invalid in UTF-8 too and preserve the byte.
"""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from typing import TYPE_CHECKING

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError
from bulklink.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UTF8 = "utf-8"
_ERROR_HANDLER = "bulklink.surrogates"
_SURROGATES = re.compile(rb"(?:\xed[\xb0-\xb3][\x80-\xbf])+")
_FIRST_SURROGATE = 0xDC00
_BYTES_SHOWN = 4
_MIN_SIMILARITY = 0.7
"""Minimum similarity at which an encoding is suggested."""
#: Text codecs that are not encodings of files.
_NOT_FOR_FILES = {"idna", "punycode", "undefined"}


def parse_encoding(text: str | None) -> str:
    """Return the name of the codec of an encoding; `utf-8` for None.

    Raises:
        UsageError: if the encoding is unknown.
    """
    if text is None:
        return UTF8
    name = _codec_name(text)
    if name is None:
        raise UsageError(
            f"{text[:60]!r} is not a known encoding.",
            where=Advice("{}", Keyword("encoding")),
            advice=_suggest_encodings(text),
        )
    return UTF8 if name == "utf-8-sig" else name


def _codec_name(text: str) -> str | None:
    """Return the name of the codec of an encoding of files; None if there is none."""
    try:
        name = codecs.lookup(text.strip()).name
        "".encode(name)
    except (LookupError, ValueError):
        return None
    return None if name in _NOT_FOR_FILES else name


def _suggest_encodings(text: str) -> str:
    names = {name.replace("_", "-") for pair in aliases.items() for name in pair}
    known = filter(_codec_name, names)
    normalized = text.strip().lower().replace("_", "-")
    closest = close_matches(normalized, known, limit=3, cutoff=_MIN_SIMILARITY)
    return f"Use one such as {', '.join(closest or ('utf-8', 'utf-16', 'cp1252'))}."


def recode_to_utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Recode text to UTF-8 block by block; invalid bytes become lone surrogates.

    Raises:
        UnicodeError: if the text cannot be read in that encoding at all.
    """
    decoder = codecs.getincrementaldecoder(encoding)(_ERROR_HANDLER)
    for block in blocks:
        yield decoder.decode(block).encode(UTF8, "surrogatepass")
    yield decoder.decode(b"", final=True).encode(UTF8, "surrogatepass")


def _to_surrogates(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(_FIRST_SURROGATE + byte) for byte in bad), error.end


codecs.register_error(_ERROR_HANDLER, _to_surrogates)


def invalid_bytes(content: bytes, start: int) -> bytes:
    """Return the first invalid bytes of a record, as they were before it was recoded."""
    match = _SURROGATES.match(content, start)
    if match is None:
        return content[start : start + _BYTES_SHOWN]
    surrogates = match[0].decode(UTF8, "surrogatepass")[:_BYTES_SHOWN]
    return bytes((ord(surrogate) - _FIRST_SURROGATE) & 0xFF for surrogate in surrogates)


def decode_lossy(content: bytes) -> str:
    """Decode bytes for display; an invalid byte becomes U+FFFD."""
    return _SURROGATES.sub(lambda match: b"\xff" * (len(match[0]) // 3), content).decode(
        UTF8, "replace"
    )


def may_be_cp1252(content: bytes) -> bool:
    """Return whether a record that is not UTF-8 may be CP1252, as Windows writes it."""
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return content.decode(UTF8, "ignore").isascii()
