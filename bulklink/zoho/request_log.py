"""Request log: one `logging` record per request, under `bulklink.calls`.

A record contains method, path, status and duration, but no token, name, query or body. Add a
handler to the logger to receive the records; they are only created if it is enabled.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

import msgspec

from bulklink.zoho.http import Answer, NoResponse

LOGGER = logging.getLogger("bulklink.calls")


class CallReference(msgspec.Struct, frozen=True):
    """Ledger call of a request.

    Args:
        call: number of the call; None outside the ledger.
        attempt: attempt of the call, from 1; None outside the ledger.
    """

    call: int | None = None
    attempt: int | None = None


class RequestLogRecord(msgspec.Struct, frozen=True):
    """A finished request as it is logged.

    Args:
        method: HTTP method.
        host: host and port.
        path: path without its query.
        status: HTTP status; None without an answer.
        error: why there is no answer; None with an answer.
        duration: seconds until the answer.
        call: number of the ledger call; None outside the ledger.
        attempt: attempt of the call, from 1; None outside the ledger.
    """

    method: str
    host: str
    path: str
    status: int | None
    error: str | None
    duration: float
    call: int | None
    attempt: int | None


def is_log_enabled() -> bool:
    """Return whether requests are logged."""
    return LOGGER.isEnabledFor(logging.INFO)


def log_request(
    method: str,
    url: str,
    outcome: Answer | NoResponse,
    seconds: float,
    reference: CallReference | None = None,
) -> None:
    """Log a request.

    Args:
        method: HTTP method.
        url: address of the request; its query is left out.
        outcome: the answer, or why there is none.
        seconds: duration of the request.
        reference: its ledger call; None outside the ledger.
    """
    if not is_log_enabled():
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
