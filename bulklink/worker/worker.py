"""The worker: drives the approved runs of a folder, each in a child process, one for an org."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import msgspec

from bulklink.advice import Advice, NextCall
from bulklink.counts import count_of
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, ExitCode, RunDirError
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.queue_access import open_queue
from bulklink.runs.queue import Approval, LeftRun, RunNotes, RunQueue
from bulklink.runs.record import RunState
from bulklink.runs.standing import Standing, read_standing
from bulklink.runs.status import run_exit_code
from bulklink.task_group import task_group
from bulklink.worker.children import Child, child_command, start_child
from bulklink.worker.choice import Choice, choose
from bulklink.worker.tracked_run import (
    OrgKeys,
    TrackedRun,
    check_is_approved,
    left_text,
    unreadable,
    waiting_runs,
    waiting_text,
)
from bulklink.worker.verdict import Ended, Kind, Timing, Verdict, judge_ended, judge_found

_CLOCK_JUMP_SECONDS = 60.0


class WorkResult(msgspec.Struct, frozen=True):
    """What a worker did until it ended.

    Args:
        runs_dir: the runs folder.
        finished: runs that finished.
        with_failures: those of them with emails that are not done.
        left: names of the runs that a person must look at.
        waiting: names of the runs that are still in the queue for a worker.
        stopped_by: StoppedBy value if it was stopped; None if the queue was drained.
        exit_code: exit code.
    """

    runs_dir: str
    finished: int
    with_failures: int
    left: tuple[str, ...]
    waiting: tuple[str, ...]
    stopped_by: str | None
    exit_code: int


async def work(
    runs_dir: Path,
    *,
    slots: int,
    drain: bool,
    stop: StopController,
    report: Callable[[str | Advice], None],
    profile: str | None = None,
    environment: Environment | None = None,
    start: Callable[[Sequence[str]], Awaitable[Child]] = start_child,
    timing: Timing | None = None,
) -> WorkResult:
    """Drive the approved runs of a folder until it is stopped.

    Args:
        runs_dir: parent of the run folders.
        slots: runs that are sent at the same time.
        drain: whether to end when nothing in the queue can be sent any more.
        stop: stops the worker; children are stopped gently then.
        report: called with each event.
        profile: profile of runs that were approved without one; None for the environment's.
        environment: clock, disk and the key that signs approvals; None for those of this machine,
            others for tests.
        start: starts a child process by its command.
        timing: times of the worker; None for the usual ones.

    Raises:
        RunDirError: if there is no such folder, or the queue cannot be written.
        LockedError: if another worker drives these runs.
    """
    environment = environment or real_environment()
    queue = open_queue(runs_dir, environment)
    worker = _Worker(
        queue=queue,
        slots=slots,
        stop=stop,
        report=report,
        environment=environment,
        timing=timing or Timing(),
        start=start,
        profile=profile,
    )
    with queue.worker_lock():
        return await worker.work(drain=drain)


@dataclass(slots=True, kw_only=True)
class _Worker:
    queue: RunQueue
    slots: int
    stop: StopController
    report: Callable[[str | Advice], None]
    environment: Environment
    timing: Timing
    start: Callable[[Sequence[str]], Awaitable[Child]]
    profile: str | None
    _runs: dict[str, TrackedRun] = field(default_factory=dict, init=False)
    _children: dict[str, Child | None] = field(default_factory=dict, init=False)
    _org_keys: OrgKeys = field(default_factory=OrgKeys, init=False)
    _noted: dict[str, RunNotes] | None = field(default=None, init=False)
    _notes_lock: anyio.Lock = field(default_factory=anyio.Lock, init=False)
    _bad_entries: set[str] = field(default_factory=set, init=False)
    _changed: anyio.Event = field(default_factory=anyio.Event, init=False)
    _finished: int = field(default=0, init=False)
    _with_failures: int = field(default=0, init=False)
    _clock_offset: float | None = field(default=None, init=False)

    async def work(self, *, drain: bool) -> WorkResult:
        """Drive the runs until the stop, or until nothing is left that can be sent."""
        self.stop.on_stop(self._wake)
        approvals = await self.environment.run_blocking(self.queue.approvals)
        queued = count_of(len(approvals), "approved run") if approvals else "No approved runs yet"
        self.report(f"{queued}; up to {self.slots} are sent at the same time.")
        async with task_group() as group:
            while not self._is_stopping():
                self._changed = anyio.Event()
                self._check_clock()
                await self._look()
                choice = self._choose()
                for name in choice.starts:
                    self._children[name] = None
                    group.start_soon(self._drive, self._runs[name])
                if drain and self._is_drained(choice):
                    break
                await self._wait(choice.wake_at)
            for child in self._children.values():
                if child is not None:
                    child.stop()
        return self._result()

    def _wake(self) -> None:
        self._changed.set()

    async def _wait(self, wake_at: float) -> None:
        """Wait until something has changed, or there may be something to do."""
        seconds = min(self.timing.poll, max(0.0, wake_at - self._now()))
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    def _is_queued(self, run: TrackedRun) -> bool:
        """Return whether a run is still in the queue, by the approval that the worker knows."""
        return self._runs.get(run.approval.run) is run

    def _is_stopping(self) -> bool:
        return self.stop.reason is not None

    def _now(self) -> float:
        return self.environment.clock.monotonic()

    def _check_clock(self) -> None:
        """Report a clock that was set back; runs wait by the monotonic clock."""
        offset = self.environment.clock.wall() - self._now()
        before, self._clock_offset = self._clock_offset, offset
        if before is not None and offset < before - _CLOCK_JUMP_SECONDS:
            self.report(
                f"The clock of this machine was set back by {round(before - offset):,} seconds."
                " Runs that wait for credits go on when they would have; if the clock was wrong"
                " before, credits may be counted for longer than 24 hours."
            )

    async def _look(self) -> None:
        """Read the queue, and look at the runs of which it is time to."""
        known = frozenset(self._runs)
        try:
            entries = await self.environment.run_blocking(self.queue.entries)
        except RunDirError as error:
            self._report_bad_entry("", error)
            return
        approvals: dict[str, Approval] = {}
        for file_name, entry in entries.items():
            if isinstance(entry, Approval):
                approvals[entry.run] = entry
            else:
                self._report_bad_entry(file_name, entry)
        for name in self._runs.keys() - approvals.keys():
            self._forget(name)
        notes: dict[str, RunNotes] | None = None
        for name, approval in approvals.items():
            run = self._runs.get(name)
            if run is None and name in known:
                continue  # it has finished since the look began
            if run is None or (run.approval != approval and name not in self._children):
                if notes is None:
                    notes = await self.environment.run_blocking(self.queue.notes)
                run = self._runs[name] = TrackedRun.of(approval, notes.get(name))
            if name not in self._children and run.look_at <= self._now():
                await self._look_at(run)
        await self._save_notes()

    def _report_bad_entry(self, name: str, error: BulklinkError) -> None:
        if name not in self._bad_entries:
            self._bad_entries.add(name)
            self.report(Advice("{}: {} {}", error.place, error.message, error.guidance))

    def _forget(self, name: str) -> None:
        """Forget a run that was taken out of the queue."""
        child = self._children.get(name)
        if child is not None:
            self.report(f"{name}: taken out of the queue; it is being stopped gently.")
            child.stop()
        del self._runs[name]

    async def _look_at(self, run: TrackedRun) -> None:
        """Find out what is to be done with a run that no child process drives."""
        standing = await self._read_standing(run)
        run.look_at = math.inf
        run.is_elsewhere = standing is not None and standing.state is RunState.RUNNING
        if run.is_elsewhere:
            run.look_at = self._now() + self.timing.poll
        elif standing is not None:
            wall = self.environment.clock.wall()
            verdict = judge_found(standing, run.approval, run.notes, wall, self.timing)
            run.is_started = False
            self._carry_out(run, verdict, standing, has_ended=False)
        if run.left is not None:
            run.look_at = self._now() + self.timing.recheck

    async def _read_standing(self, run: TrackedRun) -> Standing | None:
        """Read where a run stands; None, with a report, if it is not what was approved."""
        path = self.queue.runs_dir / run.approval.run
        try:
            standing = await self.environment.run_blocking(partial(read_standing, path))
            check_is_approved(standing, run.approval, path)
        except (BulklinkError, OSError) as error:
            run.standing = None
            self._leave(run, unreadable(error, path))
            return None
        run.standing = standing
        self._org_keys.learn(run)
        return standing

    def _choose(self) -> Choice:
        wall = self.environment.clock.wall()
        driven = [run for run in self._runs.values() if self._is_driven(run)]
        others = (run for run in self._runs.values() if not self._is_driven(run))
        return choose(
            waiting_runs(others, self._org_keys, wall),
            active=set(map(self._org_keys.of, driven)),
            slots=self.slots - len(driven),
            now=self._now(),
        )

    def _is_driven(self, run: TrackedRun) -> bool:
        """Return whether a process drives a run."""
        return run.is_elsewhere or run.approval.run in self._children

    def _is_drained(self, choice: Choice) -> bool:
        """Return whether nothing is being sent, or will be without a person."""
        is_active = bool(self._children) or any(map(self._is_driven, self._runs.values()))
        return not is_active and not choice.starts and choice.wake_at == math.inf

    async def _drive(self, run: TrackedRun) -> None:
        """Send a run in a child process, and find out what is to be done next."""
        name = run.approval.run
        try:
            await self._send(run)
        finally:
            del self._children[name]
            self._changed.set()

    async def _send(self, run: TrackedRun) -> None:
        approval, name = run.approval, run.approval.run
        standing = await self._read_standing(run)
        if standing is None:
            run.look_at = self._now() + self.timing.recheck
            return
        if standing.state in (RunState.RUNNING, RunState.FINISHED):
            run.look_at = -math.inf  # another process drives it, or did
            return
        if self._is_stopping():
            return
        run.is_started = True
        await self._save_notes()
        started_at = self._now()
        command = child_command(
            approval,
            self.queue.runs_dir / name,
            profile=approval.profile or self.profile,
            was_sent=standing.was_sent,
        )
        try:
            child = self._children[name] = await self.start(command)
        except OSError as error:
            ended = Ended(ExitCode.STOPPED, message=f"It cannot be started: {error}.")
        else:
            emails = count_of(approval.messages, "email")
            self.report(f"{name}: started, {approval.op} of {emails}.")
            if self._is_stopping() or not self._is_queued(run):
                child.stop()
            try:
                ended = await child.wait()
            except BaseException:  # stopped immediately
                child.stop()
                raise
        run.is_started = False
        await self._settle(run, ended, self._now() - started_at)

    async def _settle(self, run: TrackedRun, ended: Ended, seconds: float) -> None:
        """Carry out what is to be done with a run whose child process lived for some seconds."""
        if not self._is_queued(run):
            self.report(f"{run.approval.run}: stopped.")
            return
        standing = await self._read_standing(run)
        if standing is not None:
            wall = self.environment.clock.wall()
            verdict = judge_ended(ended, seconds, standing, run.deaths, wall, self.timing)
            self._carry_out(run, verdict, standing, has_ended=True)
        if run.left is not None:
            run.look_at = self._now() + self.timing.recheck
        await self._save_notes()

    def _carry_out(
        self, run: TrackedRun, verdict: Verdict, standing: Standing, *, has_ended: bool
    ) -> None:
        name = run.approval.run
        if not self._is_queued(run):  # it was taken out of the queue meanwhile
            return
        if verdict.kind is Kind.DONE:
            self._finish(run, standing)
        elif verdict.left is not None:
            self._leave(run, verdict.left)
        else:
            has_died = verdict.deaths > run.deaths
            run.wait(verdict, self._now())
            if has_died or verdict.after:
                self.report(waiting_text(name, verdict, has_died=has_died))
            elif has_ended:
                self.report(f"{name}: stopped.")

    def _finish(self, run: TrackedRun, standing: Standing) -> None:
        name = run.approval.run
        try:
            self.queue.remove(name)
        except RunDirError as error:
            self.report(f"{error.where}: {error.message}")
        del self._runs[name]
        self._finished += 1
        has_failures = standing.exit_code == ExitCode.ROWS_NOT_DONE
        self._with_failures += has_failures
        path = self.queue.runs_dir / name
        self.report(
            Advice("{}: finished, not all emails are done: {}.", name, NextCall("status", path))
            if has_failures
            else f"{name}: finished."
        )

    def _leave(self, run: TrackedRun, left: LeftRun) -> None:
        """Leave a run to a person, and report it once."""
        is_known = run.left is not None and run.left.message == left.message
        run.left = left
        if not is_known:
            self.report(left_text(run, left, self.queue.runs_dir / run.approval.run))

    async def _save_notes(self) -> None:
        """Write what a later worker must know, if it has changed; return once it is written."""
        async with self._notes_lock:
            noted = {name: run.notes for name, run in self._runs.items() if run.is_noteworthy}
            if noted == self._noted:
                return
            try:
                await self.environment.run_blocking(partial(self.queue.write_notes, noted))
            except BulklinkError as error:
                self._report_bad_entry("worker.json", error)
            else:
                self._noted = noted

    def _result(self) -> WorkResult:
        left = tuple(sorted(name for name, run in self._runs.items() if run.left))
        waiting = tuple(sorted(name for name, run in self._runs.items() if not run.left))
        reason = self.stop.reason
        stopped_by = None if reason is None else reason.stopped_by
        return WorkResult(
            runs_dir=str(self.queue.runs_dir),
            finished=self._finished,
            with_failures=self._with_failures,
            left=left,
            waiting=waiting,
            stopped_by=stopped_by,
            exit_code=worker_exit_code(stopped_by, left, self._with_failures),
        )


def worker_exit_code(stopped_by: str | None, left: Sequence[str], with_failures: int) -> int:
    """Return the exit code of a worker, of one machine or of a cluster.

    Args:
        stopped_by: StoppedBy value; None if the queue was drained.
        left: names of the runs that a person must look at.
        with_failures: runs that finished with emails that are not done.
    """
    if stopped_by is not None:
        return run_exit_code(RunState.STOPPED, stopped_by, {}) or ExitCode.TERMINATED
    if left:
        return ExitCode.STOPPED
    return ExitCode.ROWS_NOT_DONE if with_failures else ExitCode.OK
