"""`undo`: make the inverse of a run, seal it in a run folder of its own, and send it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import anyio.to_thread
import msgspec

from bulklink.engine.shutdown import Stopping
from bulklink.errors import ExitCode
from bulklink.ledger.records import timestamp
from bulklink.ledger.state import replay
from bulklink.mapping.input.files import Format, Source
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_writer import digest
from bulklink.models import Op, Status
from bulklink.operations.callbacks import Watch
from bulklink.operations.cancellation import guarded, planning_stop, planning_told
from bulklink.operations.environment import real_surroundings
from bulklink.operations.estimate import ForecastCalls, Limit, Outlook
from bulklink.operations.job import MIXED, SENDING, Job, OnInvalid, SendOptions, with_options
from bulklink.operations.plan import PlanReport, checked_in, fresh_folder, report_of
from bulklink.operations.preflight import check_place
from bulklink.operations.prepare import Beside, asked, begin_ledger, check_mapping, prepare
from bulklink.operations.send import send
from bulklink.operations.undo_plan import Inversion, inversion_of
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import RunRecord, State, UndoOf
from bulklink.runs.status import PENDING, CallCounts, RunSummary, summary_of
from bulklink.zoho.connection import Connection

NO_RUN: dict[str, Any] = {
    "run_dir": None,
    "op": MIXED,
    "state": State.FINISHED,
    "stopped_by": None,
    "resume_at": None,
    "rows": 0,
    "counts": dict.fromkeys([*map(str, Status), PENDING], 0),
    "calls": dict.fromkeys(CallCounts.__struct_fields__, 0),
    "seconds": 0.0,
    "exit_code": ExitCode.OK,
}
"""What is shown of an undo that has nothing to undo: a run without rows, and no folder."""


async def undo(
    run: str | PathLike[str],
    connection: Connection,
    *,
    include_settled: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    **options: Unpack[SendOptions],
) -> RunSummary | None:
    """Put every email that a run changed back as it was, by a run of its own.

    An email is changed only if it still is as the run left it.

    Args:
        run: the run folder.
        connection: where the CRM is and how to sign in.
        include_settled: take back links too that might not be the run's.
        tell: told beforehand what is not undone, and why.
        watch: call-backs; None watches nothing.
        stopping: by which the undo can be stopped from outside.
        **options: options of `Job`: how it is sent, and where the folder of the undo is.

    Returns:
        Where the undo stands; None if there is nothing to undo.

    Raises:
        RunDirError: if this is no run, or the folder of the undo cannot be made.
        LockedError: if a process drives the run.
        WrongOrgError: if it was another org's.
        LedgerError: if a ledger cannot be trusted.
    """
    source, job = folder_of(run), with_options(None, options, SENDING)
    work = partial(_undo, source, job, connection, settled=include_settled, tell=tell)
    return await guarded(work, watch, stopping)


async def _undo(
    source: RunFolder,
    job: Job,
    connection: Connection,
    watch: Watch,
    stopping: Stopping,
    *,
    settled: bool,
    tell: Callable[[str], None],
) -> RunSummary | None:
    planning = planning_stop(stopping)
    record = source.read()
    check_place(record, connection)
    watch.phase("Looking at what the run did")
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        invert = partial(inversion_of, source, Path(scratch), settled=settled, stop=planning)
        async with planning_told(planning, watch):
            found = await anyio.to_thread.run_sync(invert)
        if not found.rows and not found.kept:
            return None
        for text in found.warnings():
            tell(text)
        with fresh_folder(job, "undo") as folder:
            seal = partial(_sealed, found, source, record, _undo_job(job, source), folder, planning)
            async with planning_told(planning, watch):
                sealed = await anyio.to_thread.run_sync(seal)
            told = replay(folder.ledger)
            if sealed.state is State.FINISHED:
                return summary_of(folder, sealed, told)
            job = _undo_job(job, source)
            around = real_surroundings()
            return await send(folder, told, job, connection, watch, stopping, around)


def plan_undo(
    run: str | PathLike[str],
    *,
    include_settled: bool = False,
    module_known: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    stopping: Stopping | None = None,
    stop: Stop | None = None,
    **options: Unpack[SendOptions],
) -> PlanReport:
    """Say what an undo would do, and what it will cost at least. No connection is opened.

    With `run_dir` it is sealed there, to be sent by `apply`. It blocks, as `plan` does.

    Args:
        run: the run folder.
        include_settled: take back links too that might not be the run's.
        module_known: whether the id of the module Deals need not be looked up.
        tell: told what is not undone, and why.
        stopping: by which it can be stopped from the thread of an event loop.
        stop: by which any thread can see how far it is, and stop it; None makes one.
        **options: options of `Job`: how it is to be sent, and where it is sealed.

    Returns:
        What it will cost; `rejected` are the rows that are not undone.

    Raises:
        RunDirError: if this is no run.
        LockedError: if a process drives the run.
        LedgerError: if a ledger cannot be trusted.
        InterruptedPlanningError: if `stopping` ended it.
    """
    stop, source = planning_stop(stopping, stop), folder_of(run)
    record = source.read()
    job = _undo_job(with_options(None, options, SENDING), source)
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        found = inversion_of(source, Path(scratch), settled=include_settled, stop=stop)
        for text in found.warnings():
            tell(text)
        refused = found.kept.total()
        if job.run_dir is not None and found.rows + refused:
            with fresh_folder(job, "undo") as folder:
                _sealed(found, source, record, job, folder, stop)
        if not found.rows:
            return _nothing(job, refused)
        inputs = _sources(found, source)
        with check_mapping(job, inputs, Path(scratch), stop, guarded=tuple(Op)) as checked:
            report = report_of(checked, job, None, module_known=module_known)
        rows, run_dir = report.rows + refused, str(job.run_dir) if job.run_dir else None
        return msgspec.structs.replace(report, rows=rows, rejected=refused, run_dir=run_dir)


def _nothing(job: Job, refused: int) -> PlanReport:
    """Return what it costs to take nothing back."""
    calls = ForecastCalls(link=0, unlink=0, read_at_least=0, lookup_at_least=0, least=0)
    ahead = Outlook(0.0, Limit.LATENCY, job.in_flight(), None, None, 1, 1, 0)
    return PlanReport(
        op=job.op_name,
        run_dir=str(job.run_dir) if job.run_dir and refused else None,
        rows=refused,
        messages=0,
        rejected=refused,
        duplicate=0,
        groups=0,
        calls=calls,
        credits_at_least=0,
        seconds_at_least=0.0,
        digest=digest((), job.plan_settings()),
        outlook=ahead,
    )


def _name(source: RunFolder) -> str:
    """Name the inverse of a run where a mapping is named."""
    return f"undo of {source.path}"


def _sources(found: Inversion, source: RunFolder) -> tuple[Source, ...]:
    return (Source(_name(source), found.mapping, Format.CSV),)


def _undo_job(job: Job, source: RunFolder) -> Job:
    """Return how the inverse is sent: each email is looked at before it is changed."""
    return msgspec.structs.replace(
        job,
        mappings=(_name(source),),
        op=None,
        allow_round_ids=True,
        on_invalid=OnInvalid.SKIP,
        snapshot=True,
        accept_no_put_back=False,
    )


def _sealed(
    found: Inversion,
    source: RunFolder,
    undone: RunRecord,
    job: Job,
    folder: RunFolder,
    stop: Stop,
) -> RunRecord:
    """Seal the inverse in a fresh run folder; where nothing can be taken back it is finished."""
    if found.kept:
        found.write_rejects(folder.rejects, _name(source))
    beside = Beside(
        rows=found.kept.total(),
        results=found.results,
        changes={
            "undo_of": UndoOf(
                run_dir=str(source.path.absolute()),
                org=undone.org.id if undone.org else None,
                digest=undone.digest,
            ),
            "org": undone.org,
            "api_url": undone.api_url,
            "data_centre": undone.data_centre,
        },
    )
    if not found.rows:
        return _sealed_without_plan(job, folder, beside)
    inputs = _sources(found, source)
    with checked_in(folder, job, inputs, stop, guarded=tuple(Op)) as checked:
        return prepare(checked, job, folder, time.time(), beside)


def _sealed_without_plan(job: Job, folder: RunFolder, beside: Beside) -> RunRecord:
    """Make a run that holds nothing but rows which are left; it is finished."""
    now = timestamp(time.time())
    begin_ledger(folder.ledger, beside.results(), now)
    record = RunRecord(
        version=version("bulklink"),
        op=job.op_name,
        asked=asked(job),
        inputs=(),
        created=now,
        state=State.FINISHED,
        rows=beside.rows,
        counts={Status.REJECTED: beside.rows},
        **beside.changes,
    ).but(**ledger_hash(folder.ledger))
    folder.write(record)
    return record
