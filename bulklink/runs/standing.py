"""Where a run or job stands, from its records alone: no ledger is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bulklink.errors import ExitCode, StoppedBy
from bulklink.models import Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder, JobRecord, find_job
from bulklink.runs.record import OrgRecord, RunRecord, RunState
from bulklink.runs.status import current_record, job_exit_code, job_state, run_exit_code

_MAY_BE_CHANGED = (Status.DONE, Status.IN_DOUBT)


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run or job stands.

    Args:
        op: its operation.
        created: time of its creation, RFC 3339 in UTC.
        digest: digest of its plan, or over those of all shards; None if it has none.
        messages: messages that it sends.
        state: its state; RUNNING only while a process drives it.
        stopped_by: StoppedBy value, None unless it stopped.
        resume_at: when it can continue, RFC 3339; None if time alone does not help.
        reason: why it stopped, in words; None if it did not.
        invocations: number of commands that ran it, or its shards.
        exit_code: exit code for this state, None while it runs.
        was_sent: whether a command got as far as sending, or may have.
        org: the org that it changes; None before it was sent.
        api_url: address of the API; None before it was sent.
        undone: whether undos reversed all its changes.
    """

    op: str
    created: str
    digest: str | None
    messages: int
    state: RunState
    stopped_by: str | None
    resume_at: str | None
    reason: str | None
    invocations: int
    exit_code: ExitCode | None
    was_sent: bool
    org: OrgRecord | None
    api_url: str | None
    undone: bool = False


def read_standing(run: Path) -> Standing:
    """Return where a run or job stands.

    Args:
        run: its folder.

    Raises:
        RunDirError: if it is neither.
        DigestError: if it is a job whose shards are not those that were sealed.
    """
    job = find_job(run)
    if job is not None:
        record = job.read()
        folders = [folder for folder, _ in job.open_shards(record)]
        return _job_standing(job, record, [current_record(folder) for folder in folders])
    return standing_of(current_record(RunFolder(run)))


def standing_of(record: RunRecord) -> Standing:
    """Return where a run stands by its record.

    Args:
        record: the record, which says STOPPED if the run was killed.
    """
    return Standing(
        op=record.shown_op,
        created=record.created,
        digest=record.digest,
        messages=record.messages,
        state=record.state,
        stopped_by=record.stopped_by,
        resume_at=record.resume_at,
        reason=record.reason,
        invocations=len(record.invocations),
        exit_code=run_exit_code(record.state, record.stopped_by, Counter(record.counts)),
        was_sent=record.was_sent,
        org=record.org,
        api_url=record.api_url,
        undone=record.effective_undo is not None,
    )


def _job_standing(job: JobFolder, record: JobRecord, shards: Sequence[RunRecord]) -> Standing:
    states = {shard.state for shard in shards}
    was_sent = any(shard.was_sent for shard in shards)
    state = job_state(states, was_sent=was_sent)
    if state is RunState.STOPPED and job.is_running():  # between two shards
        state = RunState.RUNNING
    stopped = next((shard for shard in shards if shard.state is RunState.STOPPED), None)
    has_stopped = state is RunState.STOPPED
    sent = next((shard for shard in shards if shard.org is not None), shards[0])
    stopped_by = (stopped.stopped_by if stopped else StoppedBy.KILLED) if has_stopped else None
    counts = sum((Counter(shard.counts) for shard in shards), Counter[str]())
    return Standing(
        op=record.op,
        created=record.created,
        digest=record.digest,
        messages=record.messages,
        state=state,
        stopped_by=stopped_by,
        resume_at=stopped.resume_at if stopped else None,
        reason=stopped.reason if stopped else None,
        invocations=sum(len(shard.invocations) for shard in shards),
        exit_code=job_exit_code(state, stopped_by, counts, was_refused=RunState.REFUSED in states),
        was_sent=was_sent,
        org=sent.org,
        api_url=sent.api_url,
        undone=_is_undone(shards),
    )


def _is_undone(shards: Sequence[RunRecord]) -> bool:
    """Return whether undos reversed all changes; a shard that changed nothing has none."""
    changed = list(filter(_may_have_changed, shards))
    return bool(changed) and all(shard.effective_undo is not None for shard in changed)


def _may_have_changed(shard: RunRecord) -> bool:
    """Return whether a shard may have changed emails; the counts of a killed one are old."""
    was_killed = shard.stopped_by == StoppedBy.KILLED
    is_changed = any(shard.counts.get(status, 0) for status in _MAY_BE_CHANGED)
    return was_killed or is_changed or shard.effective_undo is not None
