"""Decoding of JSON and of plain values into types, in any thread.

msgspec works out how to decode a type when the type is first used. If two threads do so at once,
one decodes with what the other has not finished, and the process crashes. So only one thread at a
time does it, here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_LOCK = threading.RLock()
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}


def json_decoder(wanted: type[T]) -> msgspec.json.Decoder[T]:
    """Return the decoder of a type."""
    with _LOCK:
        if wanted not in _DECODERS:
            _DECODERS[wanted] = msgspec.json.Decoder(wanted)
        return _DECODERS[wanted]


def decode_json(content: bytes | str, wanted: type[T]) -> T:
    """Decode a JSON text.

    Args:
        content: the text.
        wanted: the type.

    Raises:
        msgspec.DecodeError: if it is not JSON.
        msgspec.ValidationError: if it is not of this type.
    """
    return json_decoder(wanted).decode(content)


def convert(
    value: object,
    wanted: type[T],
    *,
    from_attributes: bool = False,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> T:
    """Convert a plain value, such as a dict that was decoded from TOML.

    Args:
        value: the value.
        wanted: the type.
        from_attributes: whether other objects are read by their attributes.
        dec_hook: makes a value of a type that msgspec does not know, from the type and the plain
            value.

    Raises:
        msgspec.ValidationError: if it is not of this type.
    """
    with _LOCK:
        return msgspec.convert(value, wanted, from_attributes=from_attributes, dec_hook=dec_hook)
