"""JSON literals of strings that many lines and payloads share."""

from __future__ import annotations

from functools import lru_cache

import orjson


@lru_cache(1024)
def json_literal(value: str | None) -> str:
    """Return a string or None as JSON; recent ones are cached."""
    return orjson.dumps(value).decode()


def unique_literal(value: str) -> str:
    """Return a string as JSON that rarely occurs twice, such as a message id.

    Letters and digits need no escapes.
    """
    return f'"{value}"' if value.isascii() and value.isalnum() else orjson.dumps(value).decode()
