"""What is in the queue of a runs folder, and what each run waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bulklink.errors import BulklinkError
from bulklink.ledger.records import timestamp
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.queue_access import open_queue
from bulklink.runs.queue import Approval, QueuedRun, QueueOverview, RunQueue
from bulklink.runs.record import RunState
from bulklink.runs.standing import read_standing
from bulklink.worker.choice import choose
from bulklink.worker.tracked_run import (
    OrgKeys,
    TrackedRun,
    check_is_approved,
    unreadable,
    waiting_runs,
)
from bulklink.worker.verdict import Timing, judge_found


def overview(runs_dir: Path, environment: Environment | None = None) -> QueueOverview | None:
    """Return the queue of a runs folder; None if nothing was ever approved in it.

    Args:
        runs_dir: parent of the run folders.
        environment: clock, and the key that signs approvals; None for those of this machine, others
            for tests.

    Raises:
        RunDirError: if the queue cannot be read.
        ConfigError: if the key cannot be stored.
    """
    if not RunQueue.exists_in(runs_dir):
        return None
    environment = environment or real_environment()
    queue, now = open_queue(runs_dir, environment), environment.clock.wall()
    notes = queue.notes()
    problems = [entry for entry in queue.entries().values() if not isinstance(entry, Approval)]
    runs = [
        _look_at(TrackedRun.of(approval, notes.get(approval.run)), runs_dir, now)
        for approval in queue.approvals()
    ]
    return QueueOverview(
        queue.has_worker(),
        tuple(_queued_runs(runs, runs_dir, now)),
        tuple(f"{problem.where}: {problem.message}" for problem in problems),
    )


def _look_at(run: TrackedRun, runs_dir: Path, now: float) -> TrackedRun:
    """Return a run with where it stands, and with what a worker would do with it."""
    path = runs_dir / run.approval.run
    try:
        run.standing = read_standing(path)
        check_is_approved(run.standing, run.approval, path)
    except (BulklinkError, OSError) as error:
        run.left = unreadable(error, path)
        return run
    run.is_elsewhere = run.standing.state is RunState.RUNNING
    if not run.is_elsewhere:
        verdict = judge_found(run.standing, run.approval, run.notes, now, Timing())
        run.wait(verdict, now)
        run.left = verdict.left
    return run


def _queued_runs(runs: Sequence[TrackedRun], runs_dir: Path, now: float) -> Iterator[QueuedRun]:
    keys = OrgKeys()
    for run in runs:
        keys.learn(run)
    driven = {keys.of(run): run.approval.run for run in runs if run.is_elsewhere}
    others = (run for run in runs if not run.is_elsewhere and not _has_finished(run))
    waiting = waiting_runs(others, keys, now)
    choice = choose(waiting, active=driven.keys(), slots=len(runs), now=now)
    for run in runs:
        approval = run.approval
        behind = None
        if run.left is None and not run.is_elsewhere and not _has_finished(run):
            behind = choice.behind.get(approval.run) or driven.get(keys.of(run))
        org = approval.org or (run.standing.org if run.standing else None)
        is_waiting = run.left is None and run.until is not None and run.until > now
        yield QueuedRun(
            run_dir=str(runs_dir / approval.run),
            op=approval.op,
            messages=approval.messages,
            org=org.name if org else None,
            profile=approval.profile,
            approved=approval.approved,
            state=_state(run, is_waiting=is_waiting, is_behind=behind is not None),
            until=timestamp(run.until) if is_waiting and run.until is not None else None,
            behind=behind,
            code=run.left.code if run.left else None,
            message=run.left.message if run.left else None,
        )


def _has_finished(run: TrackedRun) -> bool:
    return run.standing is not None and run.standing.state is RunState.FINISHED


def _state(run: TrackedRun, *, is_waiting: bool, is_behind: bool) -> str:
    if run.left is not None:
        return "left"
    if run.is_elsewhere:
        return "running"
    if _has_finished(run):
        return "finished"
    if is_waiting:
        return "waiting"
    return "behind" if is_behind else "ready"
