"""What happened over time, in some hundreds of spans, however long it took. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil

import msgspec

MOST = 240
"""Spans that a chart has at most where nothing was paused: one is some pixels wide."""
_APART = 30.0
"""Seconds without anything behind which a span ends."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two moments, in seconds since 1970.

    Args:
        began: when it began.
        ended: when it ended.
        settled: messages by status.
        answered_429: calls that were refused as too many.
        in_flight: the mean of calls in flight, None where that was not measured.
        allowed: the mean of how many might have been.
        latency: seconds that calls took, and how many took so long.
    """

    began: float
    ended: float
    settled: Mapping[str, int]
    answered_429: int = 0
    in_flight: float | None = None
    allowed: float | None = None
    latency: Mapping[float, int] = {}


class Span:
    """What was measured one after the other, taken together."""

    __slots__ = (
        "allowed",
        "answered_429",
        "began",
        "ended",
        "in_flight",
        "latency",
        "measured",
        "seconds",
        "settled",
    )

    def __init__(self, first: Measured) -> None:
        self.began = first.began
        self.ended = first.began
        self.seconds = self.measured = self.in_flight = self.allowed = 0.0
        self.answered_429 = 0
        self.settled: Counter[str] = Counter()
        self.latency: Counter[float] = Counter()
        self.add(first)

    def add(self, more: Measured) -> None:
        """Take what was measured next."""
        seconds = max(0.001, more.ended - more.began)
        self.ended = max(self.ended, more.ended)
        self.seconds += seconds
        self.answered_429 += more.answered_429
        self.settled.update(more.settled)
        self.latency.update(more.latency)
        if more.in_flight is not None:
            self.measured += seconds
            self.in_flight += more.in_flight * seconds
            self.allowed += (more.allowed or 0.0) * seconds

    def join(self, other: Span) -> None:
        """Take the span that follows."""
        self.ended = other.ended
        self.seconds += other.seconds
        self.measured += other.measured
        self.in_flight += other.in_flight
        self.allowed += other.allowed
        self.answered_429 += other.answered_429
        self.settled.update(other.settled)
        self.latency.update(other.latency)

    def percentile(self, share: float) -> float | None:
        """Return the seconds within which such a share of the calls was answered."""
        wanted = ceil(share * sum(self.latency.values()))
        so_far = 0
        for seconds in sorted(self.latency):
            so_far += self.latency[seconds]
            if so_far >= wanted:
                return seconds
        return None


def spans(measured: Iterable[Measured], most: int = MOST) -> list[Span]:
    """Take together what follows each other until there are few spans, over a pause never.

    Args:
        measured: in the order of time. Memory is the same for any number.
        most: spans there are about at most; each pause may add one.
    """
    found: list[Span] = []
    width, limit = 0.0, 2 * most
    for one in measured:
        if found and _together(found[-1], one.began, width):
            found[-1].add(one)
            continue
        found.append(Span(one))
        if len(found) > limit:
            width = max(2 * width, _active(found) / most)
            found = _fewer(found, width)
            limit = max(limit, 2 * len(found))
    return _fewer(found, _active(found) / most) if len(found) > most else found


def _active(found: list[Span]) -> float:
    return sum(one.seconds for one in found)


def _fewer(found: list[Span], width: float) -> list[Span]:
    fewer: list[Span] = []
    for one in found:
        if fewer and _together(fewer[-1], one.began, width):
            fewer[-1].join(one)
        else:
            fewer.append(one)
    return fewer


def _together(last: Span, began: float, width: float) -> bool:
    """Tell whether what begins then belongs to a span that is not yet so many seconds wide."""
    return began - last.ended <= _APART and last.ended - last.began < width
