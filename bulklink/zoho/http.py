"""Request, answer and missing answer of one HTTP call, and the interface of a transport."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

import msgspec
import orjson

from bulklink.zoho.secret_mask import SecretMask

_HALF_PAIR = re.compile(
    r"(\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|[^u]))"
    r"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""A pair of escaped surrogates or another escape, to be kept; or half a pair."""


class CallKind(StrEnum):
    """Kind of a request; the `op` of its ledger line."""

    LINK = "link"
    UNLINK = "unlink"
    READ = "read"
    LOOKUP = "lookup"

    @property
    def is_write(self) -> bool:
        """Whether calls of this kind change the CRM."""
        return self in (CallKind.LINK, CallKind.UNLINK)


class Request(msgspec.Struct, frozen=True):
    """A request to the API host.

    Args:
        kind: kind of the request.
        method: HTTP method.
        target: path with its query, percent-encoded.
        body: JSON body; None for no body.
        message_ids: ids of the messages of a link or unlink at the many-emails endpoint, in order,
            as JSON.
        credits: credits that it costs the org.
        scope: scope that it needs and that a token may lack; None if every token has it.
    """

    kind: CallKind
    method: str
    target: str
    body: bytes | None = None
    message_ids: Sequence[str] = ()
    credits: int = 1
    scope: str | None = None


class Answer(msgspec.Struct, frozen=True, dict=True):
    """An HTTP answer as received.

    Args:
        status: HTTP status.
        body: content as received.
        retry_after: requested wait in seconds, at most 24 hours; None if none is requested.
        credits_left: API credits that the org has left; None if not reported. Zoho reports them
            once half of them are used.
        credit_window: length in seconds of the window in which credits are counted, if reported by
            an emulator on this machine; Zoho's is 24 hours.
        repeated: whether it equals the previous answer on its connection, to a request for another
            address.
        mask: masks the secrets of its request in texts; the body stays as received.
    """

    status: int
    body: bytes = b""
    retry_after: float | None = None
    credits_left: int | None = None
    credit_window: float | None = None
    repeated: bool = False
    mask: SecretMask = SecretMask()

    @property
    def ok(self) -> bool:
        """Whether the HTTP status means success."""
        return 200 <= self.status < 300

    @cached_property
    def content(self) -> Any:
        """The JSON value of the body; None if it is not JSON.

        What is not text, such as half of an emoji in a subject that was cut, is U+FFFD.
        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            pass
        text = _HALF_PAIR.sub(
            lambda match: match[1] or "\N{REPLACEMENT CHARACTER}",
            self.body.decode("utf-8", "replace"),
        )
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return None

    def excerpt(self, length: int) -> str:
        """Return the start of the body with secrets masked, for files and messages.

        Args:
            length: maximum characters returned.
        """
        text = self.body[: 8 * length].decode("utf-8", "replace")[: 2 * length]
        return self.mask(text)[:length]


class NoResponse(msgspec.Struct, frozen=True):
    """No answer was received.

    Args:
        reason: what went wrong, for the user.
        sent: False only if the request was certainly not sent.
        timed_out: whether the wait timed out; the server may still be working on the request.
        cure: advice for the user if a retry cannot help; else empty.
    """

    reason: str
    sent: bool = True
    timed_out: bool = False
    cure: str = ""


class Transport(Protocol):
    """Sends requests; tests replace it with one that uses no network."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        """Send a request exactly once and return its outcome."""
        ...
