"""Sealing of the inverse of a run in a run folder, and its cost."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from bulklink.file_names import file_name_text
from bulklink.ledger.records import timestamp
from bulklink.mapping.input.files import InputFormat, Source
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import NO_ROWS
from bulklink.models import Op, Status
from bulklink.operations.estimate import CallEstimate, EstimatedBottleneck, RunEstimate
from bulklink.operations.job import Job, OnInvalid
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
)
from bulklink.operations.prepare import (
    ExtraRows,
    check_mapping,
    create_ledger,
    new_record,
    prepare_run,
)
from bulklink.operations.seal import load_job
from bulklink.operations.undo_plan import UndoPlan, rejected_results, write_undo_rejects
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import (
    RunRecord,
    RunState,
    ShardRecord,
    UndoneRun,
    measured_pages_ratio,
)


class UndoShard(msgspec.Struct, frozen=True):
    """Which shard of a job an inverse is.

    Args:
        record: the shard.
        rows_before: rows of the earlier shards.
    """

    record: ShardRecord
    rows_before: int


def undo_cost(
    undo_plan: UndoPlan,
    source: RunFolder,
    source_record: RunRecord,
    job: Job,
    digest: str | None,
    stop: PlanningStop,
    *,
    module_known: bool,
) -> PlanResult:
    """Return the cost of an undo; blocks.

    Args:
        undo_plan: inverse of the run.
        source: the run.
        source_record: its record.
        job: options of the undo.
        digest: digest of the sealed plan; None if it is not sealed.
        stop: stops the work from another thread.
        module_known: whether the id of the Deals module need not be looked up.
    """
    not_undone = undo_plan.not_undone
    if not undo_plan.rows:
        return empty_plan_result(job, not_undone)
    with ExitStack() as stack:
        measured: MeasuredPlan | None = undo_plan.plain_plan
        if measured is None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulklink-")))
            inputs = _undo_sources(undo_plan, source)
            measured = stack.enter_context(
                check_mapping(job, inputs, scratch, stop, guarded=tuple(Op))
            )
        plan_result = make_plan_result(
            measured,
            job,
            digest,
            None,
            module_known=module_known,
            pages_ratio=measured_pages_ratio(source_record),
        )
    rows, run_dir = plan_result.rows + not_undone, str(job.run_dir) if job.run_dir else None
    return msgspec.structs.replace(plan_result, rows=rows, rejected=not_undone, run_dir=run_dir)


def empty_plan_result(job: Job, not_undone: int) -> PlanResult:
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


def mapping_name(source: Path) -> str:
    """Return the name of the inverse of a run or job, shown as a mapping's name."""
    return f"undo of {file_name_text(source)}"


def _undo_sources(undo_plan: UndoPlan, source: RunFolder) -> tuple[Source, ...]:
    return (Source(mapping_name(source.path), undo_plan.mapping, InputFormat.CSV),)


def undo_options(source: Path, record: RunRecord, options: SendOptions) -> Job:
    """Return the job that sends the inverse: a snapshot of each email precedes its change.

    Args:
        source: folder of the run or job.
        record: its record; sending options that are not set are taken from it.
        options: sending options that are set.
    """
    return msgspec.structs.replace(
        with_options(_sending_options(record), options, SEND_OPTIONS),
        mappings=(mapping_name(source),),
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


def seal_undo(
    undo_plan: UndoPlan,
    source: RunFolder,
    source_record: RunRecord,
    job: Job,
    folder: RunFolder,
    now: float,
    stop: PlanningStop,
    shard: UndoShard | None = None,
) -> RunRecord:
    """Seal the inverse in a new run folder; the run is finished if nothing can be undone.

    Args:
        undo_plan: inverse of the run.
        source: the run.
        source_record: its record.
        job: options of the undo.
        folder: the new run folder.
        now: seconds since 1970.
        stop: stops the work from another thread.
        shard: which shard of a job it is; None if it is a run of its own.
    """
    rows_before = shard.rows_before if shard is not None else 0
    if undo_plan.not_undone:
        write_undo_rejects(undo_plan, folder.rejects, mapping_name(source.path), rows_before)
    fields = {
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
        "shard": shard.record if shard is not None else None,
    }
    extra_rows = ExtraRows(
        count=undo_plan.not_undone,
        results=partial(rejected_results, undo_plan),
        record_fields=fields,
        pages_ratio=measured_pages_ratio(source_record),
    )
    if not undo_plan.rows:
        return _seal_without_plan(job, folder, extra_rows, timestamp(now))
    inputs = _undo_sources(undo_plan, source)
    with checked_mapping(folder, job, inputs, stop, guarded=tuple(Op)) as checked:
        checked.plan_writer = replace(checked.plan_writer, rows_before=rows_before)
        return prepare_run(checked, job, folder, now, extra_rows)


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
