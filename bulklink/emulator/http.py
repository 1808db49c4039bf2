"""HTTP requests and answers as plain values.

The web server converts them from and to bytes on a socket; tests on a virtual clock pass them
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
    """The connection is closed halfway through the body."""
    DROPPED = "dropped"
    """The connection is closed before the first byte of the answer."""


class Request(msgspec.Struct, frozen=True):
    """One HTTP request.

    Args:
        method: the method, in capitals.
        path: the path, percent-decoded and without the query.
        query: the query string as sent, without the question mark.
        headers: the headers, with names in lower case.
        body: the body; empty if there is none.
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
        body: the body as sent; empty if there is none.
        headers: the headers, without the content type.
        content_type: content type of the body.
        delivery: how the answer reaches the caller.
    """

    status: int
    body: bytes | bytearray = b""
    headers: Mapping[str, str] = EMPTY_MAPPING
    content_type: str = JSON_CONTENT_TYPE
    delivery: DeliveryMode = DeliveryMode.DELIVERED


def json_answer(document: object, status: int = 200) -> Answer:
    """Return an answer with `document` as its JSON body."""
    return Answer(status, orjson.dumps(document))


NO_CONTENT = Answer(204)
