"""Planning: check a mapping and estimate its cost, without a connection."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.clock import Clock, real_clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import UsageError
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.compare import Comparison, compare
from bulklink.mapping.input.files import Source, check_readable, find_sources
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_writer import PLAN_FILE
from bulklink.models import Op
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_blocking_planning
from bulklink.operations.estimate import (
    ASSUMED_LATENCY,
    CallEstimate,
    RunEstimate,
    estimate_calls,
    estimate_run,
)
from bulklink.operations.job import Job
from bulklink.operations.prepare import (
    check_mapping,
    check_snapshot,
    invalid_rows_error,
    is_refused,
    prepare_run,
)
from bulklink.runs.folder import RunFolder, create_run_folder
from bulklink.runs.forecast import CreditRange, SecondsRange


class PlanResult(msgspec.Struct, frozen=True):
    """Result of planning; `estimate` is not part of the JSON output.

    Args:
        op: operation of the run, or `mixed`.
        run_dir: folder of the sealed plan; None if it is not sealed.
        rows: rows of the mapping.
        messages: emails to send.
        rejected: refused rows.
        refusals: refused rows by reason, the most frequent first.
        duplicate: rows that repeat an earlier one.
        groups: groups of emails that can share a call.
        calls: estimated calls by kind.
        credits: credits that it may take; one a call.
        seconds: seconds that it may take.
        digest: SHA-256 of rows and options, for `apply(expect=)`.
        estimate: why the ranges are as wide as they are, what limits the run, share of the org's
            credits.
        compare: changes compared with fetched emails; None without such a file.
    """

    op: str
    run_dir: str | None
    rows: int
    messages: int
    rejected: int
    refusals: dict[str, int]
    duplicate: int
    groups: int
    calls: CallEstimate
    credits: CreditRange
    seconds: SecondsRange
    digest: str
    estimate: RunEstimate
    compare: Comparison | None = None


def plan(
    job: Job,
    *,
    latency: float = ASSUMED_LATENCY,
    users: int = 1,
    module_known: bool = False,
    compare_with: str | None = None,
    rejects: str | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    clock: Clock | None = None,
) -> PlanResult:
    """Check a job's mapping and estimate what it will cost. No connection is opened.

    With `job.run_dir` the plan is sealed there; without it no file is left behind. It blocks: the
    work is done in a thread, while the calling thread waits and calls the callbacks. A
    KeyboardInterrupt in the calling thread ends the work too.

    Args:
        job: the job.
        latency: seconds that a call is assumed to take.
        users: licensed users of the org, who add to its credits a day.
        module_known: whether the id of the module Deals need not be looked up.
        compare_with: a file of fetched emails, to tell what the mapping would change.
        rejects: a new CSV file for the refused rows, written if there are any.
        callbacks: `on_planning` is called twice a second, `on_warning` with each warning about the
            mapping, both in the calling thread; None reports nothing.
        stop: ends it; any thread may call its `interrupt`, and a signal handler.
        clock: tells the time; None is this machine's, others are for tests.

    Returns:
        What it will cost, and the digest of the plan.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        UsageError: if there is a file in the place of `rejects`.
        InvalidRowsError: if rows are refused and the job stops at such rows.
        RunDirError: if the run folder cannot be made.
        InterruptedPlanningError: if `stop` ended it.
    """
    inputs = find_sources(job.mappings, job.format)
    if compare_with is not None:
        check_readable(Path(compare_with))
    make_result = partial(make_plan_result, latency=latency, users=users, module_known=module_known)
    rejects_path = None if rejects is None else Path(rejects)
    if rejects_path is not None:
        _check_new_file(rejects_path)
    work = partial(
        _plan, job, inputs, compare_with, rejects_path, make_result, clock or real_clock()
    )
    return run_blocking_planning(work, callbacks, stop)


def _plan(
    job: Job,
    inputs: tuple[Source, ...],
    compare_with: str | None,
    rejects: Path | None,
    make_result: Callable[[CheckedMapping, Job, str | None, RunFolder | None], PlanResult],
    clock: Clock,
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
) -> PlanResult:
    with tempfile.TemporaryDirectory(prefix="bulklink-") as temporary:
        scratch = Path(temporary)
        if job.run_dir is not None:
            with (
                new_run_folder(job, clock, warn) as folder,
                checked_mapping(folder, job, inputs, stop) as checked,
            ):
                _warn(checked, warn)
                _write_rejects(checked, rejects)
                record = prepare_run(checked, job, folder, clock.wall())
                result = make_result(checked, job, record.digest, folder)
            plan_path = folder.plan
        else:
            with check_mapping(job, inputs, scratch, stop) as checked:
                _warn(checked, warn)
                _write_rejects(checked, rejects)
                _check_unsealed(checked, job, rejects)
                result = make_result(checked, job, None, None)
                if compare_with is not None:
                    checked.seal(scratch)
            plan_path = scratch / PLAN_FILE
        if compare_with is None:
            return result
        comparison = compare(
            plan_path, compare_with, scratch, memory=job.memory, stop=stop, warn=warn
        )
        return msgspec.structs.replace(result, compare=comparison)


def _check_new_file(path: Path) -> None:
    if path.exists() or not path.absolute().parent.is_dir():
        raise UsageError(
            "The file exists already." if path.exists() else "Its folder does not exist.",
            where=Advice("{} {}", Keyword("rejects"), path),
            advice="Use a new file for the refused rows.",
        )


def _write_rejects(checked: CheckedMapping, rejects: Path | None) -> None:
    if rejects is not None and checked.rejected:
        checked.write_rejects(rejects)


def _check_unsealed(checked: CheckedMapping, job: Job, rejects: Path | None) -> None:
    if is_refused(checked, job):
        place = f" in {rejects}, which is a mapping itself" if rejects and checked.rejected else ""
        raise invalid_rows_error(checked, f"Fix them{place}")
    check_snapshot(job, guarded=checked.guarded, relinks=checked.plan_stats().relinks)


@contextmanager
def new_run_folder(
    job: Job, clock: Clock, warn: Callable[[str | Advice], None], name: str | None = None
) -> Iterator[RunFolder]:
    """Create and lock a job's run folder; discard it if no plan is made.

    Args:
        job: the job.
        clock: tells the time, which is part of a generated name.
        warn: called if others cannot be kept out of the folder.
        name: part of a generated name; None takes the op.

    Raises:
        RunDirError: if it cannot be made.
    """
    name = name or job.op_name
    # The clock's own random numbers may repeat, from one process to the next; a name must not.
    tag = token_hex(2)
    folder = create_run_folder(job.run_dir, job.runs_dir, name, clock.wall(), tag)
    try:
        if not folder.make_private():
            warn(
                Advice(
                    "Others may read {}, which will hold ids, names and the columns of the mapping:"
                    " its file system has no modes. Use a place that only you can reach: {} or {}.",
                    folder.path,
                    Keyword("run_dir"),
                    Keyword("runs_dir"),
                )
            )
        with folder.run_lock():
            yield folder
    finally:
        if not folder.record.exists():
            folder.discard(keep=job.run_dir is not None)


@contextmanager
def checked_mapping(
    folder: RunFolder,
    job: Job,
    inputs: tuple[Source, ...],
    stop: PlanningStop,
    *,
    guarded: tuple[Op, ...] = (Op.UNLINK, Op.RELINK),
) -> Iterator[CheckedMapping]:
    """Check a job's mapping with its temporary files in the run folder."""
    folder.make_scratch()
    try:
        with check_mapping(job, inputs, folder.scratch, stop, guarded=guarded) as checked:
            yield checked
    finally:
        folder.clear_scratch()


def _warn(checked: CheckedMapping, warn: Callable[[str | Advice], None]) -> None:
    for text in checked.warnings:
        warn(text)


def make_plan_result(
    checked: CheckedMapping,
    job: Job,
    digest: str | None,
    folder: RunFolder | None,
    *,
    latency: float = ASSUMED_LATENCY,
    users: int = 1,
    module_known: bool,
    pages_ratio: float = 1.0,
) -> PlanResult:
    """Return what a checked mapping will cost.

    Args:
        checked: the mapping.
        job: the job.
        digest: digest of the sealed plan; None if it is not sealed.
        folder: folder of the sealed plan; None if it is not sealed.
        latency: seconds that a call is assumed to take.
        users: licensed users of the org.
        module_known: whether the id of the module Deals need not be looked up.
        pages_ratio: pages that an earlier run read for each that its emails alone would fill.
    """
    shape = checked.plan_stats()
    calls = estimate_calls(shape, job, module_known=module_known)
    estimate = estimate_run(
        shape,
        calls,
        job,
        latency=latency,
        users=users,
        module_known=module_known,
        pages_ratio=pages_ratio,
    )
    return PlanResult(
        op=job.op_name,
        run_dir=str(folder.path) if folder else None,
        rows=checked.rows,
        messages=checked.messages,
        rejected=checked.rejected,
        refusals=checked.refusals(),
        duplicate=checked.duplicates,
        groups=shape.groups,
        calls=calls,
        credits=estimate.credits,
        seconds=estimate.seconds,
        digest=digest or checked.hash_plan().digest(job.plan_settings(shape.ops)),
        estimate=estimate,
    )
