"""The statements of leases and segments do in PostgreSQL what the rules in Python do."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bulklink.cluster import clocks
from bulklink.cluster.clocks import DatabaseClock
from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.lease import Lease, LeaseOverError, Moment
from bulklink.cluster.leases import OrgLeases
from bulklink.cluster.runs import RunTable
from bulklink.cluster.schema import initialize
from bulklink.cluster.segments import LEDGER, DriverStore, Segment
from bulklink.cluster.timing import ClusterTiming
from bulklink.worker.verdict import Kind, Verdict
from tests.cluster.lease_rules import OrgRules, Taken
from tests.cluster.postgres import PostgresServer
from tests.cluster.single_runs import new_run

TIMING = ClusterTiming()
START = 1_800_000_000.0
ORG, RUN = "org", UUID(int=1)
_CLOCK = """
CREATE TABLE test_clock (seconds double precision NOT NULL);
INSERT INTO test_clock VALUES (0);
CREATE FUNCTION bulklink.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT to_timestamp(seconds) FROM bulklink.test_clock';
"""
_RESET = """
DELETE FROM segment; DELETE FROM run; DELETE FROM org;
INSERT INTO org (org_key) VALUES ('org');
"""
_ORG = """
SELECT epoch, org.driver, extract(epoch FROM until)::float8,
    extract(epoch FROM org.ended_at)::float8, extract(epoch FROM ready_at)::float8,
    CASE WHEN state = 'running' THEN run.driver END
FROM org JOIN run USING (org_key)
"""
_DRIVERS = ("a", "b")
_SECONDS = (0.5, 5.0, 29.5, TIMING.ttl, 30.5, TIMING.answer)
_CHOICES: list[tuple[object, ...]] = [
    *(("advance", seconds) for seconds in _SECONDS),
    *(
        (name, driver)
        for name in ("begin", "begin", "begin", "take", "end", "end")
        for driver in _DRIVERS
    ),
    *(("renew", older) for older in (-1, 0)),
    *(("commit", older, seq, b"x") for older in (-1, 0) for seq in (-1, 0)),
    ("commit", 0, -1, b"y"),
]
operations = st.lists(st.sampled_from(_CHOICES), min_size=10, max_size=30).map(
    lambda chosen: [part for operation in chosen for part in _parts(operation)]
)


def _parts(operation: tuple[object, ...]) -> list[tuple[object, ...]]:
    """Return the statements of an operation."""
    name, *values = operation
    if name != "begin":
        return [operation]
    settled = [("settle", driver) for driver in _DRIVERS]
    return [*settled, ("assign", *values), ("take", *values)]


class SqlOrg:
    """The org and its run in PostgreSQL, whose clock the test sets.

    Args:
        database: the database, in which `clock_timestamp` is that of the test.
    """

    def __init__(self, database: ClusterDatabase) -> None:
        self.database = database
        self._runs = RunTable(database)

    def reset(self) -> None:
        """Start with an org that never had a driver."""
        self.database.run_script(_RESET)
        self._runs.add(new_run(ORG, run=RUN))

    def set_clock(self, seconds: float) -> None:
        """Set the clock of the database, in seconds since 1970."""
        self.database.query("UPDATE test_clock SET seconds = %(seconds)s", {"seconds": seconds})

    def assign(self, driver: str) -> bool:
        return self._runs.assign(RUN, driver)

    def settle(self, driver: str) -> bool:
        run = self._runs.read(RUN)
        has_run = run.state == "running" and run.driver == driver
        return has_run and self._runs.settle(run, Verdict(Kind.START))

    def _leases(self, driver: str) -> OrgLeases:
        return OrgLeases(
            self.database,
            org_key=ORG,
            run=RUN,
            driver=driver,
            timing=TIMING,
            clock=DatabaseClock(),
        )

    def take(self, driver: str) -> Taken | None:
        taken = self._leases(driver).take()
        if taken is None:
            return None
        return Taken(taken.lease.epoch, taken.ready_in, taken.last_driver_ended)

    def renew(self, epoch: int) -> bool:
        lease = Lease(epoch, Moment(0.0, 0.0), TIMING.ttl, TIMING.margin)
        return self._leases("any").renew(lease) is not None

    def end(self, driver: str) -> None:
        self._leases(driver).end()

    def commit(self, epoch: int, seq: int, content: bytes) -> bool:
        store = DriverStore(
            self.database, org_key=ORG, run=RUN, epoch=epoch, seconds_left=lambda: 5.0
        )
        try:
            store.commit([Segment(LEDGER, seq, content)])
        except LeaseOverError:
            return False
        return True

    def row(self) -> tuple[object, ...]:
        ((*row,),) = self.database.query(_ORG)
        return tuple(row)


@pytest.fixture(scope="module")
def sql_org(postgres: PostgresServer) -> Iterator[SqlOrg]:
    conninfo = conninfo_from({"BULKLINK_CLUSTER_URL": postgres.create_database()})
    initialize(conninfo)
    # Where the catalog is named, it is not searched first.
    options = f"{conninfo_to_dict(conninfo)['options']} -c search_path=bulklink,pg_catalog"
    database = ClusterDatabase(make_conninfo(conninfo, options=options))
    database.run_script(_CLOCK)
    yield SqlOrg(database)
    database.close()


def apply_to_rules(rules: OrgRules, now: float, name: str, values: tuple[object, ...]) -> object:
    if name == "settle":
        return rules.settle(str(values[0]))
    return getattr(rules, name)(now, *values)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations)
@example(
    [
        *_parts(("begin", "a")),
        ("advance", 30.5),
        *_parts(("begin", "b")),
        ("end", "b"),
        *_parts(("begin", "a")),
    ]
)
def test_the_statements_follow_the_rules(
    sql_org: SqlOrg, operations: list[tuple[object, ...]]
) -> None:
    rules, now = OrgRules(TIMING), START
    sql_org.reset()
    sql_org.set_clock(now)
    for name, *values in operations:
        if name == "advance":
            (seconds,) = values
            assert isinstance(seconds, float)
            now += seconds
            sql_org.set_clock(now)
            continue
        assert isinstance(name, str)
        arguments = tuple(values)
        if name in ("renew", "commit"):  # the epoch, and the number, that are right, or one less
            assert isinstance(values[0], int)
            arguments = (rules.epoch + values[0], *values[1:])
        if name == "commit":
            seq = max(0, len(rules.segments) + int(str(values[1])))
            arguments = (arguments[0], seq, values[2])
        expected = apply_to_rules(rules, now, name, arguments)
        answered = getattr(sql_org, name)(*arguments)
        if isinstance(expected, Taken):
            expected = pytest.approx(tuple(expected), abs=1e-3)
        assert answered == expected, (name, arguments)
    expected_row = (
        *(rules.epoch, rules.driver, rules.until, rules.ended_at, rules.ready_at),
        rules.assigned,
    )
    assert sql_org.row() == expected_row
    stored = sql_org.database.query("SELECT epoch, sha256 FROM segment ORDER BY seq")
    assert [tuple(row) for row in stored] == rules.segments


class RecordingDatabase(ClusterDatabase):
    """A database that answers at once, and remembers the moment."""

    def __init__(self, answer: tuple[object, ...]) -> None:
        super().__init__("")
        self.answer = answer
        self.executed_at = clocks.now()

    def query(self, statement: str, values: object = None, *, within: float = 0.0) -> list[object]:
        self.executed_at = clocks.now()
        while clocks.now().boot == self.executed_at.boot:
            pass  # until the clock has moved
        return [self.answer]


def test_a_lease_counts_from_the_moment_before_its_statement() -> None:
    taking = RecordingDatabase((1, 0.0, None, START))
    renewing = RecordingDatabase((False, START))
    values = {"org_key": ORG, "run": RUN, "driver": "a", "timing": TIMING}
    leases = [OrgLeases(db, clock=DatabaseClock(), **values) for db in (taking, renewing)]  # type: ignore[arg-type]
    taken = leases[0].take()
    assert taken is not None
    renewal = leases[1].renew(taken.lease)
    assert renewal is not None
    assert taken.lease.asked_at.boot <= taking.executed_at.boot
    assert taking.executed_at.boot < renewal.lease.asked_at.boot <= renewing.executed_at.boot
