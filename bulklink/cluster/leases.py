"""Leases of orgs in the database: taken, renewed, ended. Each is a single statement."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from bulklink.cluster.clocks import DatabaseClock, now
from bulklink.cluster.database import ANSWER_SECONDS, ClusterDatabase
from bulklink.cluster.lease import Lease, Moment
from bulklink.cluster.timing import ClusterTiming

_LEAST_SECONDS = 0.5
_TAKE = """
UPDATE org SET
    epoch = epoch + 1, run = %(run)s, driver = %(driver)s,
    until = clock_timestamp() + make_interval(secs => %(ttl)s),
    ended_at = CASE WHEN driver = %(driver)s THEN ended_at ELSE coalesce(until, ended_at) END,
    ready_at = greatest(clock_timestamp(), ready_at, CASE WHEN driver <> %(driver)s
        THEN until + make_interval(secs => %(answer)s) END)
WHERE org_key = %(org_key)s
    AND (until IS NULL OR until < clock_timestamp() OR driver = %(driver)s)
    AND EXISTS (SELECT FROM run WHERE run.run = %(run)s AND state = 'running'
                AND run.driver = %(driver)s)
RETURNING epoch, extract(epoch FROM ready_at - clock_timestamp())::float8,
    extract(epoch FROM ended_at)::float8, extract(epoch FROM clock_timestamp())::float8
"""
"""Repeated by the same driver, whose first answer was lost, it waits for nobody."""
_RENEW = """
UPDATE org SET until = clock_timestamp() + make_interval(secs => %(ttl)s)
WHERE org_key = %(org_key)s AND epoch = %(epoch)s AND until > clock_timestamp()
RETURNING (SELECT cancel FROM run WHERE run.run = org.run),
    extract(epoch FROM clock_timestamp())::float8
"""
_END = """
UPDATE org SET until = NULL, ended_at = clock_timestamp()
WHERE org_key = %(org_key)s AND driver = %(driver)s AND until IS NOT NULL
"""


class TakenLease(msgspec.Struct, frozen=True):
    """A lease that was just taken.

    Args:
        lease: the lease.
        ready_in: seconds in which nothing may be sent yet: the CRM may still work on requests of a
            driver that was not seen to end.
        last_driver_ended: when the driver before could send for the last time, by the clock of the
            database, seconds since 1970; None without one.
    """

    lease: Lease
    ready_in: float
    last_driver_ended: float | None


class Renewal(msgspec.Struct, frozen=True):
    """A renewed lease.

    Args:
        lease: the lease.
        is_cancelled: whether the run is to be stopped.
    """

    lease: Lease
    is_cancelled: bool


class OrgLeases:
    """Leases of one org, for one driver.

    Args:
        database: the database, for one thread at a time.
        org_key: key of the org.
        run: the run to be driven.
        driver: name of this driver; its worker ends the lease by it.
        timing: times of the cluster.
        clock: compared with the database's at each statement.
    """

    def __init__(
        self,
        database: ClusterDatabase,
        *,
        org_key: str,
        run: UUID,
        driver: str,
        timing: ClusterTiming,
        clock: DatabaseClock,
    ) -> None:
        self._database = database
        self._timing = timing
        self._clock = clock
        self._values: dict[str, Any] = {
            "org_key": org_key,
            "run": run,
            "driver": driver,
            "ttl": timing.ttl,
            "answer": timing.answer,
        }

    def take(self) -> TakenLease | None:
        """Take the lease of the org; None if another driver has it, or the run is not this one's.

        Raises:
            psycopg.Error: if the database cannot be used.
        """
        asked_at = now()
        row = self._database.query_one(_TAKE, self._values)
        if row is None:
            return None
        epoch, ready_in, last_driver_ended, wall = row
        self._clock.set(wall, asked_at, now())
        lease = Lease(epoch, asked_at, self._timing.ttl, self._timing.margin)
        return TakenLease(lease, max(0.0, ready_in), last_driver_ended)

    def renew(self, lease: Lease) -> Renewal | None:
        """Renew a lease; None if it has ended.

        Raises:
            psycopg.Error: if the database cannot be used.
        """
        asked_at: Moment = now()
        within = max(_LEAST_SECONDS, lease.seconds_to_end(asked_at))
        values = self._values | {"epoch": lease.epoch}
        row = self._database.query_one(_RENEW, values, within=within)
        if row is None:
            return None
        is_cancelled, wall = row
        self._clock.set(wall, asked_at, now())
        return Renewal(lease.renewed(asked_at), bool(is_cancelled))

    def end(self, within: float = ANSWER_SECONDS) -> None:
        """End the lease of this driver, which sends nothing any more.

        Args:
            within: seconds after which the statement counts as lost.

        Raises:
            psycopg.Error: if the database cannot be used.
        """
        self._database.query(_END, self._values, within=within)
