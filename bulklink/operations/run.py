"""A whole job, from mapping to ledger."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.clock import Clock
from bulklink.engine.shutdown import StopController
from bulklink.ledger.replay import replay
from bulklink.mapping.input.files import Source
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_guarded, run_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import Job
from bulklink.operations.plan import checked_mapping, find_inputs, new_run_folder
from bulklink.operations.prepare import prepare_run
from bulklink.operations.send import send
from bulklink.runs.folder import RunFolder
from bulklink.runs.status import RunResult
from bulklink.zoho.connection import Connection


async def run(
    job: Job,
    connection: Connection,
    *,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
) -> RunResult:
    """Check a job's mapping, seal its plan in a run folder and send it.

    If the task is cancelled, the run stops immediately: before the plan is sealed, nothing is left;
    afterwards, `resume` settles the calls that were in flight.

    Args:
        job: the job.
        connection: endpoint and credentials of the CRM.
        callbacks: callbacks of the run; None reports nothing.
        stop: stops the run from outside; None if nothing does.
        environment: network, disk and clock; None for this machine's, others for tests.

    Returns:
        The state of the run: finished, or stopped and why.

    Raises:
        RefusedError: if it is refused before anything is changed.
        InterruptedPlanningError: if it was stopped before the plan was sealed; nothing is left.
        LedgerError: if the ledger cannot be trusted.
    """
    work = partial(_run, job, connection, environment or real_environment())
    return await run_guarded(work, callbacks, stop)


async def _run(
    job: Job,
    connection: Connection,
    environment: Environment,
    callbacks: RunCallbacks,
    stop: StopController,
) -> RunResult:
    inputs = find_inputs(job)
    with new_run_folder(job, environment.clock, callbacks.warn) as folder:
        callbacks.on_phase("Checking the mapping")
        await run_planning(
            partial(
                _prepare,
                job,
                folder,
                inputs,
                environment.clock,
                module_known=connection.module_id is not None,
            ),
            callbacks,
            stop,
            environment.run_blocking,
        )
        ledger_state = await environment.run_blocking(partial(replay, folder.ledger))
        return await send(
            folder,
            ledger_state,
            job=job,
            connection=connection,
            callbacks=callbacks,
            stop=stop,
            environment=environment,
        )


def _prepare(
    job: Job,
    folder: RunFolder,
    inputs: tuple[Source, ...],
    clock: Clock,
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
    *,
    module_known: bool,
) -> None:
    with checked_mapping(folder, job, inputs, stop) as checked:
        for text in checked.warnings:
            warn(text)
        if checked.left_out:
            warn(Advice("{} leaves out {}.", Keyword("only"), count_of(checked.left_out, "row")))
        prepare_run(checked, job, folder, clock.wall(), module_known=module_known)
