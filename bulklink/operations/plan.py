"""`plan`: check a mapping and say what it will cost, without a connection."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex

import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.compare import Comparison, compare
from bulklink.mapping.input.files import Source, check_readable, find_sources
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_writer import PLAN_FILE, digest
from bulklink.models import Op
from bulklink.operations.cancellation import make_planning_stop
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


class PlanResult(msgspec.Struct, frozen=True):
    """What `bulklink plan` tells; `estimate` is for the screen alone.

    `compare` is what the plan would change, None where no emails were given to compare with.
    """

    op: str
    run_dir: str | None
    rows: int
    messages: int
    rejected: int
    duplicate: int
    groups: int
    calls: CallEstimate
    credits_at_least: int
    seconds_at_least: float
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
    warn: Callable[[str], None] = lambda text: None,
    stop: StopController | None = None,
    plan_stop: PlanningStop | None = None,
) -> PlanResult:
    """Check a job's mapping and say what it will cost at least. No connection is opened.

    With `job.run_dir` the plan is sealed there; without it no file is left behind. It blocks, so a
    program with an event loop has it done in a thread.

    Args:
        job: what is asked.
        latency: seconds that a call is assumed to take.
        users: licensed users of the org, who add to its credits a day.
        module_known: whether the id of the module Deals need not be looked up.
        compare_with: a file of fetched emails, to tell what the mapping would change.
        warn: told what a person should know of the mapping.
        stop: by which it can be stopped from the thread of an event loop.
        plan_stop: by which any thread can see how far it is, and stop it; None makes one.

    Returns:
        What it will cost, and the digest of the plan.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        InvalidRowsError: if rows are refused and the job stops at such rows.
        RunDirError: if the run folder cannot be made.
        InterruptedPlanningError: if `stop` ended it.
    """
    inputs = find_sources(job.mappings, job.format)
    if compare_with is not None:
        check_readable(compare_with)
    plan_stop = make_planning_stop(stop, plan_stop)
    make_result = partial(make_plan_result, latency=latency, users=users, module_known=module_known)
    with tempfile.TemporaryDirectory(prefix="bulklink-") as temporary:
        scratch = Path(temporary)
        if job.run_dir is not None:
            with (
                new_run_folder(job) as folder,
                checked_mapping(folder, job, inputs, plan_stop) as checked,
            ):
                _warn(checked, warn)
                prepare_run(checked, job, folder, time.time())
                result = make_result(checked, job, folder)
            plan_path = folder.plan
        else:
            with check_mapping(job, inputs, scratch, plan_stop) as checked:
                _warn(checked, warn)
                _check_unsealed(checked, job)
                result = make_result(checked, job, None)
                if compare_with is not None:
                    checked.seal(scratch)
            plan_path = scratch / PLAN_FILE
        if compare_with is None:
            return result
        comparison = compare(
            plan_path, compare_with, scratch, memory=job.memory, stop=plan_stop, warn=warn
        )
        return msgspec.structs.replace(result, compare=comparison)


def _check_unsealed(checked: CheckedMapping, job: Job) -> None:
    if is_refused(checked, job):
        raise invalid_rows_error(checked, "Mend them")
    check_snapshot(job, guarded=checked.guarded, relinks=checked.plan_stats().relinks)


@contextmanager
def new_run_folder(job: Job, name: str | None = None) -> Iterator[RunFolder]:
    """Make the run folder of a job and drive it; one that comes to no plan is emptied again.

    Args:
        job: what is asked.
        name: part of a name that is made; None takes the op.

    Raises:
        RunDirError: if it cannot be made.
    """
    name = name or job.op_name
    folder = create_run_folder(job.run_dir, job.runs_dir, name, time.time(), token_hex(2))
    try:
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
    folder.scratch.mkdir(mode=0o700)
    try:
        with check_mapping(job, inputs, folder.scratch, stop, guarded=guarded) as checked:
            yield checked
    finally:
        folder.clear_scratch()


def _warn(checked: CheckedMapping, warn: Callable[[str], None]) -> None:
    for text in checked.warnings:
        warn(text)


def make_plan_result(
    checked: CheckedMapping,
    job: Job,
    folder: RunFolder | None,
    *,
    latency: float = ASSUMED_LATENCY,
    users: int = 1,
    module_known: bool,
) -> PlanResult:
    """Return what a checked mapping will cost at least.

    Args:
        checked: the mapping.
        job: what is asked.
        folder: where it is sealed, if it is.
        latency: seconds that a call is assumed to take.
        users: licensed users of the org.
        module_known: whether the id of the module Deals need not be looked up.
    """
    shape = checked.plan_stats()
    calls = estimate_calls(shape, job, module_known=module_known)
    estimate = estimate_run(shape, calls, job, latency=latency, users=users)
    return PlanResult(
        op=job.op_name,
        run_dir=str(folder.path) if folder else None,
        rows=checked.rows,
        messages=checked.messages,
        rejected=checked.rejected,
        duplicate=checked.duplicates,
        groups=shape.groups,
        calls=calls,
        credits_at_least=calls.credits,
        seconds_at_least=estimate.seconds,
        digest=digest(checked.inputs, job.plan_settings()),
        estimate=estimate,
    )
