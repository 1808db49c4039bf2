"""HTTP request and answer as plain values, and how an answer is delivered.

The web server turns them from and into bytes on a socket; a test on a virtual clock passes them
directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec
import orjson

JSON_CONTENT_TYPE = "application/json;charset=UTF-8"
EMPTY_MAPPING: Mapping[str, str] = MappingProxyType({})


class DeliveryMode(StrEnum):
    """How an answer reaches the caller."""

    DELIVERED = "delivered"
    CUT = "cut"
    """The connection ends in the middle of the body."""
    DROPPED = "dropped"
    """The connection ends before a byte of the answer."""


class Request(msgspec.Struct, frozen=True):
    """One HTTP request.

    Args:
        method: in capitals.
        path: without the query, percent-decoded.
        query: the query string as sent, without the question mark.
        headers: names in lower case.
        body: the bytes after the headers.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = EMPTY_MAPPING
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer.

    Args:
        status: HTTP status.
        body: as sent; empty if there is none.
        headers: headers besides the content type.
        content_type: of the body.
        delivery: whether it arrives whole.
    """

    status: int
    body: bytes | bytearray = b""
    headers: Mapping[str, str] = EMPTY_MAPPING
    content_type: str = JSON_CONTENT_TYPE
    delivery: DeliveryMode = DeliveryMode.DELIVERED


def json_answer(document: object, status: int = 200) -> Answer:
    """Return an answer whose body is `document` as JSON."""
    return Answer(status, orjson.dumps(document))


NO_CONTENT = Answer(204)
