"""One request to Zoho CRM and what came back: plain values, no network."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class CallKind(StrEnum):
    """What a request does; the `op` of its ledger line."""

    LINK = "link"
    UNLINK = "unlink"
    READ = "read"
    LOOKUP = "lookup"

    @property
    def is_write(self) -> bool:
        """Tell whether such a call changes the CRM."""
        return self in (CallKind.LINK, CallKind.UNLINK)


class Request(msgspec.Struct, frozen=True):
    """A request to the API host.

    `target` is the path with its query, already encoded. `body` is JSON, or None for no body.
    """

    kind: CallKind
    method: str
    target: str
    body: bytes | None = None


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer as received.

    `retry_after` is in seconds; `credits_left` is what the org has left of its credits, told once
    half of them are used. Both are None where they are not given.
    """

    status: int
    body: bytes = b""
    retry_after: float | None = None
    credits_left: int | None = None

    @property
    def ok(self) -> bool:
        """Tell whether the HTTP status is one of success."""
        return 200 <= self.status < 300


class NoResponse(msgspec.Struct, frozen=True):
    """No answer came.

    `sent` is False only where the request certainly never left. `in_time` is False where it was
    not waited for any longer: the server may still be at work on it.
    """

    reason: str
    sent: bool = True
    in_time: bool = True
