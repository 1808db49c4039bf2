"""A whole job, from mapping to ledger."""

from __future__ import annotations

import time
from functools import partial

import anyio.from_thread
import anyio.to_thread

from bulklink.engine.shutdown import Stopping
from bulklink.ledger.state import replay
from bulklink.mapping.input.files import Source, sources
from bulklink.mapping.interrupt import Stop
from bulklink.operations.callbacks import Watch
from bulklink.operations.cancellation import guarded, planning_stop, planning_told
from bulklink.operations.environment import real_surroundings
from bulklink.operations.job import Job
from bulklink.operations.plan import checked_in, fresh_folder
from bulklink.operations.prepare import prepare
from bulklink.operations.send import send
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

    Where the task is cancelled the run stops at once: nothing is left where its plan was not sealed
    yet; else what was in flight is settled by `resume`.

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
    return await guarded(partial(_run, job, connection), watch, stopping)


async def _run(job: Job, connection: Connection, watch: Watch, stopping: Stopping) -> RunSummary:
    inputs = sources(job.mappings, job.format)
    planning = planning_stop(stopping)
    with fresh_folder(job) as folder:
        watch.phase("Checking the mapping")
        async with planning_told(planning, watch):
            await anyio.to_thread.run_sync(_prepared, job, folder, inputs, planning, watch)
        told = replay(folder.ledger)
        return await send(folder, told, job, connection, watch, stopping, real_surroundings())


def _prepared(
    job: Job, folder: RunFolder, inputs: tuple[Source, ...], stop: Stop, watch: Watch
) -> None:
    """Prepare in a thread: DuckDB does not look at signals, and the event loop must."""
    with checked_in(folder, job, inputs, stop) as checked:
        for text in checked.warnings:
            anyio.from_thread.run_sync(watch.warn, text)
        if checked.left_out:
            left_out = f"--only leaves out {checked.left_out:,} rows."
            anyio.from_thread.run_sync(watch.warn, left_out)
        prepare(checked, job, folder, time.time())
