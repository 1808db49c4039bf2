"""A worker with what it needs: database, queue, and removal of old runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import anyio
import platformdirs
import psycopg

from bulklink.advice import Advice
from bulklink.cluster.database import ClusterDatabase, call_in_thread
from bulklink.cluster.queue import ProcrastinateQueue, QueueUnavailableError
from bulklink.cluster.runs import RunTable
from bulklink.cluster.supervisor import ClusterWorkResult, supervise
from bulklink.cluster.timing import ClusterTiming
from bulklink.engine.shutdown import StopController
from bulklink.task_group import task_group

_REMOVAL_SECONDS = 3600.0


async def run_worker(
    database: ClusterDatabase,
    timing: ClusterTiming,
    *,
    slots: int,
    drain: bool,
    keep_days: int | None,
    stop: StopController,
    report: Callable[[str | Advice], None],
    profiles: Callable[[], Sequence[str]],
    profile: str | None,
) -> ClusterWorkResult:
    """Drive runs of a cluster until this worker is stopped; see `supervise`.

    Args:
        database: the database of the cluster.
        timing: its times.
        slots: runs that are sent at the same time.
        drain: whether to end when nothing can be sent any more.
        keep_days: days after which finished runs are removed; None keeps them.
        stop: stops the worker.
        report: called with each event.
        profiles: returns the profiles of this machine.
        profile: profile of runs that were submitted without one.
    """
    async with task_group() as group, ProcrastinateQueue(database.conninfo, timing) as queue:
        if keep_days is not None:
            group.start_soon(remove_old_runs, ClusterDatabase(database.conninfo), keep_days)
        result = await supervise(
            database,
            queue,
            timing,
            slots=slots,
            drain=drain,
            stop=stop,
            report=report,
            profiles=profiles,
            profile=profile,
        )
        group.cancel_scope.cancel()
    return result


async def remove_old_runs(
    database: ClusterDatabase, days: float, sleep: Callable[[float], Awaitable[None]] = anyio.sleep
) -> None:
    """Remove runs that finished some days ago, now and every hour, until it is cancelled.

    Args:
        database: the database, for this task alone.
        days: the days.
        sleep: sleeps some seconds.
    """
    try:
        while True:
            with suppress(psycopg.Error):  # the next hour tries it again
                await call_in_thread(RunTable(database).delete_ended, days)
            await sleep(_REMOVAL_SECONDS)
    finally:
        database.close()


async def wake_worker(database: ClusterDatabase, timing: ClusterTiming, org_key: str) -> None:
    """Queue an org for which a run was just submitted, so that no worker has to look for it.

    It is queued for the profile of its first run, which may be an earlier one: the job of a profile
    that no worker has would keep the org from those that have the right one.

    Args:
        database: the database of the cluster.
        timing: its times.
        org_key: key of the org.
    """
    with suppress(psycopg.Error, QueueUnavailableError):  # the next look of a worker finds it
        first = await call_in_thread(RunTable(database).first_of, org_key)
        if first is None or first.state != "queued":
            return
        async with ProcrastinateQueue(database.conninfo, timing) as queue:
            await queue.add(org_key, first.profile)


def work_folder() -> Path:
    """Return the folder in which drivers keep the runs that they drive."""
    return Path(platformdirs.user_state_dir("bulklink", appauthor=False)) / "cluster"
