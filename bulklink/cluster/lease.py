"""Lease of an org: when its driver may send, and when it must renew. Pure.

The database alone decides when a lease ends, by its own clock. A driver cannot see that clock while
it sends, so it computes a deadline that is never later: the clocks of its machine before it asked
for the lease, plus the length of the lease, minus a margin. No clocks of two machines are compared.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy


class Moment(NamedTuple):
    """A moment by the clocks of one machine, in seconds.

    Args:
        boot: monotonic, and counts the time in which the machine slept.
        wall: since 1970; it jumps when a suspended virtual machine resumes and sets its clock.
    """

    boot: float
    wall: float


class Lease(msgspec.Struct, frozen=True):
    """A lease as its driver knows it.

    Args:
        epoch: counts the drivers of the org; greater than those of all earlier leases.
        asked_at: moment before the statement was sent that took or last renewed it.
        ttl: its length in seconds.
        margin: seconds before its end in which nothing is sent.
    """

    epoch: int
    asked_at: Moment
    ttl: float
    margin: float

    def may_send(self, now: Moment) -> bool:
        """Return whether a request may leave, because no other driver can have the org yet."""
        return self.seconds_left(now) > 0.0

    def seconds_left(self, now: Moment) -> float:
        """Return for how many seconds requests may leave."""
        elapsed = max(now.boot - self.asked_at.boot, now.wall - self.asked_at.wall)
        return self.ttl - self.margin - elapsed

    def seconds_to_end(self, now: Moment) -> float:
        """Return the seconds until it has surely ended, if it is not renewed."""
        return self.seconds_left(now) + self.margin

    def renewed(self, asked_at: Moment) -> Lease:
        """Return the lease after a renewal.

        Args:
            asked_at: moment before the renewal was asked for.
        """
        return msgspec.structs.replace(self, asked_at=asked_at)


class LeaseOverError(OSError):
    """Raised where a driver would write although another one may have the org by now."""

    def __init__(self) -> None:
        super().__init__("the lease of this org is over")


def lease_error() -> RunStoppedError:
    """Return why a run stops whose driver has lost the lease."""
    return RunStoppedError(
        StoppedBy.LEASE,
        "The lease of the org was not renewed in time: another worker may drive the run now.",
        advice="Nothing is to be done: a worker of the cluster continues the run.",
    )
