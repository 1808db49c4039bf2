"""A run in the queue, as its worker knows it, and what the worker says about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.errors import BulklinkError, DigestError, RunDirError
from bulklink.local_time import format_local_moment
from bulklink.operations.credit_limits import usage_key
from bulklink.runs.queue import Approval, LeftRun, RunNotes
from bulklink.runs.standing import Standing
from bulklink.worker.choice import WaitingRun
from bulklink.worker.verdict import Verdict

_APPROVE_AGAIN = "Look at the plan, and approve it again if it is right."


@dataclass(slots=True)
class TrackedRun:
    """A run in the queue.

    Attributes:
        approval: its approval.
        standing: where it stood at the last look; None if its folder could not be read.
        not_before: monotonic seconds before which it is not started.
        until: time until which it waits for credits, seconds since 1970; None if it does not.
        deaths: child processes that died since the last one that did not.
        left: why it was left to a person; None if it was not.
        is_elsewhere: whether another process drives it.
        is_started: whether a child process was started that has not ended as far as known.
        look_at: monotonic seconds of the next look at its folder.
    """

    approval: Approval
    standing: Standing | None = None
    not_before: float = -math.inf
    until: float | None = None
    deaths: int = 0
    left: LeftRun | None = None
    is_elsewhere: bool = False
    is_started: bool = False
    look_at: float = -math.inf

    @classmethod
    def of(cls, approval: Approval, notes: RunNotes | None) -> TrackedRun:
        """Return a run that the worker sees for the first time.

        Args:
            approval: its approval.
            notes: what an earlier worker noted; None if nothing, or about another approval.
        """
        run = cls(approval)
        if notes is not None and notes.approved == approval.approved:
            run.deaths, run.left, run.is_started = notes.deaths, notes.left, notes.started
        return run

    @property
    def notes(self) -> RunNotes:
        """What a later worker must know about it."""
        return RunNotes(self.approval.approved, self.is_started, self.deaths, self.left)

    @property
    def is_noteworthy(self) -> bool:
        """Whether there is anything to note."""
        return bool(self.is_started or self.deaths or self.left)

    def may_start_at(self, wall: float) -> float:
        """Return the monotonic seconds before which it may not be started.

        Args:
            wall: seconds since 1970.
        """
        if self.left is not None:
            return math.inf
        if self.until is not None and self.until <= wall:
            return -math.inf  # also if the machine slept, and the monotonic clock with it
        return self.not_before

    def wait(self, verdict: Verdict, now: float) -> None:
        """Let it wait until it is started again.

        Args:
            verdict: for how long.
            now: monotonic seconds.
        """
        self.left, self.deaths, self.until = None, verdict.deaths, verdict.until
        self.not_before = now + verdict.after


class OrgKeys:
    """Keys of orgs, as far as they are known: a run's connection is known before its org is."""

    def __init__(self) -> None:
        self._learned: dict[str, str] = {}

    def learn(self, run: TrackedRun) -> None:
        """Learn the org of a run that was sent before."""
        standing = run.standing
        if standing is not None and standing.org and standing.org.id and standing.api_url:
            key = usage_key(standing.api_url, standing.org.id)
            self._learned[run.approval.org_key] = key

    def of(self, run: TrackedRun) -> str:
        """Return the key of the org of a run; that of its connection until the org is known."""
        return self._learned.get(run.approval.org_key, run.approval.org_key)


def waiting_runs(
    runs: Iterable[TrackedRun], org_keys: OrgKeys, wall: float
) -> Iterator[WaitingRun]:
    """Yield the runs that wait to be started, or that a person must release for their org.

    Args:
        runs: runs that no process drives.
        org_keys: keys of their orgs.
        wall: seconds since 1970.
    """
    for run in runs:
        if run.left is None or run.left.holds_org:
            key, position = org_keys.of(run), run.approval.position
            yield WaitingRun(run.approval.run, key, position, run.may_start_at(wall))


def check_is_approved(standing: Standing, approval: Approval, path: Path) -> None:
    """Refuse a folder that is not that of the approved run any more.

    Raises:
        RunDirError: if it is the folder of another run.
        DigestError: if its plan is another one.
    """
    if standing.created != approval.created:
        raise RunDirError(
            "The folder has another run than the one that was approved.",
            where=str(path),
            advice=_APPROVE_AGAIN,
        )
    if standing.digest != approval.digest:
        raise DigestError(
            f"The digest of this plan is {standing.digest}, and {approval.digest} was approved.",
            where=str(path),
            advice=_APPROVE_AGAIN,
        )


def unreadable(error: BulklinkError | OSError, path: Path) -> LeftRun:
    """Return that a run was left to a person because its folder is not what was approved.

    Args:
        error: why not.
        path: the folder.
    """
    if isinstance(error, OSError):
        return LeftRun(RunDirError.code, f"{path}: {error.strerror or error}.")
    return LeftRun(error.code, f"{error.where or path}: {error.message}")


def left_text(run: TrackedRun, left: LeftRun, path: Path) -> Advice:
    """Return that a run was left to a person, why, and what to do.

    Args:
        run: the run.
        left: why.
        path: its folder.
    """
    was_sent = run.standing is not None and run.standing.was_sent
    settings = [Keyword("queue", value=True), Keyword("expect", run.approval.digest)]
    if run.approval.profile is not None:
        settings.append(Keyword("profile", run.approval.profile))
    again = NextCall("resume" if was_sent else "apply", path, settings=settings)
    return Advice(
        "{} is left to you ({}): {}{} Give it back to the worker: {}; or take it out of the"
        " queue: {}.",
        run.approval.run,
        left.code,
        left.message,
        " The later runs of its org wait." if left.holds_org else "",
        again,
        NextCall("cancel", path),
    )


def waiting_text(name: str, verdict: Verdict, *, has_died: bool) -> str:
    """Return what a run waits for.

    Args:
        name: its name.
        verdict: what is to be done with it.
        has_died: whether its process died.
    """
    if has_died:
        again = f"in {verdict.after:.0f} s" if verdict.after else "at once"
        return f"{name}: its process died; it is started again {again}."
    if verdict.until is not None:
        moment = format_local_moment(verdict.until)
        return f"{name} waits for credits; it is started again at {moment}."
    return f"{name} is locked by another process; it is tried again in {verdict.after:.0f} s."
