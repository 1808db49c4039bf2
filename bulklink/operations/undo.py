"""`undo`: seal the inverse of a run in a new run folder, and send it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import msgspec

from bulklink.advice import Advice
from bulklink.engine.clock import Clock, real_clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode
from bulklink.file_names import file_name_text
from bulklink.ledger.replay import replay
from bulklink.mapping.input.files import InputFormat, Source
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import NO_ROWS
from bulklink.models import Op, Status
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_blocking_planning, run_guarded, run_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.estimate import CallEstimate, EstimatedBottleneck, RunEstimate
from bulklink.operations.job import MIXED, Job, OnInvalid
from bulklink.operations.job_options import (
    PER_CALL_OPTIONS,
    SEND_OPTIONS,
    SendOptions,
    with_options,
)
from bulklink.operations.plan import (
    MeasuredPlan,
    PlanResult,
    checked_mapping,
    make_plan_result,
    new_run_folder,
)
from bulklink.operations.preflight import check_same_host
from bulklink.operations.prepare import (
    ExtraRows,
    check_mapping,
    create_ledger,
    new_record,
    prepare_run,
)
from bulklink.operations.seal import load_job
from bulklink.operations.send import send
from bulklink.operations.undo_plan import (
    UndoPlan,
    build_undo_plan,
    rejected_results,
    write_undo_rejects,
)
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import (
    RunRecord,
    RunState,
    UndoneRun,
    measured_pages_ratio,
    refuse_load_test,
)
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

    An email is changed only if it is still as the run left it.

    Args:
        run: run folder.
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
    source = folder_of(run)
    job = _undo_job(source, source.read(), options)
    work = partial(
        _undo,
        source,
        job,
        connection,
        environment or real_environment(),
        include_settled=include_settled,
    )
    return await run_guarded(work, callbacks, stop)


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
            seal = partial(_seal, undo_plan, source, record, job, folder, environment.clock)
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
        run: run folder.
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
    source = folder_of(run)
    record = source.read()
    job = _undo_job(source, record, options)
    work = partial(
        _plan_undo,
        source,
        record,
        job,
        clock or real_clock(),
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
        not_undone = undo_plan.not_undone
        digest = None
        if job.run_dir is not None and undo_plan.rows + not_undone:
            with new_run_folder(job, clock, warn, "undo") as folder:
                sealed = _seal(undo_plan, source, record, job, folder, clock, stop)
            digest = sealed.digest
        if not undo_plan.rows:
            return _empty_plan_result(job, not_undone)
        with ExitStack() as stack:
            measured: MeasuredPlan | None = undo_plan.plain_plan
            if measured is None:
                inputs = _undo_sources(undo_plan, source)
                measured = stack.enter_context(
                    check_mapping(job, inputs, Path(scratch), stop, guarded=tuple(Op))
                )
            plan_result = make_plan_result(
                measured,
                job,
                digest,
                None,
                module_known=module_known,
                pages_ratio=measured_pages_ratio(record),
            )
        rows, run_dir = plan_result.rows + not_undone, str(job.run_dir) if job.run_dir else None
        return msgspec.structs.replace(plan_result, rows=rows, rejected=not_undone, run_dir=run_dir)


def _empty_plan_result(job: Job, not_undone: int) -> PlanResult:
    """Return the result of an undo that changes nothing."""
    calls = CallEstimate(link=0, unlink=0, read_at_least=0, lookup_at_least=0, least=0)
    no_credits, no_seconds = CreditRange(0, 0, 0), SecondsRange(0.0, 0.0, 0.0)
    estimate = RunEstimate(
        credits=no_credits,
        seconds=no_seconds,
        reason="",
        may_read_first=0,
        bottleneck=EstimatedBottleneck.LATENCY,
        in_flight=job.max_in_flight(),
        daily_credits=None,
        daily_allowance=None,
        days=1,
        invocations=1,
        saved_by_contact=0,
    )
    return PlanResult(
        op=job.op_name,
        run_dir=str(job.run_dir) if job.run_dir and not_undone else None,
        rows=not_undone,
        messages=0,
        rejected=not_undone,
        refusals={},
        duplicate=0,
        groups=0,
        calls=calls,
        credits=no_credits,
        seconds=no_seconds,
        digest=NO_ROWS.digest(job.plan_settings(())),
        estimate=estimate,
    )


def _mapping_name(source: RunFolder) -> str:
    """Return the name of a run's inverse, shown as a mapping's name."""
    return f"undo of {file_name_text(source.path)}"


def _undo_sources(undo_plan: UndoPlan, source: RunFolder) -> tuple[Source, ...]:
    return (Source(_mapping_name(source), undo_plan.mapping, InputFormat.CSV),)


def _undo_job(source: RunFolder, record: RunRecord, options: SendOptions) -> Job:
    """Return the job that sends the inverse: a snapshot of each email precedes its change.

    Args:
        source: the run.
        record: its record; sending options that are not set are taken from it.
        options: sending options that are set.
    """
    return msgspec.structs.replace(
        with_options(_sending_options(record), options, SEND_OPTIONS),
        mappings=(_mapping_name(source),),
        op=None,
        allow_round_ids=True,
        on_invalid=OnInvalid.SKIP,
        snapshot=True,
        accept_no_put_back=False,
    )


def _sending_options(record: RunRecord) -> Job:
    """Return a job with the sending options of a run, without its mapping and run folder.

    A run folder may come from somebody else, so it must not choose where new folders are created.
    """
    job = load_job(record)
    return Job(
        mappings=(), **{name: getattr(job, name) for name in SEND_OPTIONS - PER_CALL_OPTIONS}
    )


def _seal(
    undo_plan: UndoPlan,
    source: RunFolder,
    source_record: RunRecord,
    job: Job,
    folder: RunFolder,
    clock: Clock,
    stop: PlanningStop,
) -> RunRecord:
    """Seal the inverse in a new run folder; the run is finished if nothing can be undone."""
    if undo_plan.not_undone:
        write_undo_rejects(undo_plan, folder.rejects, _mapping_name(source))
    extra_rows = ExtraRows(
        count=undo_plan.not_undone,
        results=partial(rejected_results, undo_plan),
        record_fields={
            "undo_of": UndoneRun(
                run_dir=file_name_text(source.path.absolute()),
                org=source_record.org.id if source_record.org else None,
                digest=source_record.digest,
                created=source_record.created,
                invocations=len(source_record.invocations),
            ),
            "org": source_record.org,
            "api_url": source_record.api_url,
            "data_centre": source_record.data_centre,
        },
        pages_ratio=measured_pages_ratio(source_record),
    )
    if not undo_plan.rows:
        return _seal_without_plan(job, folder, extra_rows, clock.timestamp())
    inputs = _undo_sources(undo_plan, source)
    with checked_mapping(folder, job, inputs, stop, guarded=tuple(Op)) as checked:
        return prepare_run(checked, job, folder, clock.wall(), extra_rows)


def _seal_without_plan(job: Job, folder: RunFolder, extra_rows: ExtraRows, now: str) -> RunRecord:
    """Write a finished run with only the rows that are not undone."""
    create_ledger(folder.ledger, extra_rows.results(), now)
    record = new_record(
        job,
        now,
        inputs=(),
        state=RunState.FINISHED,
        rows=extra_rows.count,
        counts={Status.REJECTED: extra_rows.count},
        **ledger_hash(folder.ledger),
        **extra_rows.record_fields,
    )
    folder.write(record)
    return record
