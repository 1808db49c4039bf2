"""What an answer of "too many requests" says: which limit, how long to wait.

Zoho publishes no wording of a 429 to a link call, and two shapes of its body are known; so the
whole body is searched for words that can mean only the concurrency limit or only the daily credits.
If it has none, headers and behaviour decide. A third shape, published for another call, has
`retry_after`, `limit` and `window` in its `details`.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import msgspec

from bulklink.zoho.connection import is_loopback
from bulklink.zoho.http import Answer

MAX_WAIT_SECONDS = 86_400.0
"""Longest wait that is taken from an answer: credits are counted over 24 hours."""
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
        calls: calls that may be made in a window.
        window: seconds of the window.
    """

    calls: int
    window: float

    def __str__(self) -> str:
        return f"{self.calls:,} calls in {self.window:,.0f} s"


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
    """Return the limit that the words of a 429 name; None if they name neither, or both."""
    text = answer.body[:_MAX_BYTES].decode("utf-8", "replace").lower().replace("_", " ")
    reasons = [reason for reason, words in _WORDS.items() if words.search(text)]
    return reasons[0] if len(reasons) == 1 else None


def stated_limit(answer: Answer) -> StatedLimit | None:
    """Return the limit that an answer states in its `details`, None if it states none."""
    details = _details(answer)
    calls, window = (
        parse_number(details.get("limit"), _MAX_CALLS),
        parse_number(details.get("window")),
    )
    return StatedLimit(int(calls), window) if calls and window else None


def requested_wait(answer: Answer) -> float | None:
    """Return the seconds that an answer asks to wait, by its header or its `details`.

    The longer one counts.
    """
    waits = (answer.retry_after, parse_number(_details(answer).get("retry_after")))
    return max((wait for wait in waits if wait is not None), default=None)


def parse_retry_after(value: str, date: str) -> float | None:
    """Return the seconds of a Retry-After header; None for what is neither seconds nor a date.

    Args:
        value: of the header: seconds, or a date.
        date: of the header Date of the same answer, which a date counts from.
    """
    if (seconds := parse_number(value)) is not None:
        return seconds
    try:
        wait = (parsedate_to_datetime(value) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, wait), MAX_WAIT_SECONDS)


def parse_number(value: object, largest: float = MAX_WAIT_SECONDS) -> float | None:
    """Return a number from outside that is not negative, such as seconds; None for what is none.

    Args:
        value: a number, or its decimal digits as text.
        largest: what a larger number is taken for.
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
        value: header of the emulator, empty if there is none.
        url: address that was asked: on another machine nobody may shorten Zoho's 24 hours.
    """
    is_number = value.isascii() and value.isdigit() and len(value) <= len("86400")
    return (float(value) or None) if is_number and is_loopback(url) else None
