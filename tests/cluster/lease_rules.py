"""What the statements of a cluster do with the lease of an org: the same rules in Python.

`test_lease_rules.py` compares them with PostgreSQL, and `test_lease_machine.py` builds on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from bulklink.cluster.timing import ClusterTiming


class Taken(NamedTuple):
    """Answer to a take.

    Args:
        epoch: epoch of the lease.
        ready_in: seconds in which nothing may be sent.
        last_driver_ended: when the driver before could send for the last time; None without one.
    """

    epoch: int
    ready_in: float
    last_driver_ended: float | None


class Committed(NamedTuple):
    """A segment in the database.

    Args:
        epoch: epoch of its driver.
        sha256: hash of its content.
    """

    epoch: int
    sha256: bytes


@dataclass
class OrgRules:
    """An org with one run, as the database has it. Times are those of its clock, in seconds.

    Args:
        timing: times of the cluster.
    """

    timing: ClusterTiming
    epoch: int = 0
    driver: str | None = None
    until: float | None = None
    ended_at: float | None = None
    ready_at: float | None = None
    assigned: str | None = None
    """Driver that the run was given to; None while it is queued."""
    segments: list[Committed] = field(default_factory=list)

    def is_held(self, now: float) -> bool:
        """Return whether a driver has the lease."""
        return self.until is not None and self.until > now

    def assign(self, now: float, driver: str) -> bool:
        """Give the queued run to a driver."""
        if self.assigned is not None or self.is_held(now):
            return False
        self.assigned = driver
        return True

    def settle(self, driver: str) -> bool:
        """Queue the run again that a driver had."""
        if self.assigned != driver:
            return False
        self.assigned = None
        return True

    def take(self, now: float, driver: str) -> Taken | None:
        """Take the lease."""
        is_same = self.driver == driver
        is_free = self.until is None or self.until < now
        if self.assigned != driver or not (is_free or is_same):
            return None
        if not is_same:
            self.ended_at = self.ended_at if self.until is None else self.until
        self.ready_at = self._ready_at(now, is_same)
        self.epoch += 1
        self.driver = driver
        self.until = now + self.timing.ttl
        return Taken(self.epoch, max(0.0, self.ready_at - now), self.ended_at)

    def _ready_at(self, now: float, is_same: bool) -> float:
        times = [now]
        if self.ready_at is not None:
            times.append(self.ready_at)
        if self.until is not None and self.driver is not None and not is_same:
            times.append(self.until + self.timing.answer)
        return max(times)

    def renew(self, now: float, epoch: int) -> bool:
        """Renew the lease."""
        if epoch != self.epoch or not self.is_held(now):
            return False
        self.until = now + self.timing.ttl
        return True

    def end(self, now: float, driver: str) -> None:
        """End the lease of a driver that was seen to send nothing any more."""
        if driver == self.driver and self.until is not None:
            self.until, self.ended_at = None, now

    def commit(self, now: float, epoch: int, seq: int, content: bytes) -> bool:
        """Commit a segment."""
        segment = Committed(epoch, hashlib.sha256(content).digest())
        if not self.may_commit(now, epoch):
            return False
        if seq == len(self.segments):
            self.segments.append(segment)
        return self.segments[seq] == segment

    def may_commit(self, now: float, epoch: int) -> bool:
        """Return whether segments of a driver are accepted."""
        return epoch == self.epoch and self.is_held(now)
