"""When a mailbox was connected, as far as it is known."""

from __future__ import annotations

from enum import StrEnum, auto
from math import inf

import msgspec


class Arrival(StrEnum):
    """How an email came in."""

    LIVE = auto()
    """Its mailbox was connected."""
    BACKLOG = auto()
    """It is from before its mailbox was connected."""
    EITHER = auto()
    """Nobody can tell."""


class ConnectionSpan(msgspec.Struct, frozen=True, gc=False):
    """The time in which a mailbox was connected to the CRM.

    Args:
        earliest: the mailbox was not connected before.
        latest: the mailbox was connected by then.
    """

    earliest: float = -inf
    latest: float = inf

    @classmethod
    def at(cls, time: float) -> ConnectionSpan:
        """Return the span of a known moment."""
        return cls(time, time)

    def arrival(self, time: float, margin: float) -> Arrival:
        """Return how an email of this mailbox came in.

        Args:
            time: when it was sent.
            margin: seconds by which the clocks may differ.
        """
        if time - margin >= self.latest:
            return Arrival.LIVE
        if time + margin < self.earliest:
            return Arrival.BACKLOG
        return Arrival.EITHER


ALWAYS_CONNECTED = ConnectionSpan(-inf, -inf)
"""A mailbox that was connected before any of its emails came."""
CONNECTION_UNKNOWN = ConnectionSpan()
"""A mailbox of which nothing is known."""
