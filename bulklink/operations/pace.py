"""How fast it goes lately, and how long the rest takes at that: sums that fade. Pure."""

from __future__ import annotations

import math

_SHORTEST_MEMORY = 10.0
_LONGEST_MEMORY = 60.0
_MEMORY = 0.2
"""Seconds after which what was measured has faded to a third: a part of all that was measured."""
_SECONDS = 5.0
_ITEMS = 40
_LONG = 60.0
"""What must have been measured before anything is told: so many items in so many seconds, or any
in a minute."""


class Pace:
    """Items and calls in a time, what was lately counting most.

    An item is an email that is settled or read, or a contact that is read.
    """

    def __init__(self) -> None:
        self._seconds = self._items = self._calls = 0.0
        self._measured = 0.0
        self._counted = 0

    def add(self, seconds: float, items: int, calls: int) -> None:
        """Add what was done in so many seconds."""
        self._measured += seconds
        self._counted += items
        memory = min(max(_MEMORY * self._measured, _SHORTEST_MEMORY), _LONGEST_MEMORY)
        kept = math.exp(-seconds / memory)
        self._seconds = self._seconds * kept + seconds
        self._items = self._items * kept + items
        self._calls = self._calls * kept + calls

    @property
    def rate(self) -> float | None:
        """Items a second; None until that can be told."""
        enough = self._measured >= _SECONDS and self._counted >= _ITEMS
        if not enough and not (self._measured >= _LONG and self._counted):
            return None
        return self._items / self._seconds

    def seconds_for(self, items: int) -> float | None:
        """Return how long so many items take; None where that cannot be told."""
        rate = self.rate
        return items / rate if rate else None

    def items_for(self, calls: int) -> int | None:
        """Return how many items so many calls are enough for; None where that cannot be told."""
        if self.rate is None or not self._calls:
            return None
        return int(calls * self._items / self._calls)
