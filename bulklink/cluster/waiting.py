"""Waiting until submitted runs have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import anyio
import msgspec

from bulklink.cluster.database import (
    ClusterDatabase,
    UnreachableDatabaseError,
    call_in_thread,
    database_errors,
)
from bulklink.cluster.overview import ClusterOverview, OverviewRun, cluster_overview
from bulklink.cluster.runs import ClusterRun, RunTable
from bulklink.cluster.timing import ClusterTiming
from bulklink.errors import ExitCode, RunDirError
from bulklink.runs.standing import standing_of
from bulklink.worker.worker import worker_exit_code

_ENDED = ("finished", "left", "cancelled")


class WaitResult(msgspec.Struct, frozen=True):
    """How runs of a cluster ended.

    Args:
        finished: runs that finished.
        with_failures: those of them with emails that are not done.
        left: names of the runs that were left to a person.
        cancelled: names of the runs that were cancelled or removed.
        held: names of the runs that wait until a person has acted on an earlier one.
        exit_code: exit code.
    """

    finished: int
    with_failures: int
    left: tuple[str, ...]
    cancelled: tuple[str, ...]
    held: tuple[str, ...]
    exit_code: int


async def wait_for_runs(
    database: ClusterDatabase,
    timing: ClusterTiming,
    runs: Sequence[ClusterRun],
    *,
    report: Callable[[OverviewRun, ClusterOverview], None],
    report_away: Callable[[UnreachableDatabaseError], None],
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> WaitResult:
    """Wait until runs of one org have finished, or need a person.

    Runs that wait for credits or a restart are waited for; so are a database that is away, and a
    worker to be started.

    Args:
        database: the database of the cluster.
        timing: its times.
        runs: the runs.
        report: called with each run whose state has changed, and the cluster.
        report_away: called once when the database is away.
        sleep: sleeps some seconds.

    Raises:
        ConfigError: if the database cannot be used for another reason than that it is away.
    """
    names = {str(run.run): run.name for run in runs}
    seen: dict[str, tuple[str, str | None]] = {}
    is_away = False
    while True:
        try:
            overview = await call_in_thread(cluster_overview, database, timing, runs[0].org_key)
        except UnreachableDatabaseError as error:
            if not is_away:
                report_away(error)
            is_away = True
        else:
            is_away = False
            waited_for = [run for run in overview.runs if run.id in names]
            for run in waited_for:
                if seen.get(run.id) != (run.state, run.until):
                    seen[run.id] = (run.state, run.until)
                    report(run, overview)
            if all(run.state in _ENDED or run.is_held for run in waited_for):
                return await call_in_thread(_result, database, names, waited_for)
        await sleep(timing.watch)


def _result(
    database: ClusterDatabase, names: dict[str, str], runs: Sequence[OverviewRun]
) -> WaitResult:
    finished = [run for run in runs if run.state == "finished"]
    with_failures = sum(_has_failures(database, UUID(run.id)) for run in finished)
    left = tuple(run.name for run in runs if run.state == "left")
    held = tuple(run.name for run in runs if run.is_held)
    there = {run.id for run in runs if run.state != "cancelled"}
    cancelled = tuple(name for run, name in names.items() if run not in there)
    return WaitResult(
        finished=len(finished),
        with_failures=with_failures,
        left=left,
        cancelled=cancelled,
        held=held,
        exit_code=worker_exit_code(None, left + cancelled + held, with_failures),
    )


def _has_failures(database: ClusterDatabase, run: UUID) -> bool:
    with database_errors(database.conninfo):
        try:
            record = RunTable(database).read_record(run)
        except RunDirError:  # removed since
            return False
    return standing_of(record).exit_code == ExitCode.ROWS_NOT_DONE
