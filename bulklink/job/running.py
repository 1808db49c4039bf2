"""A whole job, from mapping to ledger."""

from __future__ import annotations

import time

import anyio.to_thread

from bulklink.engine.stopping import Stopping
from bulklink.job.options import Job
from bulklink.job.planning import checked_in, fresh_folder
from bulklink.job.preparing import prepare
from bulklink.job.progress import Watch
from bulklink.job.sending import send
from bulklink.job.surroundings import real_surroundings
from bulklink.ledger.replay import replay
from bulklink.mapping.sources import Source, sources
from bulklink.mapping.stop import Stop
from bulklink.runs.folder import RunFolder
from bulklink.runs.status import RunSummary
from bulklink.zoho.connection import Connection


async def run(
    job: Job,
    connection: Connection,
    *,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
) -> RunSummary:
    """Check a job's mapping, seal its plan in a run folder and send it.

    Args:
        job: what is asked.
        connection: where the CRM is and how to sign in.
        watch: call-backs; None watches nothing.
        stopping: by which the run can be stopped from outside.

    Returns:
        Where the run stands: finished, or stopped and why.

    Raises:
        RefusedError: if it is refused before anything is changed.
        InterruptedPlanningError: if it was stopped before the plan was sealed; nothing is left.
        LedgerError: if the ledger cannot be trusted.
    """
    watch, stopping = watch or Watch(), stopping or Stopping()
    inputs = sources(job.mappings, job.format)
    planning = Stop()
    stopping.on_stop(planning.interrupt)
    with fresh_folder(job) as folder:
        watch.phase("Checking the mapping")
        await anyio.to_thread.run_sync(_prepared, job, folder, inputs, planning, watch)
        told = replay(folder.ledger)
        return await send(folder, told, job, connection, watch, stopping, real_surroundings())


def _prepared(
    job: Job, folder: RunFolder, inputs: tuple[Source, ...], stop: Stop, watch: Watch
) -> None:
    """Prepare in a thread: DuckDB does not look at signals, and the event loop must."""
    with checked_in(folder, job, inputs, stop) as checked:
        for text in checked.warnings:
            watch.warn(text)
        if checked.left_out:
            watch.warn(f"--only leaves out {checked.left_out:,} rows.")
        prepare(checked, job, folder, time.time())
