"""Texts in other encodings than UTF-8: which there are, and how they become UTF-8.

Bytes that are no text must stay a fault of their record. They are written as half surrogate
pairs, which are no UTF-8 either and still tell the byte.
"""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from typing import TYPE_CHECKING

from bulklink.errors import UsageError
from bulklink.suggestions import close_matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UTF8 = "utf-8"
_MARK = "bulklink.mark"
_MARKED = re.compile(rb"(?:\xed[\xb0-\xb3][\x80-\xbf])+")
_FIRST_MARK = 0xDC00
_BYTES_SHOWN = 4
#: Codecs of texts that are no encodings of files.
_NO_FILES = {"idna", "punycode", "undefined"}


def parse_encoding(text: str | None) -> str:
    """Return the name of the codec that `--encoding` names, `utf-8` where nothing is said.

    Raises:
        UsageError: if there is no such encoding of texts.
    """
    if text is None:
        return UTF8
    try:
        name = codecs.lookup(text.strip()).name
        "".encode(name)
    except (LookupError, ValueError):
        name = ""
    if not name or name in _NO_FILES:
        raise UsageError(
            f"There is no encoding {text[:60]!r}.",
            where="--encoding",
            advice=_suggest_encodings(text),
        )
    return UTF8 if name == "utf-8-sig" else name


def _suggest_encodings(text: str) -> str:
    known = {name.replace("_", "-") for pair in aliases.items() for name in pair}
    normalized = text.strip().lower().replace("_", "-")
    near = close_matches(normalized, known, limit=3, cutoff=0.5)
    return f"Such as {', '.join(near or ('utf-8', 'utf-16', 'cp1252'))}."


def recode_to_utf8(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Turn a text into UTF-8, block by block; what is no text in it is marked.

    Raises:
        UnicodeError: if it cannot be read in that encoding at all.
    """
    decoder = codecs.getincrementaldecoder(encoding)(_MARK)
    for block in blocks:
        yield decoder.decode(block).encode(UTF8, "surrogatepass")
    yield decoder.decode(b"", final=True).encode(UTF8, "surrogatepass")


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(chr(_FIRST_MARK + byte) for byte in bad), error.end


codecs.register_error(_MARK, _mark)


def invalid_bytes(content: bytes, start: int) -> bytes:
    """Return the first bytes of a record that are no text, as they were before it was recoded."""
    match = _MARKED.match(content, start)
    if match is None:
        return content[start : start + _BYTES_SHOWN]
    halves = match[0].decode(UTF8, "surrogatepass")[:_BYTES_SHOWN]
    return bytes((ord(half) - _FIRST_MARK) & 0xFF for half in halves)


def decode_lossy(content: bytes) -> str:
    """Show bytes as text; each that is none becomes one replacement character."""
    return _MARKED.sub(lambda match: b"\xff" * (len(match[0]) // 3), content).decode(
        UTF8, "replace"
    )


def may_be_cp1252(content: bytes) -> bool:
    """Tell whether a record that is no UTF-8 may be CP1252, as Windows writes it."""
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return content.decode(UTF8, "ignore").isascii()
