"""What is to be done with a run once nothing drives it any more. Pure."""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.errors import ExitCode, LockedError, StoppedBy
from bulklink.ledger.records import parse_time
from bulklink.runs.queue import Approval, LeftRun, RunNotes
from bulklink.runs.record import RunState
from bulklink.runs.standing import Standing

MAX_RESTARTS = 5
"""Restarts of a run that dies again and again."""
_OF_THE_ORG = (StoppedBy.FATAL, StoppedBy.NO_ANSWER)
"""Reasons that would stop the next run of the org too."""
_BY_A_PERSON = (StoppedBy.INTERRUPTED, StoppedBy.TERMINATED)


class Timing(msgspec.Struct, frozen=True):
    """Times of a worker, in seconds; tests use shorter ones.

    Args:
        restart: between two restarts of a run that dies, after the first one, which is at once.
        steady: a child process that lived longer died for the first time.
        locked: until a run is tried again that another process, or another run of its org, locks.
        credits: least time until a run is tried again that has no credits.
        poll: between two looks at the queue.
        recheck: between two looks at the runs that were left to a person.
    """

    restart: float = 60.0
    steady: float = 600.0
    locked: float = 15.0
    credits: float = 60.0
    poll: float = 2.0
    recheck: float = 30.0


class Ended(msgspec.Struct, frozen=True):
    """How a child process ended.

    Args:
        exit_code: its exit code; negative for the signal that killed it.
        code: code of its error; None without one.
        message: its error, for the user.
        stopped: whether the worker had asked it to stop.
    """

    exit_code: int
    code: str | None = None
    message: str = ""
    stopped: bool = False


class Kind(Enum):
    """What is to be done with a run."""

    DONE = auto()
    """Nothing: it has finished."""
    START = auto()
    """It is started, or started again, after a while."""
    LEFT = auto()
    """A person must look at it."""


class Verdict(msgspec.Struct, frozen=True):
    """What is to be done with a run.

    Args:
        kind: what.
        after: seconds until it is started.
        until: time until which it waits for credits, seconds since 1970; None if it does not.
        deaths: child processes that died since the last one that did not.
        left: why a person must look at it.
    """

    kind: Kind
    after: float = 0.0
    until: float | None = None
    deaths: int = 0
    left: LeftRun | None = None


def judge_found(
    standing: Standing, approval: Approval, notes: RunNotes, now: float, timing: Timing
) -> Verdict:
    """Return what is to be done with a run that the worker did not drive until now.

    Args:
        standing: where the run stands; no process drives it.
        approval: its approval.
        notes: what an earlier worker noted.
        now: seconds since 1970.
        timing: times of the worker.
    """
    if standing.state is RunState.FINISHED:
        return Verdict(Kind.DONE)
    if notes.left is not None and standing.invocations == notes.left.invocations:
        return Verdict(Kind.LEFT, left=notes.left)  # no person has acted
    died = standing.stopped_by == StoppedBy.KILLED
    if notes.started and died:  # together with an earlier worker
        return _after_death(
            standing, notes.deaths + 1, "The last time the worker died too.", timing
        )
    if standing.stopped_by == StoppedBy.CREDITS:
        return _wait_for_credits(standing, now, least=0.0)
    if standing.invocations == approval.invocations or died:
        return Verdict(Kind.START, deaths=notes.deaths)
    if standing.stopped_by == StoppedBy.TERMINATED:  # with an earlier worker
        return Verdict(Kind.START)
    return _after_stop(standing, timing, now)


def judge_ended(
    ended: Ended, seconds: float, standing: Standing, deaths: int, now: float, timing: Timing
) -> Verdict:
    """Return what is to be done with a run whose child process ended.

    Args:
        ended: how it ended.
        seconds: how long it lived.
        standing: where the run stands.
        deaths: child processes of the run that had died before.
        now: seconds since 1970.
        timing: times of the worker.
    """
    if standing.state is RunState.FINISHED:
        return Verdict(Kind.DONE)
    if ended.stopped:
        return Verdict(Kind.START, deaths=deaths)
    if ended.exit_code == ExitCode.REFUSED:
        if ended.code == LockedError.code:
            return Verdict(Kind.START, after=timing.locked, deaths=deaths)
        return _leave(standing, ended.code or "refused", ended.message)
    if standing.state is RunState.STOPPED and standing.stopped_by != StoppedBy.KILLED:
        return _after_stop(standing, timing, now)
    if ended.exit_code == ExitCode.STOPPED and ended.code is not None:
        return _leave(standing, ended.code, ended.message)
    deaths = 1 if seconds >= timing.steady else deaths + 1
    return _after_death(standing, deaths, _describe_death(ended), timing)


def _after_stop(standing: Standing, timing: Timing, now: float) -> Verdict:
    by = standing.stopped_by
    if by == StoppedBy.CREDITS:
        return _wait_for_credits(standing, now, least=timing.credits)
    if by == StoppedBy.LEASE:
        return Verdict(Kind.START, after=timing.locked)
    reason = standing.reason or f"It is {standing.state}."
    if by in _BY_A_PERSON:
        reason = "It was stopped from outside."
    return _leave(standing, by or str(standing.state), reason, holds_org=by in _OF_THE_ORG)


def _wait_for_credits(standing: Standing, now: float, *, least: float) -> Verdict:
    until = parse_time(standing.resume_at).timestamp() if standing.resume_at else now
    after = max(least, until - now)
    return Verdict(Kind.START, after=after, until=now + after)


def _leave(standing: Standing, code: str, message: str, *, holds_org: bool = False) -> Verdict:
    left = LeftRun(code, message, holds_org=holds_org, invocations=standing.invocations)
    return Verdict(Kind.LEFT, left=left)


def _after_death(standing: Standing, deaths: int, reason: str, timing: Timing) -> Verdict:
    if deaths > MAX_RESTARTS:
        return _leave(standing, "died", f"Its process died {deaths} times. {reason}")
    return Verdict(Kind.START, after=timing.restart if deaths > 1 else 0.0, deaths=deaths)


def _describe_death(ended: Ended) -> str:
    if ended.exit_code < 0:
        return f"The last time signal {-ended.exit_code} killed it."
    return f"The last time it ended with exit code {ended.exit_code}. {ended.message}".rstrip()
