"""The clocks and the chance of a run."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from bulklink.ledger.records import timestamp


class Clock(msgspec.Struct, frozen=True):
    """The two clocks and the chance of a run; the tests bring their own.

    `wall` is seconds since 1970, `monotonic` seconds that never jump, `random` a random number
    from 0 to 1, `cpu_time` seconds of processor time of this process.
    """

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]
    cpu_time: Callable[[], float] = time.process_time

    def timestamp(self) -> str:
        """Return now as the ledger writes it."""
        return timestamp(self.wall())
