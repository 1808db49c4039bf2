"""The log of requests: one record for each, by Python's own logging, under `bulklink.calls`.

A record holds what the request asked for and how it went, and neither token, name, query nor
body. Whoever wants it adds a handler to the logger; without one it costs next to nothing.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import msgspec

from bulklink.zoho.http import Answer, NoResponse

LOGGER = logging.getLogger("bulklink.calls")


class CallReference(msgspec.Struct, frozen=True):
    """Which call of the ledger a request is, and which try of it; None where it is in none."""

    call: int | None = None
    attempt: int | None = None


class RequestLogRecord(msgspec.Struct, frozen=True):
    """A request that is over; `status` is None and `error` says why where no answer came.

    `duration` is the seconds until it was there.
    """

    method: str
    host: str
    path: str
    status: int | None
    error: str | None
    duration: float
    call: int | None
    attempt: int | None


def log_request(
    method: str,
    url: str,
    outcome: Answer | NoResponse,
    seconds: float,
    reference: CallReference | None = None,
) -> None:
    """Log a request.

    Args:
        method: of HTTP.
        url: as it was sent; its query is left out.
        outcome: what came back.
        seconds: how long that took.
        reference: where it stands in the ledger, if it does.
    """
    if not LOGGER.isEnabledFor(logging.INFO):
        return
    parts, reference = urlsplit(url), reference or CallReference()
    entry = RequestLogRecord(
        method,
        parts.netloc,
        parts.path,
        None if isinstance(outcome, NoResponse) else outcome.status,
        outcome.reason if isinstance(outcome, NoResponse) else None,
        round(seconds, 6),
        reference.call,
        reference.attempt,
    )
    LOGGER.info("%s %s", method, parts.path, extra={"noted": entry})
