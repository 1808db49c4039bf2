"""`undo`: seal the inverse of a run in a new run folder, and send it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import msgspec

from bulklink.advice import Advice
from bulklink.engine.clock import Clock, real_clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode
from bulklink.ledger.replay import replay
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Status
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_blocking_planning, run_guarded, run_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job import MIXED, Job
from bulklink.operations.job_options import SendOptions
from bulklink.operations.plan import PlanResult, new_run_folder
from bulklink.operations.preflight import check_same_host
from bulklink.operations.send import send
from bulklink.operations.undo_job import plan_job_undo, undo_job
from bulklink.operations.undo_plan import build_undo_plan
from bulklink.operations.undo_seal import seal_undo, undo_cost, undo_options
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.job_folder import find_job, refuse_shard
from bulklink.runs.record import RunRecord, RunState, refuse_load_test
from bulklink.runs.status import PENDING, CallCounts, RunResult, build_run_result
from bulklink.zoho.connection import Connection

_NO_ROWS = RunResult(
    run_dir="",
    op=MIXED,
    state=RunState.FINISHED,
    stopped_by=None,
    resume_at=None,
    rows=0,
    counts=dict.fromkeys([*map(str, Status), PENDING], 0),
    calls=CallCounts(**dict.fromkeys(CallCounts.__struct_fields__, 0)),
    credits=0,
    seconds=0.0,
    exit_code=ExitCode.OK,
)
EMPTY_UNDO: dict[str, Any] = msgspec.to_builtins(_NO_ROWS) | {"run_dir": None}
"""JSON output of an undo with nothing to undo: a run with no rows and no folder."""


async def undo(
    run: str | PathLike[str],
    connection: Connection,
    *,
    include_settled: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **options: Unpack[SendOptions],
) -> RunResult | None:
    """Restore every email that a run changed, in a new run.

    An email is changed only if it is still as the run left it. The undo of a job is a job too: a
    shard for each one that changed something.

    Args:
        run: run folder, or the folder of a job.
        connection: endpoint and credentials of the CRM.
        include_settled: whether to undo links that might not be the run's.
        callbacks: receives progress and events; None for none. `on_warning` is called before
            sending with the rows that are not undone, and why.
        stop: stops the undo from outside.
        environment: network, disk and clock; None for this machine's, others for tests.
        **options: options of `Job`: how to send the undo, and its folder. They default to those of
            the run, except `yes`, `max_credits`, `run_dir` and `runs_dir`.

    Returns:
        The state of the undo; None if there is nothing to undo.

    Raises:
        RunDirError: if this is not a run, or the folder of the undo cannot be created.
        LockedError: if a process is running the run.
        DigestError: if the plan or the names of the run changed since it sent them.
        WrongOrgError: if the run is of another org.
        LedgerError: if a ledger cannot be trusted.
    """
    environment = environment or real_environment()
    if (source_job := find_job(run)) is not None:
        work = partial(
            undo_job,
            source=source_job,
            options=options,
            connection=connection,
            environment=environment,
            include_settled=include_settled,
        )
        return await run_guarded(work, callbacks, stop)
    source, job = _source_run(run, options)
    work = partial(_undo, source, job, connection, environment, include_settled=include_settled)
    return await run_guarded(work, callbacks, stop)


def _source_run(run: str | PathLike[str], options: SendOptions) -> tuple[RunFolder, Job]:
    """Return the run to undo, and the job that sends its inverse.

    Raises:
        RunDirError: if this is not a run, or a shard of a job.
    """
    source = folder_of(run)
    record = source.read()
    refuse_shard(record, source.path, "undo")
    return source, undo_options(source.path, record, options)


async def _undo(
    source: RunFolder,
    job: Job,
    connection: Connection,
    environment: Environment,
    callbacks: RunCallbacks,
    stop: StopController,
    *,
    include_settled: bool,
) -> RunResult | None:
    record = source.read()
    refuse_load_test(record, source.path)
    check_same_host(record, connection)
    callbacks.on_phase("Reading the ledger")
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        undo_plan = await run_planning(
            lambda planning_stop, _: build_undo_plan(
                source, Path(scratch), include_settled=include_settled, stop=planning_stop
            ),
            callbacks,
            stop,
            environment.run_blocking,
        )
        if not undo_plan.rows and not undo_plan.not_undone:
            return None
        for text in undo_plan.warnings():
            callbacks.warn(text)
        with new_run_folder(job, environment.clock, callbacks.warn, "undo") as folder:
            now = environment.clock.wall()
            seal = partial(seal_undo, undo_plan, source, record, job, folder, now)
            undo_record = await run_planning(
                lambda planning_stop, _: seal(planning_stop),
                callbacks,
                stop,
                environment.run_blocking,
            )
            ledger_state = await environment.run_blocking(partial(replay, folder.ledger))
            if undo_record.state is RunState.FINISHED:
                return await environment.run_blocking(
                    partial(build_run_result, folder, undo_record, ledger_state)
                )
            return await send(
                folder,
                ledger_state,
                job=job,
                connection=connection,
                callbacks=callbacks,
                stop=stop,
                environment=environment,
            )


def plan_undo(
    run: str | PathLike[str],
    *,
    include_settled: bool = False,
    module_known: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    clock: Clock | None = None,
    **options: Unpack[SendOptions],
) -> PlanResult:
    """Plan an undo and estimate its cost. No connection is opened.

    With `run_dir` the plan is sealed there, for `apply`. Blocks and calls the callbacks as `plan`
    does.

    Args:
        run: run folder, or the folder of a job, whose undo is sealed as a job too.
        include_settled: whether to undo links that might not be the run's.
        module_known: whether the id of the Deals module need not be looked up.
        callbacks: `on_planning` is called twice a second, `on_warning` with the rows that are not
            undone, and why, both in the calling thread; None for none.
        stop: stops the planning; any thread or signal handler may call its `interrupt`.
        clock: clock; None for this machine's, others for tests.
        **options: options of `Job`: how to send the undo, and its folder; as for `undo`.

    Returns:
        The cost; `rejected` counts the rows that are not undone.

    Raises:
        RunDirError: if this is not a run.
        LockedError: if a process is running the run.
        DigestError: if the plan or the names of the run changed since it sent them.
        LedgerError: if a ledger cannot be trusted.
        InterruptedPlanningError: if `stop` ended it.
    """
    clock = clock or real_clock()
    if (source_job := find_job(run)) is not None:
        work = partial(
            plan_job_undo,
            source=source_job,
            options=options,
            clock=clock,
            include_settled=include_settled,
            module_known=module_known,
        )
        return run_blocking_planning(work, callbacks, stop)
    source, job = _source_run(run, options)
    work = partial(
        _plan_undo,
        source,
        source.read(),
        job,
        clock,
        include_settled=include_settled,
        module_known=module_known,
    )
    return run_blocking_planning(work, callbacks, stop)


def _plan_undo(
    source: RunFolder,
    record: RunRecord,
    job: Job,
    clock: Clock,
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
    *,
    include_settled: bool,
    module_known: bool,
) -> PlanResult:
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        undo_plan = build_undo_plan(
            source,
            Path(scratch),
            include_settled=include_settled,
            stop=stop,
            measured=job.run_dir is None,
        )
        for text in undo_plan.warnings():
            warn(text)
        digest = None
        if job.run_dir is not None and undo_plan.rows + undo_plan.not_undone:
            with new_run_folder(job, clock, warn, "undo") as folder:
                sealed = seal_undo(undo_plan, source, record, job, folder, clock.wall(), stop)
            digest = sealed.digest
        return undo_cost(undo_plan, source, record, job, digest, stop, module_known=module_known)
