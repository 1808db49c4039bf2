"""Parser for "too many requests" answers: the limit exceeded and the wait requested.

Zoho does not document the wording of a 429 to a link call, and its body is known in two shapes. The
whole body is therefore searched for words that can only mean the concurrency limit or the daily
credits. If there are none, headers and behaviour decide. A third shape, documented for another
call, has `retry_after`, `limit` and `window` in its `details`.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import msgspec

from bulklink.counts import count_of
from bulklink.zoho.connection import is_loopback
from bulklink.zoho.http import Answer

MAX_WAIT_SECONDS = 86_400.0
"""Longest wait accepted from an answer, as credits are counted over 24 hours."""
_MAX_CALLS = 1e9
_MAX_DIGITS = 400
_MAX_BYTES = 2_000
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)


class ThrottleReason(StrEnum):
    """Limit that was exceeded."""

    IN_FLIGHT = "in flight"
    CREDITS = "credits"


class StatedLimit(msgspec.Struct, frozen=True):
    """The limit that a 429 states.

    Args:
        calls: calls allowed in a window.
        window: length of the window in seconds.
    """

    calls: int
    window: float

    def __str__(self) -> str:
        return f"{count_of(self.calls, 'call')} in {self.window:,.0f} s"


_WORDS = {
    ThrottleReason.CREDITS: re.compile(
        r"24[ -]?h(ou)?rs?|\bdays?\b|\bdaily\b|\bcredits?\b|\bquota\b"
    ),
    ThrottleReason.IN_FLIGHT: re.compile(
        r"concurren|same time|simultaneous|in parallel|at once|in progress|\bactive\b"
        r"|per (second|minute)"
    ),
}


def throttle_reason(answer: Answer) -> ThrottleReason | None:
    """Return the limit that the wording of a 429 names; None if it names neither or both."""
    text = answer.body[:_MAX_BYTES].decode("utf-8", "replace").lower().replace("_", " ")
    reasons = [reason for reason, words in _WORDS.items() if words.search(text)]
    return reasons[0] if len(reasons) == 1 else None


def stated_limit(answer: Answer) -> StatedLimit | None:
    """Return the limit stated in the `details` of an answer; None if there is none."""
    details = _details(answer)
    calls, window = (
        parse_number(details.get("limit"), _MAX_CALLS),
        parse_number(details.get("window")),
    )
    return StatedLimit(int(calls), window) if calls and window else None


def requested_wait(answer: Answer) -> float | None:
    """Return the wait in seconds that an answer requests, in its header or its `details`.

    If both do, the longer one applies.
    """
    waits = (answer.retry_after, parse_number(_details(answer).get("retry_after")))
    return max((wait for wait in waits if wait is not None), default=None)


def parse_retry_after(value: str, date: str) -> float | None:
    """Return the wait in seconds of a Retry-After header; None if it is not valid.

    Args:
        value: value of the header: seconds or a date.
        date: value of the Date header of the same answer, from which a date counts.
    """
    if (seconds := parse_number(value)) is not None:
        return seconds
    try:
        wait = (parsedate_to_datetime(value) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, wait), MAX_WAIT_SECONDS)


def parse_number(value: object, largest: float = MAX_WAIT_SECONDS) -> float | None:
    """Parse an untrusted non-negative number, such as seconds; None if it is not valid.

    Args:
        value: a number, or its decimal digits as text.
        largest: maximum; larger numbers are capped.
    """
    if isinstance(value, str):
        text = value.strip()[:_MAX_DIGITS]
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return float(min(value, largest))


def _details(answer: Answer) -> dict[str, Any]:
    """Return the `details` of a flat error; empty if the answer is not one."""
    if answer.ok and len(answer.body) > _MAX_BYTES:
        return {}
    content = answer.content
    details = content.get("details") if isinstance(content, dict) else None
    return details if isinstance(details, dict) else {}


def parse_credit_window(value: str, url: str) -> float | None:
    """Return the seconds of an emulator's credit window.

    Args:
        value: value of the emulator's header; empty if there is none.
        url: address of the request; only a server on this machine may shorten Zoho's 24 hours.
    """
    is_number = value.isascii() and value.isdigit() and len(value) <= len("86400")
    return (float(value) or None) if is_number and is_loopback(url) else None
