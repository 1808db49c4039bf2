"""What is to be done with a run that its driver does not drive any more, by the database."""

from __future__ import annotations

import msgspec

from bulklink.cluster.clocks import DatabaseClock
from bulklink.cluster.database import ClusterDatabase, UnreachableDatabaseError
from bulklink.cluster.leases import OrgLeases
from bulklink.cluster.runs import ClusterRun, RunTable
from bulklink.cluster.timing import ClusterTiming
from bulklink.errors import ExitCode, LockedError, RunDirError, StoppedBy
from bulklink.runs.queue import LeftRun
from bulklink.runs.record import RunState
from bulklink.runs.standing import Standing, standing_of
from bulklink.worker.verdict import Ended, Kind, Verdict, judge_ended


class Settled(msgspec.Struct, frozen=True):
    """What was found about a run that nobody drives any more.

    Args:
        verdict: what is to be done.
        exit_code: exit code of the state in which it is; None while it runs.
        is_cancelled: whether it was cancelled.
        is_recorded: whether the verdict was recorded: another driver may have the run already.
    """

    verdict: Verdict
    exit_code: ExitCode | None
    is_cancelled: bool
    is_recorded: bool


def settle_run(
    database: ClusterDatabase,
    timing: ClusterTiming,
    run: ClusterRun,
    ended: Ended,
    seconds: float,
    *,
    was_seen: bool,
    is_repeated: bool,
) -> Settled:
    """Judge a run whose driver has ended, and record what is to be done with it; blocks.

    Args:
        database: the database.
        timing: times of the cluster.
        run: the run, as its driver had it.
        ended: how its driver ended.
        seconds: how long it lived.
        was_seen: whether its end was seen, so that its lease can be ended now.
        is_repeated: whether the answer was lost when this was tried before.

    Raises:
        psycopg.Error: if the database cannot be used.
    """
    runs = RunTable(database)
    if was_seen:
        _end_lease(database, timing, run)
    try:
        current, record = runs.read(run.run), runs.read_record(run.run)
    except RunDirError as error:  # of a later version, or gone
        left = LeftRun(error.code, error.message, holds_org=False, invocations=0)
        verdict = Verdict(Kind.LEFT, left=left)
        is_recorded = runs.settle(run, verdict, is_repeated=is_repeated)
        return Settled(verdict, None, run.cancel, is_recorded)
    if record.state is RunState.RUNNING:  # it lost its lease, or died
        record = record.replace(state=RunState.STOPPED, stopped_by=StoppedBy.KILLED, resume_at=None)
    standing = standing_of(record)
    ended = _as_seen(ended, standing, was_seen=was_seen)
    verdict = judge_ended(ended, seconds, standing, run.deaths, current.now, timing.restarts)
    is_recorded = runs.settle(run, verdict, is_repeated=is_repeated)
    return Settled(verdict, standing.exit_code, current.cancel, is_recorded)


def _end_lease(database: ClusterDatabase, timing: ClusterTiming, run: ClusterRun) -> None:
    OrgLeases(
        database,
        org_key=run.org_key,
        run=run.run,
        driver=run.driver or "",
        timing=timing,
        clock=DatabaseClock(),
    ).end()


def _as_seen(ended: Ended, standing: Standing, *, was_seen: bool) -> Ended:
    """Return how a driver ended, where its exit code alone does not say it.

    Args:
        ended: how it ended, as far as that is known.
        standing: where its run stands.
        was_seen: whether its end was seen.
    """
    if ended.code == UnreachableDatabaseError.code:  # as if another driver had the org
        return msgspec.structs.replace(ended, code=LockedError.code)
    if not was_seen and standing.stopped_by == StoppedBy.TERMINATED:  # together with its worker
        return msgspec.structs.replace(ended, stopped=True)
    return ended
