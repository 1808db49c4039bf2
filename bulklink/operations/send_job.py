"""Sending of a job: its shards one after another, as one command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.engine.quota.budget import command_credits_error
from bulklink.engine.shutdown import StopController
from bulklink.errors import InvalidRowsError, RunDirError, RunStoppedError, StoppedBy
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.continue_run import (
    ShouldRetry,
    check_approved,
    continue_run,
    load_started_record,
    load_unsent_record,
)
from bulklink.operations.environment import Environment
from bulklink.operations.job_options import LimitOptions
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder, JobRecord
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import ENDED_STATES, RunResult, build_job_result, status
from bulklink.zoho.connection import Connection

CheckShards = Callable[[JobFolder, JobRecord, list[RunRecord]], None]
"""Refuses a job that cannot be sent like this."""


def refuse_sent_job(
    job: JobFolder, record: JobRecord, shards: list[RunRecord], *, expect: str | None
) -> None:
    """Refuse to apply a job of which something was sent, or that was not approved.

    Raises:
        DigestError: if it has another digest than `expect`.
        RunDirError: if it was applied before.
    """
    check_approved(record.digest, expect, job.path)
    if any(shard.was_sent for shard in shards):
        raise RunDirError(
            "This job has been applied before.",
            where=str(job.path),
            advice=Advice("Continue it: {}.", NextCall("resume", job.path)),
        )


def refuse_unsent_job(
    job: JobFolder, record: JobRecord, shards: list[RunRecord], *, expect: str | None = None
) -> None:
    """Refuse to continue a job of which nothing was sent, or that was not approved.

    Raises:
        DigestError: if it has another digest than `expect`.
        RunDirError: if nothing was sent.
    """
    check_approved(record.digest, expect, job.path)
    is_planned = any(shard.state is RunState.PLANNED for shard in shards)
    if is_planned and not any(shard.invocations for shard in shards):
        raise RunDirError(
            "This job has not been sent yet, so there is nothing to continue.",
            where=str(job.path),
            advice=Advice("Send it: {}.", NextCall("apply", job.path)),
        )


async def send_job(
    callbacks: RunCallbacks,
    stop: StopController,
    *,
    job: JobFolder,
    check: CheckShards,
    options: LimitOptions,
    connection: Connection,
    environment: Environment,
    should_retry: ShouldRetry | None = None,
    accept_canary: bool = False,
) -> RunResult:
    """Send what is left of a job, shard after shard; the first one that stops ends it.

    A shard that failed in part, or was refused, does not stop the next. The question before the
    first change is asked once, for all shards.

    Args:
        callbacks: callbacks of the runs.
        stop: stops the job.
        job: its folder.
        check: refuses a job that cannot be sent like this.
        options: options that differ from those of the runs; `max_credits` is that of all shards,
            and `canary` that of the first.
        connection: endpoint and credentials of the CRM.
        environment: network, disk and clock.
        should_retry: chooses the settled rows that are sent again; None for none.
        accept_canary: whether to continue after a failed canary.
    """
    _open(job, check)  # before a lock file is created in a folder that may not be a job's
    with job.lock():
        record, shards = _open(job, check)
        sending = _Sending(
            callbacks=callbacks,
            stop=stop,
            options=options,
            connection=connection,
            environment=environment,
            should_retry=should_retry,
            accept_canary=accept_canary,
        )
        results: list[RunResult] = []
        is_first = True
        for entry, (folder, shard) in zip(record.entries, shards, strict=True):
            try:
                result = await sending.send_shard(
                    folder, shard, digest=entry.digest, is_first=is_first
                )
            except InvalidRowsError as error:
                if not any(each.calls.link + each.calls.unlink for each in results):
                    raise
                callbacks.warn(
                    Advice("{} is left out: {} {}", folder.path.name, error.message, error.guidance)
                )
                result = await environment.run_blocking(partial(status, folder))
            results.append(result)
            is_first = is_first and not shard.messages
            if result.state not in ENDED_STATES or stop.reason is not None:
                break
        for folder, _ in shards[len(results) :]:
            results.append(await environment.run_blocking(partial(status, folder)))
    return build_job_result(
        job, record, results, stop.reason.stopped_by if stop.reason is not None else None
    )


def _open(
    job: JobFolder, check: CheckShards
) -> tuple[JobRecord, list[tuple[RunFolder, RunRecord]]]:
    """Return the record of a job and its shards, unless it cannot be sent."""
    record = job.read()
    shards = job.open_shards(record)
    check(job, record, [shard for _, shard in shards])
    return record, shards


@dataclass(slots=True, kw_only=True)
class _Sending:
    """Shards of one command, sent one after another.

    Attributes:
        credits: credits that the shards so far took of `max_credits`.
        was_asked: whether the question before the first change was answered.
    """

    callbacks: RunCallbacks
    stop: StopController
    options: LimitOptions
    connection: Connection
    environment: Environment
    should_retry: ShouldRetry | None
    accept_canary: bool
    credits: int = field(default=0, init=False)
    was_asked: bool = field(default=False, init=False)

    async def send_shard(
        self, folder: RunFolder, record: RunRecord, *, digest: str, is_first: bool
    ) -> RunResult:
        """Send what is left of a shard; return its result.

        Args:
            folder: its folder.
            record: its record.
            digest: digest that its plan must have if nothing of it was sent, as the job says.
            is_first: whether no shard before it has messages.
        """
        is_refused = record.state is RunState.REFUSED
        # A shard of an undo that can undo nothing has no plan.
        has_retries = self.should_retry is not None and record.messages > 0
        is_done = is_refused or (record.state is RunState.FINISHED and not has_retries)
        if is_refused:
            self.callbacks.warn(
                f"{folder.path.name} was refused before anything of it was sent, and is left out:"
                f" {folder.rejects} has its refused rows."
            )
        before = await self.environment.run_blocking(partial(status, folder))
        options = self._options(is_first=is_first)
        limit = options.get("max_credits")
        if limit == 0 and not is_done:
            self.stop.request(_credits_error(self.credits))
        if is_done or limit == 0:
            return before
        if record.shard is not None:
            self.callbacks.on_phase(f"Shard {record.shard.number:,} of {record.shard.shards:,}")
        load = (
            partial(load_started_record, accept_canary=self.accept_canary)
            if record.invocations
            else partial(load_unsent_record, expect=digest)
        )
        result = await continue_run(
            self.callbacks,
            self.stop,
            folder=folder,
            load_record=load,
            options=options,
            connection=self.connection,
            environment=self.environment,
            should_retry=self.should_retry,
            accept_canary=self.accept_canary,
        )
        self.credits += result.credits - before.credits
        if result.stopped_by == StoppedBy.MAX_CREDITS and self.credits != limit:
            self.stop.reason = _credits_error(self.credits)  # not only what was left for this shard
        sent = len(folder.read().invocations) > len(record.invocations)
        self.was_asked = self.was_asked or (sent and record.messages > 0)
        return result

    def _options(self, *, is_first: bool) -> LimitOptions:
        options = self.options.copy()
        if self.was_asked:
            options["yes"] = True
        if not is_first:
            options.pop("canary", None)
        if (limit := options.get("max_credits")) is not None:
            options["max_credits"] = max(0, limit - self.credits)
        return options


def _credits_error(limit: int) -> RunStoppedError:
    return command_credits_error(
        limit, Advice("Resume the job with another {}.", Keyword("max_credits"))
    )
