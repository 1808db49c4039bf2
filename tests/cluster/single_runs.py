"""Runs of a cluster without a plan, for tests of leases, ledgers and queues alone."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4

import msgspec

from bulklink.cluster.clocks import DatabaseClock
from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.holding import LeaseHolder
from bulklink.cluster.leases import OrgLeases, TakenLease
from bulklink.cluster.runs import NewRun, RunTable
from bulklink.cluster.segments import DriverStore
from bulklink.runs.record import RunRecord
from tests.cluster.conftest import TIMING

EXPIRE = "UPDATE org SET until = clock_timestamp() - make_interval(secs => 1)"
"""Ends all leases, as time does."""


def open_url(url: str) -> ClusterDatabase:
    """Return a connection to the database of an address."""
    return ClusterDatabase(conninfo_from({"BULKLINK_CLUSTER_URL": url}))


def new_run(
    org_key: str,
    name: str = "run",
    *,
    run: UUID | None = None,
    record: RunRecord | None = None,
    profile: str | None = None,
) -> NewRun:
    """Return a run to be added; one without a record is sent by nobody."""
    return NewRun(
        run=run or uuid4(),
        name=name,
        org_key=org_key,
        job=None,
        shard=None,
        request=name,
        digest="digest",
        op="link",
        messages=1,
        org_id=None,
        org_name=None,
        profile=profile,
        options=(),
        approved_by="tests",
        record=b"{}" if record is None else msgspec.json.encode(record),
    )


def add_run(database: ClusterDatabase, record: RunRecord, org_key: str, name: str = "run") -> UUID:
    """Add a queued run of an org; blocks."""
    table, run = RunTable(database), new_run(org_key, name, record=record)
    table.add_org(org_key)
    table.add(run)
    return run.run


def add_named_run(runs: RunTable, org_key: str, profile: str | None = None) -> str:
    """Add a queued run of an org with a name of its own, which nobody can send; return its id."""
    name = uuid4().hex
    run = new_run(org_key, name, profile=profile)
    runs.add_org(org_key)
    runs.add(run)
    return str(run.run)


@dataclass(frozen=True, slots=True)
class LeasedRun:
    """A run of an org as one driver has it.

    Args:
        run: id of the run.
        org_key: key of the org.
        driver: name of the driver.
    """

    run: UUID
    org_key: str
    driver: str

    def leases(self, database: ClusterDatabase) -> OrgLeases:
        """Return its leases by way of a connection."""
        return OrgLeases(
            database,
            org_key=self.org_key,
            run=self.run,
            driver=self.driver,
            timing=TIMING,
            clock=DatabaseClock(),
        )

    def take(self, database: ClusterDatabase) -> TakenLease | None:
        """Give the run to the driver, and let it take the lease; blocks."""
        RunTable(database).assign(self.run, self.driver)
        return self.leases(database).take()

    def holder(self, taken: TakenLease, database: ClusterDatabase) -> LeaseHolder:
        """Return what renews its lease."""
        return LeaseHolder(taken.lease, self.leases(database), renew=TIMING.renew)

    def store(
        self, database: ClusterDatabase, taken: TakenLease, holder: LeaseHolder
    ) -> DriverStore:
        """Return what writes to the database."""
        return DriverStore(
            database,
            org_key=self.org_key,
            run=self.run,
            epoch=taken.lease.epoch,
            seconds_left=holder.seconds_left,
        )
