"""Planning: check a mapping and estimate its cost, without a connection."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Protocol

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.clock import Clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import UsageError
from bulklink.html_pages.notebook import facts_html
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.compare import Comparison, FetchedEmails, compare, read_fetched_emails
from bulklink.mapping.input.files import Source, check_readable, find_sources
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import RowHashes
from bulklink.mapping.plan_stats import PlanStats
from bulklink.models import Op
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_blocking_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.estimate import (
    ASSUMED_LATENCY,
    CallEstimate,
    RunEstimate,
    estimate_calls,
    estimate_run,
)
from bulklink.operations.job import Job
from bulklink.operations.plan_names import PlanNames
from bulklink.operations.prepare import (
    NO_EXTRA_ROWS,
    ExtraRows,
    check_mapping,
    check_snapshot,
    invalid_rows_error,
    is_refused,
    prepare_run,
)
from bulklink.operations.seal_job import ShardSize, seal_job
from bulklink.runs.folder import RunFolder, create_run_folder
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.runs.job_folder import new_job_folder
from bulklink.zoho.connection import Connection


class PlanResult(msgspec.Struct, frozen=True):
    """Result of planning; `estimate` is not part of the JSON output.

    Args:
        op: operation of the run, or `mixed`.
        run_dir: folder of the sealed plan; None if it is not sealed.
        rows: rows of the mapping.
        messages: emails to send.
        rejected: refused rows.
        refusals: refused rows by reason, most frequent first.
        duplicate: rows that repeat an earlier one.
        groups: groups of emails that can share a call.
        calls: estimated calls by kind.
        credits: credits that it may take; one a call.
        seconds: seconds that it may take.
        digest: SHA-256 of rows and options, for `apply(expect=)`.
        estimate: reasons for the width of the ranges, bottleneck, share of the org's credits.
        shards: shards that the plan is sealed as; 1 if it is one plan.
        compare: changes compared with fetched emails; None without such a file.
        names: names that were looked up for the plan; None without look-ups.
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
    names: PlanNames | None = None
    shards: int = 1

    def _repr_html_(self) -> str:
        return facts_html(
            f"plan: {self.op}",
            {
                "run folder": self.run_dir,
                "rows": self.rows,
                "emails to send": self.messages,
                "refused": self.rejected,
                "refused because": self.refusals,
                "duplicates": self.duplicate,
                "credits": _range(self.credits),
                "seconds": _range(self.seconds),
                "digest": self.digest,
            },
        )


def _range(figures: CreditRange | SecondsRange) -> str:
    likely, most = round(figures.likely), round(figures.most)
    return f"{likely:,}, {most:,} at most" if most != likely else f"{most:,}"


def plan(
    job: Job,
    *,
    latency: float = ASSUMED_LATENCY,
    users: int = 1,
    module_known: bool = False,
    look_up_names: Connection | None = None,
    compare_with: str | None = None,
    rejects: str | None = None,
    shards: int | None = None,
    rows_per_shard: int | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
) -> PlanResult:
    """Check a job's mapping and estimate what it will cost.

    No connection is opened unless `look_up_names` is given. With `job.run_dir` the plan is sealed
    there; without it no file is left behind. Blocks: the work is done in a thread, while the
    calling thread waits and calls the callbacks. A KeyboardInterrupt in the calling thread ends the
    work too.

    Args:
        job: the job.
        latency: seconds that a call is assumed to take.
        users: licensed users of the org, who add to its credits a day.
        module_known: whether the id of the Deals module need not be looked up.
        look_up_names: connection for looking up missing names of owners and deals, which become
            part of the plan; None looks nothing up.
        compare_with: a file of fetched emails, to show what the mapping would change; the deals
            in it become part of the plan.
        rejects: a new CSV file for the refused rows, written if there are any.
        shards: seal a job of as many plans, by contact; None seals one plan.
        rows_per_shard: the same, with about as many rows in each.
        callbacks: `on_planning` is called twice a second, `on_warning` with each warning about the
            mapping, both in the calling thread; None reports nothing.
        stop: stops the planning; any thread or signal handler may call its `interrupt`.
        environment: network, disk and clock; None for this machine's, others for tests.

    Returns:
        The cost and the digest of the plan.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        UsageError: if the `rejects` file exists, names are to be looked up for a job that sends
            none, or the mapping cannot be split into as many shards.
        InvalidRowsError: if rows are refused and the job stops at such rows.
        RunDirError: if the run folder cannot be created.
        RunStoppedError: if the names cannot be looked up; no plan is made then.
        InterruptedPlanningError: if `stop` ended it.
    """
    if look_up_names is not None and not job.names:
        raise UsageError(
            "A job that sends no names has none to look up.",
            where=Advice("{}, {}", Keyword("look_up_names"), Keyword("names", value=False)),
            advice="Omit one of them.",
        )
    size = None
    if shards is not None or rows_per_shard is not None:
        size = ShardSize(shards, rows_per_shard)
        size.check(job)
    inputs = find_inputs(job, compare_with)
    planning = _Planning(
        job=job,
        inputs=inputs,
        connection=look_up_names,
        compare_with=compare_with,
        rejects=None if rejects is None else Path(rejects),
        latency=latency,
        users=users,
        module_known=module_known,
        size=size,
        environment=environment or real_environment(),
    )
    if planning.rejects is not None:
        _check_new_file(planning.rejects)
    return run_blocking_planning(planning.run, callbacks, stop)


def plan_draft(
    job: Job,
    source: Source,
    *,
    inspect: Callable[[CheckedMapping], None],
    look_up_names: Connection | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment,
) -> PlanResult:
    """Seal the plan of a mapping that is stored under another name than the user's.

    Args:
        job: the job, with a run folder.
        source: the mapping.
        inspect: called with the checked mapping and the names that were looked up, whether or not
            it can be sealed.
        look_up_names: as for `plan`.
        callbacks: as for `plan`.
        stop: as for `plan`.
        environment: network, disk and clock.

    Raises:
        BulklinkError: as `plan` does.
    """
    planning = _Planning(
        job=job,
        inputs=(source,),
        environment=environment,
        connection=look_up_names,
        inspect=inspect,
    )
    return run_blocking_planning(planning.run, callbacks, stop)


def find_inputs(job: Job, compare_with: str | None = None) -> tuple[Source, ...]:
    """Return the inputs of a job's mapping, after checking that its files are there.

    Args:
        job: the job.
        compare_with: a file of fetched emails, which is checked too.

    Raises:
        UsageError: if the format is unknown, or standard input is named twice.
        BadFileError: if a file is missing, empty, or not a file.
    """
    inputs = find_sources(job.inputs, job.format)
    if compare_with is not None:
        check_readable(Path(compare_with))
    return inputs


@dataclass(slots=True, frozen=True, kw_only=True)
class _Planning:
    """Planning of one job: check, look up names, compare, and seal if there is a folder."""

    job: Job
    inputs: tuple[Source, ...]
    environment: Environment
    connection: Connection | None = None
    compare_with: str | None = None
    rejects: Path | None = None
    latency: float = ASSUMED_LATENCY
    users: int = 1
    module_known: bool = False
    size: ShardSize | None = None
    inspect: Callable[[CheckedMapping], None] | None = None

    def run(self, stop: PlanningStop, warn: Callable[[str | Advice], None]) -> PlanResult:
        """Plan the job, in a thread."""
        job, clock = self.job, self.environment.clock
        with tempfile.TemporaryDirectory(prefix="bulklink-") as temporary:
            scratch, fetched = Path(temporary), None
            if self.compare_with is not None:
                fetched = read_fetched_emails(
                    self.compare_with, scratch, memory=job.memory, stop=stop, warn=warn
                )
            if self.size is not None and job.run_dir is not None:
                result, names, comparison = self._seal_job(
                    job.run_dir, self.size, fetched, scratch, stop, warn
                )
            elif job.run_dir is None:
                with check_mapping(job, self.inputs, scratch, stop) as checked:
                    names, comparison = self._complete(checked, fetched, scratch, stop, warn)
                    _check_unsealed(checked, job, self.rejects)
                    result = self._result(checked, None, None)
            else:
                with (
                    new_run_folder(job, clock, warn) as folder,
                    checked_mapping(folder, job, self.inputs, stop) as checked,
                ):
                    names, comparison = self._complete(checked, fetched, scratch, stop, warn)
                    record = prepare_run(
                        checked,
                        job,
                        folder,
                        clock.wall(),
                        self._origin(names),
                        latency=self.latency,
                        module_known=self.module_known,
                    )
                    result = self._result(checked, record.digest, folder)
            return msgspec.structs.replace(result, compare=comparison, names=names)

    def _seal_job(
        self,
        path: Path,
        size: ShardSize,
        fetched: FetchedEmails | None,
        scratch: Path,
        stop: PlanningStop,
        warn: Callable[[str | Advice], None],
    ) -> tuple[PlanResult, PlanNames | None, Comparison | None]:
        """Seal the mapping as a job of several shards."""
        with (
            new_job_folder(path, token_hex(4)) as folder,
            checked_mapping(RunFolder(folder.path), self.job, self.inputs, stop) as checked,
        ):
            names, comparison = self._complete(checked, fetched, scratch, stop, warn)
            result = self._result(checked, "", None)  # before only the shards are left
            sealed = seal_job(
                checked,
                self.job,
                size,
                folder,
                self.environment.clock,
                self._origin(names),
                latency=self.latency,
                module_known=self.module_known,
            )
        result = msgspec.structs.replace(
            result,
            run_dir=str(path),
            digest=sealed.record.digest,
            calls=sealed.calls,
            credits=sealed.credits,
            seconds=sealed.seconds,
            shards=sealed.record.shards,
        )
        return result, names, comparison

    def _complete(
        self,
        checked: CheckedMapping,
        fetched: FetchedEmails | None,
        scratch: Path,
        stop: PlanningStop,
        warn: Callable[[str | Advice], None],
    ) -> tuple[PlanNames | None, Comparison | None]:
        """Add names and present deals to a checked mapping; warn, and write its refused rows."""
        for text in checked.warnings:
            warn(text)
        names = comparison = None
        if self.connection is not None:
            # The HTTP client is imported only for look-ups.
            from bulklink.operations.plan_lookup import look_up_plan_names  # noqa: PLC0415

            names = look_up_plan_names(
                checked, self.job, self.connection, self.environment, scratch, stop, warn
            )
        if self.inspect is not None:
            self.inspect(checked)
        if fetched is not None:
            comparison = compare(checked, fetched)
        if self.rejects is not None and checked.rejected:
            checked.write_rejects(self.rejects)
        return names, comparison

    def _result(
        self, checked: CheckedMapping, digest: str | None, folder: RunFolder | None
    ) -> PlanResult:
        return make_plan_result(
            checked,
            self.job,
            digest,
            folder,
            latency=self.latency,
            users=self.users,
            module_known=self.module_known,
        )

    def _origin(self, names: PlanNames | None) -> ExtraRows:
        """Return the org of the names for `run.json`, so that the plan is sent to no other org."""
        if names is None or names.org is None or self.connection is None:
            return NO_EXTRA_ROWS
        origin = {
            "org": names.org,
            "api_url": self.connection.api_url,
            "data_centre": self.connection.data_centre,
        }
        return msgspec.structs.replace(NO_EXTRA_ROWS, record_fields=origin)


def _check_new_file(path: Path) -> None:
    if path.exists() or not path.absolute().parent.is_dir():
        raise UsageError(
            "The file already exists." if path.exists() else "Its folder does not exist.",
            where=Advice("{} {}", Keyword("rejects"), path),
            advice="Use a new file for the refused rows.",
        )


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
        clock: clock whose time is part of a generated name.
        warn: called if the folder cannot be made private.
        name: part of a generated name; None uses the op.

    Raises:
        RunDirError: if it cannot be created.
    """
    name = name or job.op_name
    # The clock's random numbers may repeat between processes; a name must not.
    tag = token_hex(2)
    folder = create_run_folder(job.run_dir, job.runs_dir, name, clock.wall(), tag)
    try:
        if not folder.make_private():
            warn(
                Advice(
                    "Others may read {}, which will hold ids, names and the columns of the mapping:"
                    " its file system has no modes. Use a folder that only you can read: {} or {}.",
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


class MeasuredPlan(Protocol):
    """Plan whose rows are counted, measured and hashed."""

    @property
    def rows(self) -> int:
        """Rows of the run."""
        ...

    @property
    def messages(self) -> int:
        """Rows that are sent."""
        ...

    @property
    def rejected(self) -> int:
        """Rows that are refused."""
        ...

    @property
    def duplicates(self) -> int:
        """Rows that repeat an earlier one."""
        ...

    def refusals(self) -> dict[str, int]:
        """Count the refused rows by reason, the most frequent first."""
        ...

    def plan_stats(self) -> PlanStats:
        """Measure the plan, for forecasting calls and look-ups."""
        ...

    def hash_plan(self) -> RowHashes:
        """Hash the rows of the plan."""
        ...


def make_plan_result(
    checked: MeasuredPlan,
    job: Job,
    digest: str | None,
    folder: RunFolder | None,
    *,
    latency: float = ASSUMED_LATENCY,
    users: int = 1,
    module_known: bool,
    pages_ratio: float = 1.0,
) -> PlanResult:
    """Return the cost of a checked mapping.

    Args:
        checked: the checked mapping, or its measured plan.
        job: the job.
        digest: digest of the sealed plan; None if it is not sealed.
        folder: folder of the sealed plan; None if it is not sealed.
        latency: seconds that a call is assumed to take.
        users: licensed users of the org.
        module_known: whether the id of the Deals module need not be looked up.
        pages_ratio: pages that an earlier run read, relative to those its emails alone would fill.
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
        digest=(
            checked.hash_plan().digest(job.plan_settings(shape.ops)) if digest is None else digest
        ),
        estimate=estimate,
    )
