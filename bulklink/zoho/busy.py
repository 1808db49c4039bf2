"""What the words of a 429 say: too many calls at once, or the credits of the day gone.

Zoho publishes no wording, and two shapes of the body are known; so the whole body is searched for
words that can mean only one of the two. What it does not say, headers and behaviour tell.
"""

from __future__ import annotations

import re
from enum import StrEnum

from bulklink.zoho.http import Answer

_MOST_BYTES = 2_000


class Busy(StrEnum):
    """Why there were too many requests."""

    IN_FLIGHT = "in flight"
    CREDITS = "credits"


_WORDS = {
    Busy.CREDITS: re.compile(r"24[ -]?h(ou)?rs?|\bdays?\b|\bdaily\b|\bcredits?\b|\bquota\b"),
    Busy.IN_FLIGHT: re.compile(
        r"concurren|same time|simultaneous|in parallel|at once|in progress|\bactive\b"
        r"|per (second|minute)"
    ),
}


def said_busy(answer: Answer) -> Busy | None:
    """Return what the words of a 429 say; None where they say neither, or both."""
    text = answer.body[:_MOST_BYTES].decode("utf-8", "replace").lower().replace("_", " ")
    said = [meaning for meaning, words in _WORDS.items() if words.search(text)]
    return said[0] if len(said) == 1 else None
