"""Undo of a job: a job too, with a shard for each one that changed something."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex

import msgspec

from bulklink.advice import Advice
from bulklink.engine.clock import Clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import LockedError
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import run_planning
from bulklink.operations.environment import Environment
from bulklink.operations.estimate import sum_calls, sum_estimates
from bulklink.operations.job import Job
from bulklink.operations.job_options import LimitOptions, SendOptions
from bulklink.operations.plan import PlanResult
from bulklink.operations.preflight import check_same_host
from bulklink.operations.send_job import refuse_sent_job, send_job
from bulklink.operations.undo_plan import (
    UndoPlan,
    UndoRemarks,
    append_undo_rejects,
    build_undo_plan,
)
from bulklink.operations.undo_seal import (
    UndoShard,
    empty_plan_result,
    mapping_name,
    seal_undo,
    undo_cost,
    undo_options,
)
from bulklink.runs.folder import RunFolder, create_run_folder, new_run_name
from bulklink.runs.job_folder import (
    JobFolder,
    JobRecord,
    ShardEntry,
    job_digest,
    new_job_folder,
)
from bulklink.runs.record import RunRecord, ShardRecord
from bulklink.runs.status import RunResult
from bulklink.zoho.connection import Connection


async def undo_job(
    callbacks: RunCallbacks,
    stop: StopController,
    *,
    source: JobFolder,
    options: SendOptions,
    connection: Connection,
    environment: Environment,
    include_settled: bool,
) -> RunResult | None:
    """Seal the inverse of each shard of a job as a shard of another job, and send that.

    Args:
        callbacks: callbacks of the runs.
        stop: stops the undo.
        source: folder of the job.
        options: sending options that are set.
        connection: endpoint and credentials of the CRM.
        environment: network, disk and clock.
        include_settled: whether to undo links that might not be the job's.

    Returns:
        The state of the undo; None if there is nothing to undo.
    """
    inverse = _JobInverse.of(source, options, include_settled=include_settled)
    for _, record in inverse.shards:
        check_same_host(record, connection)
    job, now = inverse.job, environment.clock.wall()
    path = job.run_dir or job.runs_dir / new_run_name("undo", now, token_hex(2))
    callbacks.on_phase("Reading the ledgers")
    sealed = await run_planning(
        lambda planning_stop, warn: inverse.seal(path, now, planning_stop, warn),
        callbacks,
        stop,
        environment.run_blocking,
    )
    if sealed is None:
        return None
    return await send_job(
        callbacks,
        stop,
        job=JobFolder(path),
        check=partial(refuse_sent_job, expect=sealed.digest),
        options=LimitOptions(yes=job.yes, max_credits=job.max_credits),
        connection=connection,
        environment=environment,
    )


def plan_job_undo(
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
    *,
    source: JobFolder,
    options: SendOptions,
    clock: Clock,
    include_settled: bool,
    module_known: bool,
) -> PlanResult:
    """Plan the undo of a job, and seal it if it has a folder; blocks.

    Args:
        stop: stops the planning.
        warn: called with the rows that are not undone, and why.
        source: folder of the job.
        options: sending options that are set.
        clock: the clock.
        include_settled: whether to undo links that might not be the job's.
        module_known: whether the id of the Deals module need not be looked up.

    Returns:
        The cost, that of all shards.
    """
    inverse = _JobInverse.of(source, options, include_settled=include_settled)
    measuring = _Measuring(module_known=module_known)
    if inverse.job.run_dir is None:
        inverse.build(stop, warn, measuring=measuring)
        digest = job_digest(inverse.record.hash, inverse.record.shards, tuple(inverse.entries))
        return measuring.sum(inverse.job, digest)
    sealed = inverse.seal(inverse.job.run_dir, clock.wall(), stop, warn, measuring)
    if sealed is None:
        return empty_plan_result(msgspec.structs.replace(inverse.job, run_dir=None), 0)
    return measuring.sum(inverse.job, sealed.digest)


@dataclass(slots=True, kw_only=True)
class _Measuring:
    """Cost of the undo of a job, shard by shard.

    Args:
        module_known: whether the id of the Deals module need not be looked up.
    """

    module_known: bool
    costs: list[PlanResult] = field(default_factory=list)

    def sum(self, job: Job, digest: str) -> PlanResult:
        """Return the cost of all shards.

        Args:
            job: options of the undo.
            digest: digest of the job.
        """
        if not self.costs:
            return empty_plan_result(job, 0)
        counts = ("rows", "messages", "rejected", "duplicate", "groups")
        sums = {name: sum(getattr(cost, name) for cost in self.costs) for name in counts}
        refusals: Counter[str] = Counter()
        for cost in self.costs:
            refusals.update(cost.refusals)
        estimate = sum_estimates([cost.estimate for cost in self.costs], job)
        return PlanResult(
            op=job.op_name,
            run_dir=str(job.run_dir) if job.run_dir is not None else None,
            **sums,
            refusals=dict(refusals.most_common()),
            calls=sum_calls(cost.calls for cost in self.costs),
            credits=estimate.credits,
            seconds=estimate.seconds,
            digest=digest,
            estimate=estimate,
            shards=len(self.costs),
        )


@dataclass(slots=True, kw_only=True)
class _JobInverse:
    """Inverse of a job.

    Attributes:
        source: folder of the job.
        record: its record.
        shards: its shards.
        job: options of the undo.
        include_settled: whether to undo links that might not be the job's.
        entries: shards of the undo so far.
    """

    source: JobFolder
    record: JobRecord
    shards: Sequence[tuple[RunFolder, RunRecord]]
    job: Job
    include_settled: bool
    entries: list[ShardEntry] = field(default_factory=list)

    @classmethod
    def of(cls, source: JobFolder, options: SendOptions, *, include_settled: bool) -> _JobInverse:
        """Return the inverse of a job, whose shards are checked.

        Raises:
            RunDirError: if a shard is missing, or is another one.
            DigestError: if a plan is another one.
            LockedError: if a process is sending the job.
        """
        record = source.read()
        shards = source.open_shards(record)
        if source.is_running():
            raise LockedError(
                "A process is sending this job.",
                where=str(source.path),
                advice="Wait until it ends, or stop it, then undo it.",
            )
        job = undo_options(source.path, shards[0][1], options)
        return cls(
            source=source, record=record, shards=shards, job=job, include_settled=include_settled
        )

    def seal(
        self,
        path: Path,
        now: float,
        stop: PlanningStop,
        warn: Callable[[str | Advice], None],
        measuring: _Measuring | None = None,
    ) -> JobRecord | None:
        """Seal it as a job; return its record, or None if there is nothing to undo; blocks.

        Args:
            path: folder of the new job.
            now: seconds since 1970.
            stop: stops the work from another thread.
            warn: called with the rows that are not undone, and why.
            measuring: adds up the cost; None if it is not needed.
        """
        with new_job_folder(path, token_hex(4)) as folder:
            sealing = _Sealing(folder, self.job, self.record, token_hex(16), now)
            self.build(stop, warn, sealing=sealing, measuring=measuring)
            return sealing.complete() if self.entries else None

    def build(
        self,
        stop: PlanningStop,
        warn: Callable[[str | Advice], None],
        *,
        sealing: _Sealing | None = None,
        measuring: _Measuring | None = None,
    ) -> None:
        """Build the inverse of each shard, then seal or measure it."""
        remarks = UndoRemarks()
        for folder, record in self.shards:
            with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
                undo_plan = build_undo_plan(
                    folder,
                    Path(scratch),
                    include_settled=self.include_settled,
                    stop=stop,
                    measured=sealing is None,
                )
                if not undo_plan.rows and not undo_plan.not_undone:
                    continue
                remarks.add(undo_plan.remarks)
                self._add(undo_plan, folder, record, stop, sealing, measuring)
        for text in remarks.warnings():
            warn(text)

    def _add(
        self,
        undo_plan: UndoPlan,
        folder: RunFolder,
        record: RunRecord,
        stop: PlanningStop,
        sealing: _Sealing | None,
        measuring: _Measuring | None,
    ) -> None:
        number = record.shard.number if record.shard is not None else 0
        sealed = None
        if sealing is not None:
            sealed = sealing.seal(number, undo_plan, folder, record, stop)
            self.entries.append(ShardEntry.of(sealed))
        if measuring is None:
            return
        job = msgspec.structs.replace(self.job, run_dir=None, canary=0)
        if not any(cost.messages for cost in measuring.costs):
            job = msgspec.structs.replace(job, canary=self.job.canary)
        cost = undo_cost(
            undo_plan,
            folder,
            record,
            job,
            sealed.digest if sealed is not None else None,
            stop,
            module_known=measuring.module_known,
        )
        measuring.costs.append(cost)
        if sealed is None:
            digest = cost.digest if undo_plan.rows else ""
            self.entries.append(ShardEntry(number, cost.rows, cost.messages, digest, ""))


@dataclass(slots=True)
class _Sealing:
    """New job that is being sealed, shard by shard.

    Args:
        folder: its folder.
        job: options of the undo.
        source: the job that it reverses; a contact is in the same shard of both.
        id: random id of the new job.
        now: seconds since 1970.
    """

    folder: JobFolder
    job: Job
    source: JobRecord
    id: str
    now: float
    _runs: list[tuple[RunFolder, RunRecord]] = field(init=False, default_factory=list)

    def seal(
        self,
        number: int,
        undo_plan: UndoPlan,
        source: RunFolder,
        source_record: RunRecord,
        stop: PlanningStop,
    ) -> RunRecord:
        """Seal the inverse of a shard.

        Args:
            number: number of the shard.
            undo_plan: its inverse.
            source: the shard.
            source_record: its record.
            stop: stops the work from another thread.
        """
        rows_before = sum(run.rows for _, run in self._runs)
        if undo_plan.not_undone:
            name = mapping_name(source.path)
            append_undo_rejects(undo_plan, self.folder.rejects, name, rows_before)
        folder = self.folder.shard(number, self.source.shards)
        create_run_folder(folder.path, folder.path.parent, self.job.op_name, self.now, "")
        # Only the first shard that sends anything has a canary.
        is_first = not any(run.messages for _, run in self._runs)
        shard = ShardRecord(self.id, number, self.source.shards, 0)
        job = msgspec.structs.replace(
            self.job, run_dir=None, canary=self.job.canary if is_first else 0
        )
        record = seal_undo(
            undo_plan,
            source,
            source_record,
            job,
            folder,
            self.now,
            stop,
            UndoShard(shard, rows_before),
        )
        self._runs.append((folder, record))
        return record

    def complete(self) -> JobRecord:
        """Write into each shard how many emails the whole job sends, then the record of the job."""
        messages = sum(run.messages for _, run in self._runs)
        for folder, run in self._runs:
            if run.shard is not None:
                shard = msgspec.structs.replace(run.shard, job_messages=messages)
                folder.write(run.replace(shard=shard))
        record = JobRecord.of([run for _, run in self._runs], self.source.shards, self.source.hash)
        self.folder.write(record)
        return record
