"""What is in the queue of a runs folder, and what each run waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bulklink.errors import BulklinkError
from bulklink.ledger.records import timestamp
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.queue_access import open_queue
from bulklink.runs.queue import Approval, LeftRun, RunNotes, RunQueue
from bulklink.runs.record import RunState
from bulklink.runs.standing import read_standing
from bulklink.worker.choice import WaitingRun, choose
from bulklink.worker.tracked_run import OrgKeys, TrackedRun, check_is_approved, unreadable
from bulklink.worker.verdict import Kind, Timing, Verdict, judge_found


class QueuedRun(msgspec.Struct, frozen=True):
    """A run in the queue.

    Args:
        run_dir: its folder.
        op: its operation.
        messages: messages that it sends.
        org: name of its org, as far as known.
        profile: profile to connect with; None for that of the worker.
        approved: time of its approval, RFC 3339 in UTC.
        state: running; ready to be started; waiting for credits; behind another run of its org;
            left to a person; or finished, and removed by the next worker.
        until: when credits are expected, RFC 3339; None if it does not wait for them.
        behind: name of the run of its org that goes first; None without one.
        code: why it was left, an error code or a StoppedBy value; None if it was not.
        message: why it was left, in words; None if it was not.
    """

    run_dir: str
    op: str
    messages: int
    org: str | None
    profile: str | None
    approved: str
    state: str
    until: str | None = None
    behind: str | None = None
    code: str | None = None
    message: str | None = None


class QueueOverview(msgspec.Struct, frozen=True):
    """The queue of a runs folder.

    Args:
        worker: whether a worker drives its runs.
        runs: the runs, by position.
        problems: approvals that are not valid.
    """

    worker: bool
    runs: tuple[QueuedRun, ...]
    problems: tuple[str, ...] = ()


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
    found = [
        _find(approval, notes.get(approval.run), runs_dir / approval.run, now)
        for approval in queue.approvals()
    ]
    return QueueOverview(
        queue.has_worker(),
        tuple(_queued_runs(found, runs_dir, now)),
        tuple(f"{problem.where}: {problem.message}" for problem in problems),
    )


class _Found(msgspec.Struct, frozen=True):
    """A run in the queue: where it stands, and what a worker would do with it."""

    run: TrackedRun
    verdict: Verdict | None


def _find(approval: Approval, notes: RunNotes | None, path: Path, now: float) -> _Found:
    run = TrackedRun.of(approval, notes)
    try:
        run.standing = read_standing(path)
        check_is_approved(run.standing, approval, path)
    except (BulklinkError, OSError) as error:
        return _Found(run, Verdict(Kind.LEFT, left=unreadable(error, path)))
    run.is_elsewhere = run.standing.state is RunState.RUNNING
    if run.is_elsewhere:
        return _Found(run, None)
    verdict = judge_found(run.standing, approval, run.notes, now, Timing())
    if verdict.kind is Kind.START:
        run.wait(verdict, now)
    run.left = verdict.left
    return _Found(run, verdict)


def _queued_runs(found: Sequence[_Found], runs_dir: Path, now: float) -> Iterator[QueuedRun]:
    keys = OrgKeys()
    for each in found:
        keys.learn(each.run)
    running = [each.run for each in found if each.run.is_elsewhere]
    choice = choose(
        (
            WaitingRun(
                each.run.approval.run,
                keys.of(each.run),
                each.run.approval.position,
                each.run.may_start_at(now),
            )
            for each in found
            if not each.run.is_elsewhere and (each.run.left is None or each.run.left.holds_org)
        ),
        active={keys.of(run) for run in running},
        slots=len(found),
        now=now,
    )
    names = {keys.of(run): run.approval.run for run in running}
    for each in found:
        run, approval = each.run, each.run.approval
        behind = choice.behind.get(approval.run)
        if behind is None and not run.is_elsewhere:
            behind = names.get(keys.of(run))
        org = approval.org or (run.standing.org if run.standing else None)
        left = run.left or (each.verdict.left if each.verdict else None)
        until = run.until if run.until is not None and run.until > now else None
        yield QueuedRun(
            run_dir=str(runs_dir / approval.run),
            op=approval.op,
            messages=approval.messages,
            org=org.name if org else None,
            profile=approval.profile,
            approved=approval.approved,
            state=_state(each, left, until, behind),
            until=None if until is None or left else timestamp(until),
            behind=None if left else behind,
            code=left.code if left else None,
            message=left.message if left else None,
        )


def _state(found: _Found, left: LeftRun | None, until: float | None, behind: str | None) -> str:
    if left is not None:
        return "left"
    if found.run.is_elsewhere:
        return "running"
    if found.verdict is not None and found.verdict.kind is Kind.DONE:
        return "finished"
    if until is not None:
        return "waiting"
    return "ready" if behind is None else "behind"
