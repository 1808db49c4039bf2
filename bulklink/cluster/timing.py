"""Times of a cluster, the same for all its workers: `cluster init` stores them."""

from __future__ import annotations

import msgspec

from bulklink.worker.verdict import Timing


class ClusterTiming(msgspec.Struct, frozen=True, kw_only=True):
    """Times of a cluster, in seconds.

    Args:
        ttl: how long a lease lasts without a renewal, by the clock of the database.
        renew: between two renewals.
        margin: how long before the end of its lease a driver sends nothing more.
        answer: how long after the end of a lease the CRM may still work on a request of its driver;
            the next driver sends nothing before. It is the time-out of a call.
        stalled: silence after which the jobs of a worker count as lost.
        watch: between two looks of a worker at its drivers and at the queue.
        kill: how long after the end of its lease a driver is killed.
        start: how long a driver may take until it has the lease of its org.
        restarts: between two restarts of a run that dies, and what else a worker waits for.
    """

    ttl: float = 30.0
    renew: float = 7.5
    margin: float = 5.0
    answer: float = 40.0
    stalled: float = 30.0
    watch: float = 5.0
    kill: float = 5.0
    start: float = 60.0
    restarts: Timing = Timing()

    def scaled(self, factor: float) -> ClusterTiming:
        """Return the times multiplied by a factor, for tests."""
        names = ("ttl", "renew", "margin", "answer", "stalled", "watch", "kill", "start")
        times = {name: getattr(self, name) * factor for name in names}
        own = msgspec.structs.asdict(self.restarts)
        return ClusterTiming(
            **times, restarts=Timing(**{name: value * factor for name, value in own.items()})
        )
